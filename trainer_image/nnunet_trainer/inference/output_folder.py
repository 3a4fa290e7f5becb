"""The folder that predictions go to: whose it is, what it holds already, and what stands beside the segmentations."""

from __future__ import annotations

import glob
import json
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from os.path import realpath
from pathlib import Path
from typing import Any, Literal

from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, StorageFault
from nnunet_trainer.dataset import files
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.planning.plans import Plans

from .existing import probabilities_are_whole, segmentation_fault
from .model import Model
from .sliding_window import SlidingWindow

Existing = Literal["refuse", "keep", "overwrite"]
RECORD = Path(".nnunet") / "prediction.json"
"""Which model the predictions of a folder are of, which of them are another's, and what there was to say about their cases."""
OTHERS = ("imagesTr", "labelsTr", "gt_segmentations")
"""What a dataset's folder holds, and none of predictions."""
STALE_SECONDS = 3600
FORMAT = 1


class OutputFolder:
    """Where a model's predictions go.

    Args:
        folder: it need not exist.
        model: whose predictions.
        window: how its images are tiled and mirrored.
    """

    def __init__(self, folder: Path, model: Model, window: SlidingWindow) -> None:
        self.folder, self.model, self.window = folder, model, window
        self.reader = by_name(model.plans.image_reader_writer)
        self._beside = {"dataset.json": model.dataset_json, "plans.json": model.plans.content}
        self._told: dict[str, list[str]] = {}
        self._others: dict[str, Any] = {}
        self._writing = threading.Lock()

    def segmentation(self, case: str) -> Path:
        """A case's segmentation."""
        return self.folder / f"{case}{self.model.file_ending}"

    def probabilities(self, case: str) -> Path:
        """A case's probabilities; their properties lie beside, `.pkl`."""
        return self.folder / f"{case}.npz"

    def check(self, images: Mapping[str, Iterable[Path]], existing: Existing) -> None:
        """Refuse to write where something else would be lost, or mixed with predictions. Nothing is changed.

        Args:
            images: the files of each case.
            existing: what is to become of predictions that are there.

        Raises:
            BadUsage: it is no folder for these predictions.
        """
        elsewhere = "Choose another folder with -o."
        if self.folder.exists() and not self.folder.is_dir():
            raise BadUsage("NotAFolder", f"{self.folder} is a file.", hint=elsewhere)
        owners = [name for name in OTHERS if (self.folder / name).is_dir()] + [
            p.name for p in self.folder.glob("fold_*") if p.is_dir()
        ]
        owners += [p.name for p in self.folder.glob("checkpoint_*.pth")]
        if owners:
            what = "a dataset" if owners[0] in OTHERS else "a model"
            message = f"{self.folder} is the folder of {what} (it holds {owners[0]}); predictions would be mixed with it."
            raise BadUsage("NotForPredictions", message, hint=elsewhere)
        for name in self._beside:
            if (self.folder / name).exists() and not self._is_ours(name):
                message = f"{self.folder / name} is not this model's: the folder holds predictions of another model, or other data."
                raise BadUsage("OtherPredictions", message, hint=f"{elsewhere[:-1]}, or remove {self.folder} if nobody needs it.")
        inputs = {realpath(file) for each in images.values() for file in each}
        if lost := next((file for case in images if realpath(file := self.segmentation(case)) in inputs), None):
            raise BadUsage("WouldReplaceImage", f"{lost} is an image; a segmentation would replace it.", hint=elsewhere)
        present = [case for case in images if self.segmentation(case).exists()]
        there = [self.segmentation(case) for case in present]
        if folder := next((file for file in there if file.is_dir()), None):
            message = f"{folder} is a folder; a segmentation is to have that name."
            raise BadUsage("OtherFiles", message, hint=f"{elsewhere[:-1]}, or remove {folder} if nobody needs it.")
        if there and existing == "refuse":
            hint = "Say --continue to keep them and predict the others, or --overwrite."
            count = f"{len(there)} of these {len(images)} predictions"
            raise BadUsage("AlreadyPredicted", f"{self.folder} already has {count}, {there[0].name} the first.", hint=hint)
        if there and existing == "overwrite" and not (self.folder / "plans.json").exists():
            message = f"{there[0]} would be replaced, but {self.folder} has no plans.json: no predictions lie there."
            raise BadUsage("OtherFiles", message, hint=f"{elsewhere[:-1]}, or remove what may be replaced.")
        record, now = self._record(), self._identity()
        owners_of = [(record.get("others") or {}).get(case, record.get("model")) for case in present]
        if existing == "keep" and (was := next((owner for owner in owners_of if not _is(owner, now)), None)):
            message = f"{self.folder} holds predictions by {_describe(was)}; this is {_describe(now)}. They are not to be mixed."
            raise BadUsage("OtherPredictions", message, hint=f"{elsewhere[:-1]}, or say --overwrite.")

    def begin(self) -> None:
        """Make the folder, remove what killed runs left half-written, write what stands beside the predictions.

        Raises:
            StorageFault: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".[0-9]*.*"):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError as error:
            raise StorageFault("CannotWrite", f"{self.folder} cannot be written: {error.strerror or error}.") from error
        for name, content in self._beside.items():
            if not (self.folder / name).exists():
                files.write_json(self.folder / name, content)
        record, now = self._record(), self._identity()
        self._told, self._others = record.get("warnings") or {}, dict(record.get("others") or {})
        if not _is(was := record.get("model"), now):
            # Until they are replaced, which may be interrupted, they are another model's.
            ending = self.model.file_ending
            for file in self.folder.glob(f"*{glob.escape(ending)}"):
                self._others.setdefault(file.name.removesuffix(ending), was)
        self._others = {case: owner for case, owner in self._others.items() if not _is(owner, now)}
        self._write()

    def finished(self, case: str) -> None:
        """A case's prediction is written: it is this model's."""
        if self._others.pop(case, None) is not None:
            self._write()

    def pending(self, cases: Iterable[str], existing: Existing, *, probabilities: bool) -> tuple[list[str], list[str]]:
        """The cases to predict, and what there is to say about files that are there but do not stay."""
        todo, again, stale = [], [], []
        for case in cases:
            file = self.segmentation(case)
            if existing == "keep" and file.exists():
                fault = segmentation_fault(file, self.reader)
                if fault is None and (not probabilities or probabilities_are_whole(self.probabilities(case))):
                    continue
                if fault is not None:
                    again.append(f"{file} is not whole ({fault}): predicted again.")
            todo.append(case)
            if not probabilities and self.probabilities(case).exists():
                stale.append(self.probabilities(case).name)
        if stale:
            count = f"{len(stale)} older file{'s' if len(stale) > 1 else ''} of probabilities ({stale[0]} …)"
            again.append(f"{count} will be removed with the predictions that they belong to; --save-probabilities makes new ones.")
        return todo, again

    def forget_probabilities(self, case: str) -> None:
        """Remove those of a prediction that is replaced."""
        for suffix in (".npz", ".pkl"):
            self.probabilities(case).with_name(f"{case}{suffix}").unlink(missing_ok=True)

    def tell(self, case: str, texts: list[str]) -> None:
        """Keep what there is to say about a case ("": about them all)."""
        if texts != self._told.get(case, []):
            self._told[case] = texts
            self._told = {name: said for name, said in self._told.items() if said}
            self._write()

    def _is_ours(self, name: str) -> bool:
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
            return found == self._beside[name] or (name == "plans.json" and Plans(found).content == self._beside[name])
        except (OSError, ValueError, BadConfiguration, TypeError, AttributeError):
            return False

    def _identity(self) -> dict[str, Any]:
        """What predictions depend on, but for rounding: batches and precision may differ."""
        model, window = self.model, self.window
        known = {"configuration": model.configuration.name, "folds": model.folds, "weights": model.weights}
        return {**known, "mirrorAxes": list(window.mirror_axes), "stepSize": window.step}

    def _record(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("format") == FORMAT else {}

    def _write(self) -> None:
        with self._writing:  # cases are finished in another thread
            record = {"format": FORMAT, "model": self._identity(), "others": dict(self._others), "warnings": dict(self._told)}
            files.write_json(self.folder / RECORD, {name: value for name, value in record.items() if name != "others" or value})


def _is(owner: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Whether predictions are this model's; an owner that is not known, or of an earlier version that kept less, may be."""
    return owner is None or all(owner.get(name, value) == value for name, value in now.items())


def _describe(identity: Mapping[str, Any]) -> str:
    folds, axes = (", ".join(map(str, identity.get(name) or [])) for name in ("folds", "mirrorAxes"))
    said = f"{identity.get('configuration')}, fold {folds}, of weights {str(identity.get('weights'))[:8]}"
    if "stepSize" not in identity:
        return said
    return f"{said}, {f'mirrored along {axes}' if axes else 'not mirrored'}, with a step size of {identity['stepSize']:g}"
