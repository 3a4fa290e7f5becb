"""The weights that a TrainingRun starts from: a fold of another run, or a file."""

from __future__ import annotations

from nnunet_trainer.contract.work_order import Location, PretrainedPolicies, PretrainedWeights

from ...api import reasons
from ...api.common import State
from .. import locations, spec_to_order
from ..blocker import Blocker
from .referenced import dependency_failed
from .resolved import RunReferences


def weights(references: RunReferences, store: Location) -> PretrainedWeights | Blocker | None:
    """The checkpoint file and its sha256 where it is known; None when nothing was asked for."""
    spec = references.run.spec.pretrained
    if spec is None:
        return None
    policies = spec_to_order.build(PretrainedPolicies, spec)
    if spec.run_ref is None or references.pretrained is None:
        location = locations.inherit(locations.at(spec.uri or "", spec), store)
        return PretrainedWeights(location=location, sha256=spec.sha256, policies=policies)
    name, wanted, run = spec.run_ref.name, spec.run_ref.fold, references.pretrained.object
    if run is None:
        return references.pretrained.wait(f"to train fold {wanted}")
    if wanted not in run.spec.folds:
        has = ", ".join(run.spec.folds)
        return Blocker(
            reasons.UNKNOWN_FOLD, f"TrainingRun {name} has no fold {wanted} (spec.pretrained.runRef.fold); its folds: {has}"
        )
    fold = run.status.fold(wanted)
    if fold is not None and fold.state is State.FAILED:
        return dependency_failed(f"Fold {wanted} of TrainingRun {name}", fold.reason or reasons.FAILED, fold.message or "")
    checkpoint = (fold.best if spec.checkpoint == "best" else fold.checkpoint) if fold else None
    if fold is None or fold.state is not State.SUCCEEDED or checkpoint is None:
        # Another fold that has failed does not matter: only this one is waited for.
        if fold is None or fold.state is State.PENDING:
            return references.pretrained.wait(f"to train fold {wanted}")
        text = f"waits for TrainingRun {name} to train fold {wanted}; it is {fold.state.value}"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    access = fold.artifact or store
    return PretrainedWeights(location=locations.at(checkpoint.uri, access), sha256=checkpoint.sha256, policies=policies)
