"""The weights that a TrainingRun starts from: a fold of another run, or a file."""

from __future__ import annotations

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import Location, PretrainedPolicies, PretrainedWeights

from ...api import reasons
from ...api.resources import TrainingRun
from ...api.starting_point import RunReference
from .. import locations, spec_to_order
from ..blocker import Blocker
from . import kept_inputs
from .resolved import RunReferences
from .trained_fold import trained


def weights(references: RunReferences, store: Location) -> PretrainedWeights | Blocker | None:
    """The checkpoint file and its sha256 where it is known; None when nothing was asked for."""
    spec = references.run.spec.pretrained
    if spec is None:
        return None
    policies = spec_to_order.build(PretrainedPolicies, spec)
    if spec.run_ref is None:
        location = locations.inherit(locations.at(spec.uri or "", spec), store)
        return PretrainedWeights(location=location, sha256=spec.sha256, policies=policies)
    return kept_inputs.weights(references, _of_run(references, spec.run_ref, spec.checkpoint, policies, store))


def _of_run(
    references: RunReferences, wanted: RunReference, checkpoint: str, policies: PretrainedPolicies, store: Location
) -> PretrainedWeights | Blocker:
    assert references.pretrained is not None
    name, fold_name, run = wanted.name, wanted.fold, references.pretrained.object
    if run is None:
        waits = references.pretrained.wait(f"to train fold {fold_name}")
        return waits if references.pretrained.unreadable else _does_not_exist(waits, references.run, wanted, checkpoint, store)
    fold = trained(run, references.pretrained, fold_name, "spec.pretrained.runRef.fold")
    if isinstance(fold, Blocker):
        return fold
    made = fold.best if checkpoint == "best" else fold.checkpoint
    if made is None:
        text = f"waits for TrainingRun {name} to train fold {fold_name}; it is {fold.state.value}"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    access = fold.artifact or store
    return PretrainedWeights(location=locations.at(made.uri, access), sha256=made.sha256, policies=policies)


def _does_not_exist(waits: Blocker, run: TrainingRun, wanted: RunReference, checkpoint: str, store: Location) -> Blocker:
    """It may come yet, or have gone: its results stay in the storage."""
    place = f"{store.uri.rstrip('/')}/{keys.run(run.metadata.namespace, wanted.name, '<digest>')}"
    fold = keys.fold_folder("<dataset>", "<trainer>", "<plans>", "<configuration>", wanted.fold)
    file = f"{place}/{fold}/checkpoint_{checkpoint}.pth"
    text = (
        f"{waits.message}. If it was deleted (by ttlSecondsAfterFinished, or by hand): apply it again, and it finds its results in "
        f"the storage; or create another TrainingRun that has spec.pretrained.uri in place of runRef: {file}"
    )
    return Blocker(waits.reason, text)
