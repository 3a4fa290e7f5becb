"""The step `train`: stage, train one fold from the newest checkpoint of any attempt, upload, validate."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from .. import extensions
from ..artifacts import ObjectStore, artifact, digests, open_store
from ..artifacts.artifact import Artifact, ArtifactWriter, as_json
from ..artifacts.parallel import for_each
from ..contract import codec, keys, pod, report
from ..contract.faults import Fault, Stopped
from ..contract.keys import PREDICTED_NEXT_STAGE
from ..contract.progress import ProgressHook
from ..contract.report import Report
from ..contract.work_order import PretrainedPolicies, TrainOrder
from ..dataset.files import is_hidden
from ..planning.plans import Configuration, Plans
from ..training.loop.fold_training import train
from ..training.loop.full_evaluation import EVALUATED
from ..training.ranks import devices
from ..training.recipes import presets, recipe
from ..training.session.setup import TrainingResult, TrainingSetup
from . import checkpoints, owners, staging
from .common import Teller, read_input, scratch

MODEL_FILES = ("plans.json", "dataset.json", "dataset_fingerprint.json")
log = logging.getLogger(__name__)


def carry_out(order: TrainOrder, listener: ProgressHook) -> Report:
    """Train a fold into `runs/<namespace>/<run>/<digest>/nnUNet_results/…/fold_K`. Every rank calls this, rank 0 uploads.

    Raises:
        StorageFault: its results are being deleted.
        BadConfiguration, BadData: recipe, plans, fold or pretrained weights do not fit; GPUs were ordered, and torch sees none.
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
        configuration = Plans(plans).configuration(order.configuration)
        pretrained, sha256 = staging.fetch_pretrained(order, tell) or (None, None)
        digest = run_digest(order, recipe.digested(resolved), sha256)
        storage = open_store(order.storage)
        run = keys.run(order.namespace, order.run, digest)
        if os.environ.get("RANK", "0") == "0":
            owners.claim(storage, run, order)
        fold = f"{run}/{keys.fold_folder(order.dataset_name, order.trainer.name, plans_name, order.configuration, order.fold)}"
        there = _trained(storage, fold)
        if there and (order.validation != "Run" or _is_validated(there, configuration)):
            return _report(storage, run, digest, {**there.manifest.summary, "found": True})
        device, reason = devices.ordered(order.gpus_per_node)
        local_rank = os.environ.get("LOCAL_RANK")
        # Before gigabytes are fetched.
        devices.choose(device, None if local_rank is None else int(local_rank), max(1, order.gpus_per_node))
        staged = staging.stage(order, data, plans, storage, run, resolved.epochs, there, tell)
        setup = TrainingSetup(
            preprocessed=staged.preprocessed,
            results=staged.results,
            plans=plans,
            dataset_json=data.read_json("dataset.json"),
            configuration=order.configuration,
            fold=order.fold,
            trainer=order.trainer.name,
            recipe=resolved,
            seed=order.seed,
            device=device,
            device_reason=reason,
            checkpoint=order.checkpoint,
            resume=True,
            resume_from=staged.resume_from,
            pretrained=pretrained,
            pretrained_policies=order.pretrained.policies if order.pretrained else PretrainedPolicies(),
            pretrained_source=order.pretrained.location.uri if order.pretrained else None,
            previous_stage=staged.previous_stage,
            previous_stage_source=f"TrainingRun {order.previous_stage.run}" if order.previous_stage else None,
            deterministic=order.deterministic,
            validation=order.validation == "Run",
            stop=stop,
        )
        stop.begun = True
        previous_run = order.previous_stage.run if order.previous_stage else None
        with staging.originals_named(staged, data, configuration.data_identifier, previous_run):
            if os.environ.get("RANK", "0") != "0":
                train(setup)
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


def run_digest(order: TrainOrder, resolved: dict[str, Any], pretrained: str | None) -> str:
    """The run's digest: of all that decides its result, its trainer as resolved, the sha256 of pretrained weights."""
    decisive = {"trainer": order.trainer.name, "recipe": resolved}
    if order.deterministic:
        decisive["deterministic"] = True
    if order.pretrained and order.pretrained.policies != PretrainedPolicies():
        decisive["pretrained"] = codec.to_plain(order.pretrained.policies)
    if order.plugins:
        files = extensions.plugin_files(pod.plugins(), order.plugins)
        decisive["plugins"] = {f"{file.parent.name}/{file.name}": digests.of_file(file) for file in files}
    if order.previous_stage:
        decisive["previousStage"] = {fold: given.digest for fold, given in order.previous_stage.folds.items()}
    return keys.run_digest(order.preprocessed.digest, order.plans.digest, order.configuration, decisive, order.seed, pretrained)


def _trained(storage: ObjectStore, fold: str) -> Artifact | None:
    """The fold's artifact, if its checkpoints are whole; without them it is trained again. Whatever else is gone is not missed."""
    found = artifact.find(storage, fold)
    if found is None:
        return None
    lost = [path for path in artifact.damaged(found) if path.startswith("checkpoint_")]
    if lost:
        artifact.withdraw(found, lost)
        return None
    return found


def _is_validated(there: Artifact, configuration: Configuration) -> bool:
    """Whether a fold has its validation, and its predictions for each next stage of a cascade, all of them whole."""
    needed = [f"{PREDICTED_NEXT_STAGE}/{name}/" for name in configuration.next_stages]
    made = keys.VALIDATION_SUMMARY in there.files and all(any(path.startswith(p) for path in there.files) for p in needed)
    return made and not any(path.startswith(("validation/", f"{PREDICTED_NEXT_STAGE}/")) for path in artifact.damaged(there))


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


def _train_and_upload(
    order: TrainOrder, setup: TrainingSetup, storage: ObjectStore, run: str, listener: ProgressHook
) -> TrainingResult:
    """Train, with checkpoints going up beside it, at the end and on SIGTERM the last one too."""
    prefix = checkpoints.attempt_prefix(run, order.attempt, order.fold)
    uploads = checkpoints.Uploads(storage, prefix, order.checkpoint.keep, listener, scratch("uploads"))
    setup.listener, setup.on_checkpoint = uploads.hear, uploads.written
    try:
        return train(setup)
    except BaseException as error:
        problem = uploads.close()
        # Predictions are made with the final weights alone, so they are good however the validation ended.
        _keep(storage, prefix, setup.fold_folder, "training_log*", "validation/*", f"{EVALUATED}_*/summary.json")
        _keep(storage, prefix, setup.model_folder, f"{PREDICTED_NEXT_STAGE}/*/*")
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
    for_each(_files(setup.fold_folder), lambda path: writer.put_file(path.relative_to(setup.fold_folder).as_posix(), path))
    for_each(
        _files(setup.model_folder / PREDICTED_NEXT_STAGE), lambda path: writer.put_file(_publish(storage, model, setup, path), path)
    )
    writer.put_json("report.json", summary)
    writer.finish(summary, {"seed": setup.seed, "recipe": recipe.write(setup.recipe)})


def _files(folder: Path) -> list[Path]:
    """All but what a killed process was writing: hidden files, and what lies in hidden folders."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not is_hidden(path.relative_to(folder))]


def _publish(storage: ObjectStore, model: str, setup: TrainingSetup, path: Path) -> str:
    """Put a prediction for the next stage where nnU-Net looks for it, beside the folds; its name in the fold's artifact.

    The artifact has a copy of its own: folds may be published at the same time, and may have predicted the same case.
    """
    name = path.relative_to(setup.model_folder).as_posix()
    storage.put_file(path, f"{model}/{name}")
    return name


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

    def put(path: Path, name: str | None = None) -> None:
        name = name or path.relative_to(setup.fold_folder).as_posix()
        files[name] = digests.entry(path, name)
        store.put_file(path, there.key(name))

    model = there.prefix.rpartition("/")[0]
    for_each(_files(setup.fold_folder / "validation"), put)
    for_each(_files(setup.model_folder / PREDICTED_NEXT_STAGE), lambda path: put(path, _publish(store, model, setup, path)))
    for_each([p for p in setup.fold_folder.glob("training_log*") if p.name not in there.files], put)
    summary = {**there.manifest.summary, **_validated(result)}
    report_file = setup.fold_folder / "report.json"
    report_file.write_bytes(as_json(summary))
    put(report_file)
    manifest = replace(there.manifest, files=[files[name] for name in sorted(files)], summary=summary)
    store.put(there.key(keys.MANIFEST), as_json(codec.to_plain(manifest)))
    return summary
