"""What stands beside the configurations in `nnUNet_preprocessed/Dataset…`, so that nnU-Net's own training can go on from there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from nnunet_trainer.contract.faults import StorageFault
from nnunet_trainer.dataset import files, splits
from nnunet_trainer.dataset.raw import Case, RawDataset, files_of
from nnunet_trainer.dataset.readers import Reader, by_name
from nnunet_trainer.planning.plans import Plans

from .integrity import is_json

FINGERPRINT = "dataset_fingerprint.json"


def write_companions(
    raw: RawDataset, plans: Plans, folder: str | os.PathLike[str], looked_in: Sequence[str | os.PathLike[str]] = ()
) -> list[str]:
    """Write gt_segmentations, dataset.json, `<plans_name>.json`, dataset_fingerprint.json and splits_final.json.

    Splits and a fingerprint that are there are kept. Splits are the raw dataset's own, else five folds.

    Args:
        raw: the dataset.
        plans: the plans that it was preprocessed by.
        folder: `nnUNet_preprocessed/Dataset…`.
        looked_in: where the fingerprint may lie, beside the raw dataset's folder.

    Returns:
        one line for each thing that a person should know: what was replaced, what could not be found.

    Raises:
        StorageFault: something cannot be written.
    """
    folder = Path(folder)
    notes = []
    try:
        _copy_labels(raw, by_name(plans.image_reader_writer), folder / "gt_segmentations")
        if (raw.folder / splits.FILE).exists() and not (folder / splits.FILE).exists():
            shutil.copy2(raw.folder / splits.FILE, folder / splits.FILE)
    except OSError as error:
        raise StorageFault("CannotWrite", f"{folder} cannot be written: {error.strerror or error}.") from error
    for name, content in (("dataset.json", raw.dataset_json), (f"{plans.name}.json", plans.content)):
        if files.write_json(folder / name, content):
            notes.append(f"{folder / name}: replaced by another content.")
    if not (folder / splits.FILE).exists() and (found := splits.make_splits(list(raw.cases))):
        files.write_json(folder / splits.FILE, found)
    if not is_json(folder / FINGERPRINT):
        notes += _bring_fingerprint(raw, folder, [*map(Path, looked_in), raw.folder])
    return notes


def _copy_labels(raw: RawDataset, reader: Reader, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in raw.cases.items():
        target = folder / (name + raw.file_ending)
        if case.label is None:
            continue
        files = files_of(Case([], case.label), reader.name)
        if not _is_copy(target, case.label, files):
            reader.copy_label(case.label, target)


def _is_copy(target: Path, label: Path, sources: Sequence[Path]) -> bool:
    """Whether a copy is there, whole, and not older than the files that it was made of."""
    if not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        return False
    # A label of several files is written anew, under other names: its header then has another size.
    return target.stat().st_size == label.stat().st_size if len(sources) == 1 else target.stat().st_size > 0


def _bring_fingerprint(raw: RawDataset, folder: Path, places: list[Path]) -> list[str]:
    """Plans of another dataset may lie beside that one's fingerprint: the number of cases tells."""
    for place in places:
        try:
            content = (place / FINGERPRINT).read_bytes()
            if len(json.loads(content)["spacings"]) == len(raw.cases):
                files.write_beside(folder / FINGERPRINT, content)
                return []
        except (OSError, ValueError, KeyError, TypeError):
            continue
    hint = f"nnunet-trainer fingerprint {quote(str(raw.folder))} -o {quote(str(folder / FINGERPRINT))}"
    return [f"{folder}: no {FINGERPRINT} of these cases was found; nnU-Net's own training wants one: {hint}"]
