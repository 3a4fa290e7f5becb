"""What a run starts from of other runs, which may expire: its status keeps it, and so a run goes on without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nnunet_trainer.contract.work_order import (
    Continuation,
    Input,
    Location,
    PretrainedPolicies,
    PretrainedWeights,
    PreviousStage,
    TrainOrder,
)

from ...api.resources import TrainingRun
from ...api.starting_point import ContinuedStatus, InputStatus
from ...api.training_run import TrainingRunStatus
from .. import locations, spec_to_order
from ..blocker import Blocker
from .resolved import RunReferences


def weights(references: RunReferences, found: PretrainedWeights | Blocker) -> PretrainedWeights | Blocker:
    """What was found of the run whose weights these are, else what is kept."""
    run, kept = references.run, references.run.status.pretrained
    gone = references.pretrained is None or references.pretrained.object is None
    if kept is None or run.spec.pretrained is None or not _takes_the_place(found, run, gone=gone):
        return found
    policies = spec_to_order.build(PretrainedPolicies, run.spec.pretrained)
    return PretrainedWeights(location=locations.at(kept.uri, kept), sha256=kept.digest, policies=policies)


def previous_stage(references: RunReferences, found: PreviousStage | Blocker) -> PreviousStage | Blocker:
    """What was found of the run of the previous stage, else what is kept."""
    run, kept, stage = references.run, references.run.status.previous_stage, references.previous_stage
    if kept is None or stage is None or not _takes_the_place(found, run, gone=stage.object is None):
        return found
    folds = {fold: Input(location=locations.at(given.uri, given), digest=given.digest or "") for fold, given in kept.items()}
    return PreviousStage(run=stage.name, folds=folds)


def continuation(references: RunReferences, fold: str, found: Continuation | Blocker) -> Continuation | Blocker:
    """What was found of the finished run's fold, else what is kept."""
    run, spec, source = references.run, references.run.spec.continues, references.continued
    kept = (run.status.continues or {}).get(fold)
    if kept is None or spec is None or source is None or not _takes_the_place(found, run, gone=source.object is None):
        return found
    return Continuation(
        run=source.name,
        location=locations.at(kept.uri, kept),
        digest=kept.digest or "",
        additional_epochs=spec.additional_epochs,
        schedule=spec.schedule,
        sha256=kept.sha256,
    )


def keep_continuations(status: TrainingRunStatus, run: TrainingRun, given: Mapping[str, Continuation]) -> None:
    """Keep by fold what is there now; once the run has begun, of what it has begun with alone."""
    known = dict(status.continues or {}) if begun(run) or not given else {}
    of_run = next((kept.digest for kept in known.values()), None)
    for fold, found in given.items():
        if of_run in (None, found.digest):
            place = locations.status(found.location).model_dump()
            known.setdefault(fold, ContinuedStatus(**place, digest=found.digest, sha256=found.sha256))
    status.continues = known or None


def keep(status: TrainingRunStatus, run: TrainingRun, given: Iterable[TrainOrder | PretrainedWeights | PreviousStage]) -> None:
    """Keep what is there now. Of what comes from no other run nothing is kept: the spec says it."""
    for item in given:
        if isinstance(item, TrainOrder):
            keep(status, run, [part for part in (item.pretrained, item.previous_stage) if part is not None])
        elif isinstance(item, PreviousStage):
            status.previous_stage = {fold: _status(made.location, made.digest) for fold, made in item.folds.items()}
        elif run.spec.pretrained is not None and run.spec.pretrained.run_ref is not None:
            status.pretrained = _status(item.location, item.sha256)


def missing(run: TrainingRun, of: str) -> bool:
    """Whether a run needs something of the run named `of`, and does not keep it yet."""
    spec, status = run.spec, run.status
    pretrained = spec.pretrained.run_ref if spec.pretrained else None
    stage = spec.previous_stage.run_ref if spec.previous_stage else None
    lacks = not all(fold in (status.continues or {}) for fold in spec.folds)
    return bool(
        (spec.continues and spec.continues.run_ref.name == of and lacks)
        or (pretrained and pretrained.name == of and status.pretrained is None)
        or (stage and stage.name == of and status.previous_stage is None)
    )


def begun(run: TrainingRun) -> bool:
    """Whether a fold of it has been started on something: from then on all are started on the same."""
    return any(fold.input is not None for fold in run.status.folds)


def _takes_the_place(found: object, run: TrainingRun, *, gone: bool) -> bool:
    # While a run has not begun, another that is there is waited for: it may be trained anew on purpose.
    return isinstance(found, Blocker) and (gone or begun(run))


def _status(place: Location, digest: str | None) -> InputStatus:
    return InputStatus(**locations.status(place).model_dump(), digest=digest)
