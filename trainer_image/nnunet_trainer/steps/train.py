"""The step `train`: stage, train one fold from the newest checkpoint of any attempt, upload, validate."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from .. import extensions, training
from ..artifacts import ObjectStore, artifact, digests, open_store
from ..artifacts.artifact import Artifact, ArtifactWriter, as_json, bring_file
from ..artifacts.opening import open_file
from ..artifacts.parallel import for_each
from ..contract import codec, keys, pod, report
from ..contract.faults import BadData, Fault, Stopped
from ..contract.report import Report
from ..contract.work_order import PretrainedPolicies, TrainOrder
from ..planning.plans import Plans
from ..training import presets, recipe
from ..training.setup import TrainingResult, TrainingSetup
from . import checkpoints
from .common import Listener, Teller, read_input, scratch

FINAL = "checkpoint_final.pth"
VALIDATED = "validation/summary.json"
MODEL_FILES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Staged:
    """What a training reads, on this machine."""

    preprocessed: Path  # nnUNet_preprocessed/DatasetXXX_Name
    results: Path  # nnUNet_results
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    pretrained: Path | None
    resume_from: list[Path]


def carry_out(order: TrainOrder, listener: Listener) -> Report:
    """Train a fold into `runs/<namespace>/<run>/<digest>/nnUNet_results/…/fold_K`. Every rank calls this, rank 0 uploads.

    Raises:
        BadConfiguration, BadData: recipe, plans, fold or pretrained weights do not fit.
        GpuOutOfMemory: the network and its batch do not fit.
        Stopped: SIGTERM came; a checkpoint is in the store.
    """
    tell = Teller("train", listener)
    with _stops() as stop:
        tell("reading")
        extensions.load_plugins(pod.plugins(), order.plugins)
        resolved = presets.resolve(order.trainer.name, order.trainer.base, order.trainer.recipe)
        data, plans_artifact = read_input(order.preprocessed, "preprocessed"), read_input(order.plans, "plans")
        plans_name = plans_artifact.manifest.summary["plansName"]
        plans = plans_artifact.read_json(f"{plans_name}.json")
        Plans(plans).configuration(order.configuration)
        pretrained = _fetch_pretrained(order, tell)
        digest = run_digest(order, recipe.write(resolved), pretrained)
        storage = open_store(order.storage)
        run = keys.run(order.namespace, order.run, digest)
        fold = f"{run}/{keys.fold_folder(order.dataset_name, order.trainer.name, plans_name, order.configuration, order.fold)}"
        there = artifact.find(storage, fold)
        if there and (order.validation != "Run" or VALIDATED in there.files):
            return _report(storage, run, digest, {**there.manifest.summary, "found": True})
        staged = _stage(order, data, plans, storage, run, resolved.epochs, pretrained, there, tell)
        setup = TrainingSetup(
            preprocessed=staged.preprocessed,
            results=staged.results,
            plans=plans,
            dataset_json=staged.dataset_json,
            configuration=order.configuration,
            fold=order.fold,
            trainer=order.trainer.name,
            recipe=resolved,
            seed=order.seed,
            device="cpu" if order.gpus_per_node == 0 else "auto",
            checkpoint=order.checkpoint,
            resume=True,
            resume_from=staged.resume_from,
            pretrained=staged.pretrained,
            pretrained_policies=order.pretrained.policies if order.pretrained else PretrainedPolicies(),
            pretrained_source=order.pretrained.location.uri if order.pretrained else None,
            deterministic=order.deterministic,
            validation=order.validation == "Run",
            stop=stop,
        )
        stop.begun = True
        if os.environ.get("RANK", "0") != "0":
            training.train(setup)
            return Report(step="train")
        result = _train_and_upload(order, setup, storage, run, listener)
        tell("uploading")
        if there:
            summary = _add_validation(there, setup, result)
        else:
            summary = _summary(order, storage, fold, result)
            _upload(storage, fold, digest, setup, summary)
        _tidy(storage, run, order.fold)
        return _report(storage, run, digest, summary)


def run_digest(order: TrainOrder, resolved: dict[str, Any], pretrained: Path | None) -> str:
    """The run's digest: of all that decides its result, its trainer as resolved."""
    weights = None if pretrained is None else digests.of_file(pretrained)
    decisive = {"trainer": order.trainer.name, "recipe": resolved}
    if order.deterministic:
        decisive["deterministic"] = True
    if order.pretrained and order.pretrained.policies != PretrainedPolicies():
        decisive["pretrained"] = codec.to_plain(order.pretrained.policies)
    if order.plugins:
        files = extensions.plugin_files(pod.plugins(), order.plugins)
        decisive["plugins"] = {f"{file.parent.name}/{file.name}": digests.of_file(file) for file in files}
    return keys.run_digest(order.preprocessed.digest, order.plans.digest, order.configuration, decisive, order.seed, weights)


class _Stop(threading.Event):
    """Set by SIGTERM. Once the training has `begun`, it looks at it after every iteration; before, nothing needs to be saved."""

    begun = False

    def sigterm(self, number: int, frame: FrameType | None) -> None:
        self.set()
        if not self.begun:
            raise Stopped("Stopped", "The training was stopped before its first epoch.")


@contextmanager
def _stops() -> Iterator[_Stop]:
    stop = _Stop()
    before = signal.signal(signal.SIGTERM, stop.sigterm)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def _fetch_pretrained(order: TrainOrder, tell: Teller) -> Path | None:
    """The checkpoint whose weights begin this run, checked.

    Raises:
        BadData: it is not there, or not the one that was meant.
    """
    if order.pretrained is None:
        return None
    tell("fetching pretrained weights")
    store, name = open_file(order.pretrained.location)
    with _one_at_a_time("pretrained"):
        target = scratch("pretrained") / name
        local = store.local_path(name)
        if local is None and not target.exists():
            store.get_file(name, target)
        found = local or target
        if not found.is_file():
            raise BadData("MissingCheckpoint", f"There is no {order.pretrained.location.uri}.", hint="Correct spec.pretrained.")
        if order.pretrained.sha256 and digests.of_file(found) != order.pretrained.sha256:
            message = f"{order.pretrained.location.uri} is not the file that its run wrote: its sha256 differs."
            raise BadData("DamagedCheckpoint", message, hint="Give the run that wrote it a new spec.rerun.")
    return found


def _stage(
    order: TrainOrder,
    data: Artifact,
    plans: dict[str, Any],
    storage: ObjectStore,
    run: str,
    epochs: int,
    pretrained: Path | None,
    there: Artifact | None,
    tell: Teller,
) -> _Staged:
    """Lay nnU-Net's own folders out in scratch. The ranks of a pod share them: one at a time, the first does the work.

    Of a fold that is `there` and was not validated then, its final checkpoint is all that is needed.
    """
    folder = scratch("nnUNet_preprocessed", order.dataset_name)
    results = scratch("nnUNet_results")
    identifier = Plans(plans).configuration(order.configuration).data_identifier
    with _one_at_a_time("stage"):
        data.fetch(
            data.files,
            folder,
            name=lambda path: path.replace("cases/", f"{identifier}/", 1) if path.startswith("cases/") else path,
            fetched=_counter(tell.counter("staging", len(data.files))),
        )
        going_on, best = checkpoints.candidates(storage, run, order.fold)
        newest = checkpoints.fetch_newest(storage, going_on + best, scratch("resume"))
        model = f"{order.trainer.name}__{plans['plans_name']}__{order.configuration}"
        fold = results / order.dataset_name / model / f"fold_{order.fold}"
        fold.mkdir(parents=True, exist_ok=True)
        if best and (found := checkpoints.fetch_newest(storage, best, scratch("resume", "best"))):
            _place(found[0], fold / f"{checkpoints.BEST}.pth")
        trained = there is not None or (newest is not None and newest[1].epoch >= epochs)
        if there:
            newest = None
            bring_file(storage, there.key(FINAL), there.files[FINAL], fold / FINAL, there.uri, thorough=True)
        if newest is not None and trained:
            _place(newest[0], fold / FINAL)
        _bring_back(storage, run, order.fold, fold, validation=trained)
    return _Staged(
        preprocessed=folder,
        results=results,
        plans=plans,
        dataset_json=data.read_json("dataset.json"),
        pretrained=pretrained,
        resume_from=[] if newest is None else [newest[0]],
    )


def _counter(count: Any) -> Any:
    lock = threading.Lock()

    def fetched(path: str) -> None:
        with lock:
            count()

    return fetched


def _place(source: Path, target: Path) -> None:
    if not target.exists():
        shutil.copyfile(source, target)


def _bring_back(storage: ObjectStore, run: str, fold: str, folder: Path, *, validation: bool) -> None:
    """What earlier attempts kept: their logs, and of a training that is done the cases that are validated already."""
    kept = re.compile(rf"{re.escape(run)}/attempts/\d+/fold_{re.escape(fold)}/(training_log.*|validation/.*)")
    for info in storage.list(f"{run}/attempts/"):
        match = kept.fullmatch(info.key)
        if match and not (folder / match[1]).exists() and (validation or not match[1].startswith("validation/")):
            storage.get_file(info.key, folder / match[1])


def _train_and_upload(
    order: TrainOrder, setup: TrainingSetup, storage: ObjectStore, run: str, listener: Listener
) -> TrainingResult:
    """Train, with checkpoints going up beside it, at the end and on SIGTERM the last one too."""
    prefix = checkpoints.attempt_prefix(run, order.attempt, order.fold)
    uploads = checkpoints.Uploads(storage, prefix, order.checkpoint.keep, listener, scratch("uploads"))
    setup.listener, setup.on_checkpoint = uploads.hear, uploads.written
    try:
        return training.train(setup)
    except BaseException as error:
        problem = uploads.close()
        # Predictions are made with the final weights alone, so they are good however the validation ended.
        _keep(storage, prefix, setup.fold_folder, "training_log*", "validation/*")
        if isinstance(error, Stopped) and problem:
            error.message += f" {problem}"
        raise
    finally:
        uploads.close()


def _keep(storage: ObjectStore, prefix: str, folder: Path, *patterns: str) -> None:
    """What the next attempt goes on with, besides checkpoints."""
    for path in [p for pattern in patterns for p in folder.glob(pattern) if p.is_file() and not p.name.startswith(".")]:
        name = path.relative_to(folder).as_posix()
        try:
            storage.put_file(path, f"{prefix}/{name}")
        except Fault as fault:
            log.warning("%s is not in the store: %s", name, fault.message)


def _summary(order: TrainOrder, storage: ObjectStore, fold: str, result: TrainingResult) -> dict[str, Any]:
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


def _upload(storage: ObjectStore, fold: str, digest: str, setup: TrainingSetup, summary: dict[str, Any]) -> None:
    """The fold's folder, what lies beside all folds, and the fold's manifest last."""
    model = fold.rpartition("/")[0]
    for name in MODEL_FILES:
        if (setup.model_folder / name).is_file():
            storage.put_file(setup.model_folder / name, f"{model}/{name}")
    writer = ArtifactWriter(storage, fold, "run", digest)
    files = [p for p in sorted(setup.fold_folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    for_each(files, lambda path: writer.put_file(path.relative_to(setup.fold_folder).as_posix(), path))
    writer.put_json("report.json", summary)
    writer.finish(summary, {"seed": setup.seed, "recipe": recipe.write(setup.recipe)})


def _tidy(storage: ObjectStore, run: str, fold: str) -> None:
    """What attempts left is of no more use once the fold's results, their logs among them, are whole."""
    for info in list(storage.list(f"{run}/attempts/")):
        if f"/fold_{fold}/" in info.key:
            try:
                storage.delete(info.key)
            except Fault as fault:
                log.warning("%s could not be deleted: %s", storage.uri(info.key), fault.message)


def _report(storage: ObjectStore, run: str, digest: str, summary: dict[str, Any]) -> Report:
    entry = report.Artifact(kind="run", uri=storage.uri(run), digest=digest)
    return Report(step="train", artifacts=[entry], summary=summary, detail=f"{summary['folderUri']}/report.json")


def _add_validation(there: Artifact, setup: TrainingSetup, result: TrainingResult) -> dict[str, Any]:
    """Complete a fold by the validation that it did not have. What is there stays; the new manifest replaces the old one last."""
    store, files = there.store, dict(there.files)

    def put(path: Path) -> None:
        name = path.relative_to(setup.fold_folder).as_posix()
        files[name] = digests.entry(path, name)
        store.put_file(path, there.key(name))

    for_each([p for p in sorted((setup.fold_folder / "validation").rglob("*")) if p.is_file() and not p.name.startswith(".")], put)
    for_each([p for p in setup.fold_folder.glob("training_log*") if p.name not in there.files], put)
    summary = {**there.manifest.summary, **_validated(result)}
    report_file = setup.fold_folder / "report.json"
    report_file.write_bytes(as_json(summary))
    put(report_file)
    manifest = replace(there.manifest, files=[files[name] for name in sorted(files)], summary=summary)
    store.put(there.key(keys.MANIFEST), as_json(codec.to_plain(manifest)))
    return summary


@contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    with open(scratch() / f".{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
