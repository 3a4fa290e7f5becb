"""The step `train`: stage, train one fold from the newest checkpoint of any attempt, upload, validate."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from .. import extensions
from ..artifacts import ObjectStore, digests, open_store
from ..artifacts.artifact import Artifact
from ..contract import keys, pod, report
from ..contract.faults import Fault, Stopped, Temporary
from ..contract.json_text import codec
from ..contract.keys import PREDICTED_NEXT_STAGE
from ..contract.progress import Progress, ProgressHook
from ..contract.report import Report
from ..contract.work_order import PretrainedPolicies, TrainOrder
from ..extensions import provenance
from ..planning.plans import Configuration, Plans, plugins
from ..training.loop.fold_training import train
from ..training.loop.stopping import StopRequest, seconds_left
from ..training.loop.validation.full_evaluation import EVALUATED
from ..training.ranks import devices
from ..training.recipes import presets, recipe
from ..training.reporting.reporter import VALIDATING
from ..training.session.setup import TrainingResult, TrainingSetup
from ..training.state import continuation
from . import owners, publishing, staging
from .attempts import checkpoints
from .attempts.keeping import Keeper
from .attempts.patience import Backoff, PatientStore, within_grace
from .attempts.uploads import Uploads
from .common import Teller, import_plugins, plugin_folder, read_input, scratch

log = logging.getLogger(__name__)

BACKOFF = Backoff()
FAILED_SECONDS = 120.0
"""So long a training that failed tries to bring its last checkpoint into the store."""


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
        plugged = import_plugins(order)
        resolved = presets.resolve(order.trainer.name, order.trainer.base, order.trainer.recipe)
        data, plans_artifact = read_input(order.preprocessed, "preprocessed"), read_input(order.plans, "plans")
        plans_name = plans_artifact.manifest.summary["plansName"]
        plans = plans_artifact.read_json(f"{plans_name}.json")
        plugins.require(plans, plugins.FOR_NETWORKS)
        configuration = Plans(plans).configuration(order.configuration)
        pretrained, sha256 = staging.fetch_pretrained(order, tell) or (None, None)
        decisive = recipe.digested(resolved)
        if (continued := staging.fetch_continued(order, tell)) is not None:
            resolved = continuation.extended(resolved, continued)
        digest = run_digest(order, decisive, sha256, recipe.used(resolved), plugged=plugin_folder())
        storage = open_store(order.storage)
        run = keys.run(order.namespace, order.run, digest)
        if os.environ.get("RANK", "0") == "0":
            owners.refuse_other_plugins(storage, run, order, plugged)
            owners.claim(storage, run, order, plugged)
        fold = f"{run}/{keys.fold_folder(order.dataset_name, order.trainer.name, plans_name, order.configuration, order.fold)}"
        there = publishing.trained(storage, fold)
        if there and (order.validation != "Run" or publishing.is_validated(there, configuration)):
            return _report(storage, run, digest, publishing.summary_of(there))
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
            continues=continued,
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
            prefix = checkpoints.attempt_prefix(run, order.attempt, order.fold, pod.job_uid())
            uploads = Uploads(storage, prefix, order.checkpoint.keep, listener, scratch("uploads"), BACKOFF)
            result = _train(setup, uploads, prefix)
        uploads.say("uploading", None)
        patient = PatientStore(storage, stop, BACKOFF, lambda text: uploads.say("uploading", text))

        def publish() -> Report:
            if there:
                summary = publishing.add_validation(Artifact(patient, there.prefix, there.manifest), setup, result)
            else:
                if other := publishing.trained(patient, fold):
                    return _trained_elsewhere(order, storage, run, other, configuration)
                summary = publishing.summarize(order, storage, fold, result)
                publishing.publish(patient, fold, digest, setup, summary, uploads.key_of)
            return _report(storage, run, digest, summary)

        report = _published(publish, uploads, stop)
        with suppress(TimeoutError):  # the results are there, whatever is left of attempts
            within_grace(lambda: publishing.tidy(storage, run, order.fold), stop)
        return report


def run_digest(
    order: TrainOrder,
    resolved: dict[str, Any],
    pretrained: str | None,
    used: Iterable[provenance.Used] = (),
    *,
    plugged: Path | None = None,
) -> str:
    """The run's digest: of all that decides its result.

    Args:
        order: the order.
        resolved: its trainer, as resolved.
        pretrained: the sha256 of pretrained weights.
        used: the components that the trainer names.
        plugged: where the plug-ins are that were imported, `pod.plugins()` if None.
    """
    decisive = {"trainer": order.trainer.name, "recipe": resolved}
    if order.deterministic:
        decisive["deterministic"] = True
    if order.pretrained and order.pretrained.policies != PretrainedPolicies():
        decisive["pretrained"] = codec.to_plain(order.pretrained.policies)
    if order.continues:
        given = order.continues
        decisive["continues"] = {"digest": given.digest, "additionalEpochs": given.additional_epochs, "schedule": given.schedule}
    if order.plugins:
        files = extensions.plugin_files(plugged or pod.plugins(), order.plugins)
        decisive["plugins"] = {f"{file.parent.name}/{file.name}": digests.of_file(file) for file in files}
    if installed := provenance.digests(provenance.records(used, installed=True)):
        decisive["installedPlugins"] = installed
    if order.previous_stage:
        decisive["previousStage"] = {fold: given.digest for fold, given in order.previous_stage.folds.items()}
    return keys.run_digest(order.preprocessed.digest, order.plans.digest, order.configuration, decisive, order.seed, pretrained)


class _Stop(StopRequest):
    """Set by SIGTERM. Once the training has `begun`, it looks at it after every iteration; before, nothing needs to be saved."""

    begun = False

    def __init__(self) -> None:
        super().__init__(pod.leaving_seconds())

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


def _train(setup: TrainingSetup, uploads: Uploads, prefix: str) -> TrainingResult:
    """Train, with checkpoints going up beside it; where it ends before its end, with the last one and all that is done already."""
    keeper = Keeper(uploads.store, lambda: _kept(setup, prefix), setup.checkpoint.every_minutes)

    def hear(progress: Progress) -> None:
        uploads.hear(progress)
        if progress.phase == VALIDATING:
            keeper.look()

    def left() -> float:
        seconds = seconds_left(setup.stop)
        return FAILED_SECONDS if seconds is None else seconds

    def bring(seconds: Callable[[], float]) -> list[str]:
        lost = [*filter(None, [uploads.close(seconds()), keeper.keep(seconds())])]
        for text in lost:
            log.warning("%s", text)
        return lost

    def bring_within(seconds: float) -> None:
        end = time.monotonic() + seconds
        bring(lambda: max(0.0, end - time.monotonic()))

    setup.listener, setup.on_checkpoint, setup.before_abort = hear, uploads.written, bring_within
    try:
        return train(setup)
    except BaseException as error:
        lost = bring(left)
        if isinstance(error, Stopped):
            error.message = " ".join([error.message, *lost])
        raise


def _kept(setup: TrainingSetup, prefix: str) -> dict[Path, str]:
    """What the next attempt goes on with besides checkpoints, and its keys.

    Predictions are made with the final weights alone, so they are good however the validation ended.
    """
    folder, model = setup.fold_folder, setup.model_folder
    patterns = ("training_log*", "validation/*", f"{EVALUATED}_*/summary.json")
    names = {path: path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern)}
    names |= {path: path.relative_to(model).as_posix() for path in model.glob(f"{PREDICTED_NEXT_STAGE}/*/*")}
    return {path: f"{prefix}/{name}" for path, name in names.items()}


def _published(publish: Callable[[], Report], uploads: Uploads, stop: StopRequest) -> Report:
    """The report of the results, when they are in the store.

    Raises:
        Stopped: SIGTERM came, and its grace was not long enough.
        Fault: the store fails for longer than it is waited for.
    """
    try:
        report = within_grace(publish, stop)
    except (TimeoutError, Fault) as error:
        left = seconds_left(stop)
        problem = uploads.close(FAILED_SECONDS if left is None else left)
        newest = f"The next attempt goes on from epoch {uploads.newest.epoch}." if uploads.newest else ""
        after = " ".join(filter(None, [newest, problem]))
        if stop.is_set():
            raise Stopped("Stopped", f"The upload of the results was stopped before its end. {after}".rstrip()) from error
        if isinstance(error, Fault) and error.reason != "TrainedElsewhere":
            error.message = f"The training is done, but its results could not be uploaded: {error.message} {after}".rstrip()
        raise
    uploads.discard(FAILED_SECONDS)
    return report


def _trained_elsewhere(order: TrainOrder, storage: ObjectStore, run: str, other: Artifact, configuration: Configuration) -> Report:
    """A cluster that shares the storage was faster with the same fold: what it published counts, and is not written over."""
    log.warning("%s was published by another Job meanwhile; this training's result is not needed.", other.uri)
    if order.validation == "Run" and not publishing.is_validated(other, configuration):
        raise Temporary(
            "TrainedElsewhere", f"{other.uri} was published by another Job; its validation is made by the next attempt."
        )
    return _report(storage, run, other.manifest.digest, publishing.summary_of(other))


def _report(storage: ObjectStore, run: str, digest: str, summary: dict[str, Any]) -> Report:
    entry = report.Artifact(kind="run", uri=storage.uri(run), digest=digest)
    return Report(step="train", artifacts=[entry], summary=summary, detail=f"{summary['folderUri']}/report.json")
