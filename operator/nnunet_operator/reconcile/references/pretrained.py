"""The weights that a TrainingRun starts from: a fold of another run, or a file."""

from __future__ import annotations

from nnunet_trainer.contract.work_order import Location, PretrainedPolicies, PretrainedWeights

from ...api import reasons
from ...api.common import State
from ...api.resources import TrainingRun
from .. import locations
from ..view import View
from ..work import Blocker
from . import dependencies


def weights(view: View[TrainingRun], store: Location) -> PretrainedWeights | Blocker | None:
    """The checkpoint file and its sha256 where it is known; None when nothing was asked for."""
    spec = view.object.spec.pretrained
    if spec is None:
        return None
    policies = PretrainedPolicies(input_channels=spec.input_channels, heads=spec.heads, mismatched=spec.mismatched)
    if spec.run_ref is None:
        location = locations.inherit(locations.at(spec.uri or "", spec), store)
        return PretrainedWeights(location=location, sha256=spec.sha256, policies=policies)
    name, wanted = spec.run_ref.name, spec.run_ref.fold
    run = view.reference("TrainingRun", name)
    if run is None:
        return Blocker(
            reasons.WAITING_FOR_TRAINING_RUN, f"waits for TrainingRun {name} (spec.pretrained.runRef), which does not exist"
        )
    if not isinstance(run, TrainingRun):
        return dependencies.standing(run, f"to train fold {wanted}")
    if wanted not in run.spec.folds:
        has = ", ".join(run.spec.folds)
        return Blocker(
            reasons.UNKNOWN_FOLD, f"TrainingRun {name} has no fold {wanted} (spec.pretrained.runRef.fold); its folds: {has}"
        )
    fold = run.status.fold(wanted)
    if fold is not None and fold.state is State.FAILED:
        return dependencies.failed(f"Fold {wanted} of TrainingRun {name}", fold.reason or reasons.FAILED, fold.message or "")
    checkpoint = (fold.best if spec.checkpoint == "best" else fold.checkpoint) if fold else None
    if fold is None or fold.state is not State.SUCCEEDED or checkpoint is None:
        # Another fold that has failed does not matter: only this one is waited for.
        if fold is None or fold.state is State.PENDING:
            return dependencies.standing(run, f"to train fold {wanted}")
        text = f"waits for TrainingRun {name} to train fold {wanted}; it is {fold.state.value}"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    access = fold.artifact or store
    return PretrainedWeights(location=locations.at(checkpoint.uri, access), sha256=checkpoint.sha256, policies=policies)
