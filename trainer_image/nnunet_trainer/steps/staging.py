"""What a training reads, laid out on the pod's own disk as nnU-Net does, once for all ranks of the pod."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts import ObjectStore, artifact, digests
from ..artifacts.artifact import Artifact, bring_file
from ..artifacts.opening import open_file
from ..contract import pod
from ..contract.faults import BadData
from ..contract.keys import FINAL_CHECKPOINT, PREDICTED_NEXT_STAGE
from ..contract.work_order import Location, TrainOrder
from ..planning.plans import Plans
from ..training.loop.validation.full_evaluation import EVALUATED
from ..training.session.setup import ContinuedTraining
from ..training.state import continuation
from .attempts import checkpoints
from .common import Teller, read_input, scratch

KEPT = rf"training_log.*|validation/.*|{EVALUATED}_\d+/summary\.json|{PREDICTED_NEXT_STAGE}/.*"
"""Of a fold's folder, what attempts keep beside their checkpoints; predictions for the next stage lie beside the folds on disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """What a training reads, on this machine."""

    preprocessed: Path  # nnUNet_preprocessed/DatasetXXX_Name
    results: Path  # nnUNet_results
    resume_from: list[Path]
    previous_stage: Path | None


def stage(
    order: TrainOrder,
    data: Artifact,
    plans: dict[str, Any],
    storage: ObjectStore,
    run: str,
    epochs: int,
    there: Artifact | None,
    tell: Teller,
) -> Staged:
    """Lay nnU-Net's own folders out in scratch.

    Of a fold that is `there` and was not validated then, its final checkpoint is all that is needed.

    Raises:
        BadData: an artifact that is not whole, or no predictions in those of the previous stage.
    """
    folder, results = scratch("nnUNet_preprocessed", order.dataset_name), scratch("nnUNet_results")
    previous = scratch("previous_stage") if order.previous_stage else None
    model = f"{order.trainer.name}__{plans['plans_name']}__{order.configuration}"
    fold = results / order.dataset_name / model / f"fold_{order.fold}"

    def lay_out() -> list[str]:
        _bring_data(data, Plans(plans).configuration(order.configuration).data_identifier, folder, tell)
        if previous is not None:
            _bring_predictions(order, previous)
        newest = _bring_checkpoints(storage, run, order.fold, fold, epochs, there)
        return [] if newest is None else [str(newest)]

    resume_from = [Path(path) for path in once("stage", lay_out)]
    return Staged(preprocessed=folder, results=results, resume_from=resume_from, previous_stage=previous)


@contextmanager
def originals_named(staged: Staged, data: Artifact, identifier: str, previous_run: str | None) -> Iterator[None]:
    """Faults of staged data name the artifact, and what a person can do about it: nothing is mended in scratch.

    Args:
        staged: what the training reads.
        data: the preprocessed artifact.
        identifier: the configuration's data_identifier, the folder of its cases.
        previous_run: the TrainingRun of a cascade's previous stage.
    """
    try:
        yield
    except BadData as fault:
        previous = str(staged.previous_stage)
        if staged.previous_stage is not None and previous in fault.message:
            fault.message = fault.message.replace(previous, f"TrainingRun {previous_run}: {PREDICTED_NEXT_STAGE}")
            fault.hint = f"Delete that file among its results, then {artifact.REMAKE}"
        elif fault.reason == "InvalidPreprocessedData":
            fault.message = fault.message.replace(str(staged.preprocessed / identifier), data.store.uri(data.key("cases")))
            fault.hint = f"Delete that case's files there, then {artifact.REMAKE}"
        raise


def fetch_pretrained(order: TrainOrder, tell: Teller) -> tuple[Path, str] | None:
    """The checkpoint whose weights begin this run, checked, and its sha256.

    Raises:
        BadData: it is not there, or not the one that was meant.
    """
    if order.pretrained is None:
        return None
    tell("fetching pretrained weights")
    return _fetch_checkpoint("pretrained", order.pretrained.location, order.pretrained.sha256)


def fetch_continued(order: TrainOrder, tell: Teller) -> ContinuedTraining | None:
    """The finished training that this one goes on from, its checkpoint checked.

    Raises:
        BadData: the checkpoint is not there, or not the one that was meant.
        BadConfiguration: it is not of the end of a training.
    """
    given = order.continues
    if given is None:
        return None
    tell("fetching the finished training")
    path, _ = _fetch_checkpoint("continues", given.location, given.sha256)
    source = f"TrainingRun {given.run} (fold {order.fold})"
    # One rank of a pod reads the file: it may hold gigabytes.
    (epochs,) = once("finished-epochs", lambda: [str(continuation.finished_epochs(path))])
    return ContinuedTraining(
        checkpoint=path, epochs=int(epochs), additional_epochs=given.additional_epochs, schedule=given.schedule, source=source
    )


def _fetch_checkpoint(field: str, location: Location, wanted: str | None) -> tuple[Path, str]:
    store, name = open_file(location)

    def fetch() -> list[str]:
        target = scratch(field) / name
        local = store.local_path(name)
        if local is None and not target.exists():
            store.get_file(name, target)
        found = local or target
        if not found.is_file():
            raise BadData("MissingCheckpoint", f"There is no {location.uri}.", hint=f"Correct spec.{field}.")
        sha256 = digests.of_file(found)
        if wanted and sha256 != wanted:
            message = f"{location.uri} is not the file that its run wrote: its sha256 differs."
            raise BadData("DamagedCheckpoint", message, hint=f"Delete it, then {artifact.REMAKE}")
        return [str(found), sha256]

    path, sha256 = once(field, fetch)
    return Path(path), sha256


def once(name: str, work: Callable[[], list[str]]) -> list[str]:
    """What `work` returns. The ranks of a pod come here one at a time: the first one works, the others are told what came of it."""
    with one_at_a_time(name):
        shared = pod.shared()
        told = None if shared is None else shared / f"{name}.json"
        if told is not None and told.is_file():
            return list(json.loads(told.read_text()))
        result = work()
        if told is not None:
            beside = told.with_suffix(".partial")
            beside.write_text(json.dumps(result))
            os.replace(beside, told)
        return result


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold a lock that the processes of a pod share."""
    with open(scratch() / f".{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bring_data(data: Artifact, identifier: str, folder: Path, tell: Teller) -> None:
    count, lock = tell.counter("staging", len(data.files)), threading.Lock()

    def fetched(path: str) -> None:
        with lock:
            count()

    def name(path: str) -> str:
        return path.replace("cases/", f"{identifier}/", 1) if path.startswith("cases/") else path

    data.fetch(data.files, folder, name=name, fetched=fetched)


def _bring_predictions(order: TrainOrder, folder: Path) -> None:
    """What the folds of the previous stage's run predicted for this configuration; where two did, the later fold's."""
    assert order.previous_stage is not None
    prefix = f"{PREDICTED_NEXT_STAGE}/{order.configuration}/"
    chosen: dict[str, tuple[Artifact, str]] = {}
    for fold, given in sorted(order.previous_stage.folds.items()):
        made = read_input(given, "run")
        own = {path.removeprefix(prefix): (made, path) for path in made.files if path.startswith(prefix)}
        if not own:
            message = f"Fold {fold} of TrainingRun {order.previous_stage.run} has predicted nothing for {order.configuration}."
            hint = f"The plans must name it as the next_stage of that run's configuration; {made.uri} has no {prefix}."
            raise BadData("MissingPreviousStage", message, hint=hint)
        chosen |= own
    # What an earlier attempt in this pod left may be another fold's: it is compared by content.
    for made in {id(made): made for made, _ in chosen.values()}.values():
        made.fetch([path for whose, path in chosen.values() if whose is made], folder, name=lambda path: path.removeprefix(prefix))


def _bring_checkpoints(storage: ObjectStore, run: str, fold: str, folder: Path, epochs: int, there: Artifact | None) -> Path | None:
    """What earlier attempts of this fold left, in the fold's folder; the checkpoint to go on from is returned."""
    going_on, best = checkpoints.candidates(storage, run, fold)
    newest = checkpoints.fetch_newest(storage, going_on + best, scratch("resume"))
    folder.mkdir(parents=True, exist_ok=True)
    if best and (found := checkpoints.fetch_newest(storage, best, scratch("resume", "best"))):
        _place(found[0], folder / f"{checkpoints.BEST}.pth")
    trained = there is not None or (newest is not None and newest[1].epoch >= epochs)
    if there:
        newest = None
        bring_file(
            storage, there.key(FINAL_CHECKPOINT), there.files[FINAL_CHECKPOINT], folder / FINAL_CHECKPOINT, there.uri, thorough=True
        )
    if newest is not None and trained:
        _place(newest[0], folder / FINAL_CHECKPOINT)
    _bring_back(storage, run, fold, folder, predictions=trained)
    return None if newest is None else newest[0]


def _place(source: Path, target: Path) -> None:
    if not target.exists():
        beside = target.with_name(f".partial-{os.getpid()}-{target.name}")
        shutil.copyfile(source, beside)
        os.replace(beside, target)


def _bring_back(storage: ObjectStore, run: str, fold: str, folder: Path, *, predictions: bool) -> None:
    """What earlier attempts kept: logs, evaluations, and of a training that is done the cases that are predicted already."""
    kept = re.compile(rf"{re.escape(run)}/{checkpoints.ATTEMPT}/fold_{re.escape(fold)}/(?P<name>{KEPT})")
    for info in storage.list(f"{run}/attempts/"):
        match = kept.fullmatch(info.key)
        if match is None or not (predictions or match["name"].startswith(("training_log", EVALUATED))):
            continue
        target = (folder.parent if match["name"].startswith(PREDICTED_NEXT_STAGE) else folder) / match["name"]
        if not target.exists():
            storage.get_file(info.key, target)
