"""A fold's artifact: found again, published, completed by a validation. What lies beside all folds goes with it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..artifacts import ObjectStore, artifact, digests
from ..artifacts.artifact import Artifact
from ..artifacts.digests import FileEntry
from ..artifacts.parallel import for_each
from ..artifacts.writer import ArtifactWriter, as_json
from ..contract import keys
from ..contract.faults import Fault
from ..contract.json_text import codec
from ..contract.keys import PREDICTED_NEXT_STAGE
from ..contract.work_order import TrainOrder
from ..dataset.files import is_hidden
from ..planning.plans import Configuration
from ..training.recipes import recipe
from ..training.session.setup import TrainingResult, TrainingSetup

MODEL_FILES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
PLACES = ("checkpointUri", "bestUri")
log = logging.getLogger(__name__)


def trained(storage: ObjectStore, fold: str) -> Artifact | None:
    """The fold's artifact, if its checkpoints are whole; without them it is trained again. Whatever else is gone is not missed."""
    there = artifact.find(storage, fold)
    if there is None:
        return None
    lost = [path for path in artifact.damaged(there) if path.startswith("checkpoint_")]
    if lost:
        artifact.withdraw(there, lost)
        return None
    return there


def is_validated(there: Artifact, configuration: Configuration) -> bool:
    """Whether a fold has its validation, and its predictions for each next stage of a cascade, all of them whole."""
    needed = [f"{PREDICTED_NEXT_STAGE}/{name}/" for name in configuration.next_stages]
    made = keys.VALIDATION_SUMMARY in there.files and all(any(path.startswith(p) for path in there.files) for p in needed)
    return made and not any(path.startswith(("validation/", f"{PREDICTED_NEXT_STAGE}/")) for path in artifact.damaged(there))


def summary_of(there: Artifact) -> dict[str, Any]:
    """What a report says of a fold that was trained before: its files lie where it was found, wherever that was then."""
    said, store = there.manifest.summary, there.store
    named = {key: uri.rpartition("/")[2] for key in PLACES if isinstance(uri := said.get(key), str)}
    places = {key: store.uri(there.key(name)) for key, name in named.items()}
    return {**said, "folderUri": store.uri(there.prefix), **places, "found": True}


def summarize(order: TrainOrder, storage: ObjectStore, fold: str, result: TrainingResult) -> dict[str, Any]:
    """What a report says of a fold that was trained now."""
    return {
        "fold": order.fold,
        "epochs": result.epochs,
        "trainer": order.trainer.name,
        "folderUri": storage.uri(fold),
        "checkpointUri": storage.uri(f"{fold}/{result.checkpoint.name}"),
        "checkpointSha256": result.checkpoint_sha256,
        "bestUri": storage.uri(f"{fold}/{result.best.name}") if result.best else None,
        "bestSha256": digests.of_file(result.best) if result.best else None,
        "trainLoss": _finite(result.train_loss),
        "valLoss": _finite(result.val_loss),
        "emaPseudoDice": _finite(result.ema_pseudo_dice),
        **_validated(result),
        "resumedFromEpoch": result.resumed_from_epoch,
        "continued": result.continued,
        "pretrained": result.pretrained.summary() if result.pretrained else None,
        "pretrainedTensors": result.pretrained.tensors() if result.pretrained else None,
        "found": False,
        "seconds": round(result.seconds, 1),
    }


def _validated(result: TrainingResult) -> dict[str, Any]:
    per_label = {label: _finite(dice) for label, dice in result.dice_per_label.items()}
    return {"validationDice": _finite(result.validation_dice), "dicePerLabel": per_label}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def publish(
    storage: ObjectStore,
    fold: str,
    digest: str,
    setup: TrainingSetup,
    summary: dict[str, Any],
    there: Callable[[FileEntry], str | None] = lambda entry: None,
) -> None:
    """The fold's folder, what lies beside all folds, and the fold's manifest last.

    Checkpoints that are `there`, in the store under another key, are copied within it.

    Where a Job of another cluster has published the same fold meanwhile, files of both lie there: this one's are all written again.
    """
    inputs = {"seed": setup.seed, "recipe": recipe.write(setup.recipe)}
    if setup.continues:
        inputs["continues"] = setup.continues.about()
    if not _put_all(storage, fold, digest, setup, summary, there).finish(summary, inputs):
        log.warning("%s was published by another Job while this one uploaded it; what counts is this one's.", storage.uri(fold))
        _put_all(storage, fold, digest, setup, summary, there).finish(summary, inputs, over=True)


def _put_all(
    storage: ObjectStore,
    fold: str,
    digest: str,
    setup: TrainingSetup,
    summary: dict[str, Any],
    there: Callable[[FileEntry], str | None],
) -> ArtifactWriter:
    model = fold.rpartition("/")[0]
    for name in MODEL_FILES:
        if (setup.model_folder / name).is_file():
            storage.put_file(setup.model_folder / name, f"{model}/{name}")
    writer = ArtifactWriter(storage, fold, "run", digest)
    for_each(_files(setup.fold_folder), lambda path: writer.put_file(path.relative_to(setup.fold_folder).as_posix(), path, there))
    predicted = _files(setup.model_folder / PREDICTED_NEXT_STAGE)
    for_each(predicted, lambda path: writer.put_file(_put_beside(storage, model, setup, path), path))
    writer.put_json("report.json", summary)
    return writer


def _files(folder: Path) -> list[Path]:
    """All but what a killed process was writing: hidden files, and what lies in hidden folders."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not is_hidden(path.relative_to(folder))]


def _put_beside(storage: ObjectStore, model: str, setup: TrainingSetup, path: Path) -> str:
    """Put a prediction for the next stage where nnU-Net looks for it, beside the folds; its name in the fold's artifact.

    The artifact has a copy of its own: folds may be published at the same time, and may have predicted the same case.
    """
    name = path.relative_to(setup.model_folder).as_posix()
    storage.put_file(path, f"{model}/{name}")
    return name


def tidy(storage: ObjectStore, run: str, fold: str) -> None:
    """What attempts left is of no more use once the fold's results, their logs among them, are whole."""
    attempts, own = f"{run}/attempts/", f"/fold_{fold}/"
    try:
        for info in list(storage.list(attempts)):
            if own in info.key:
                storage.delete(info.key)
    except Fault as fault:
        log.warning("Some of what attempts left below %s stays: %s", storage.uri(attempts), fault.message)
        return
    try:
        storage.discard_unfinished(attempts, own)
    except Fault as fault:  # some stores do not know how, some people may not
        log.info("Unfinished uploads below %s stay: %s", storage.uri(attempts), fault.message)


def add_validation(there: Artifact, setup: TrainingSetup, result: TrainingResult) -> dict[str, Any]:
    """Complete a fold by the validation that it did not have. What is there stays; the new manifest replaces the old one last."""
    store, files = there.store, dict(there.files)

    def put(path: Path, name: str | None = None) -> None:
        name = name or path.relative_to(setup.fold_folder).as_posix()
        files[name] = digests.entry(path, name)
        store.put_file(path, there.key(name))

    model = there.prefix.rpartition("/")[0]
    for_each(_files(setup.fold_folder / "validation"), put)
    for_each(_files(setup.model_folder / PREDICTED_NEXT_STAGE), lambda path: put(path, _put_beside(store, model, setup, path)))
    for_each([p for p in setup.fold_folder.glob("training_log*") if p.name not in there.files], put)
    summary = {**there.manifest.summary, **_validated(result)}
    report_file = setup.fold_folder / "report.json"
    report_file.write_bytes(as_json(summary))
    put(report_file)
    manifest = replace(there.manifest, files=[files[name] for name in sorted(files)], summary=summary)
    store.put(there.key(keys.MANIFEST), as_json(codec.to_plain(manifest)))
    return summary
