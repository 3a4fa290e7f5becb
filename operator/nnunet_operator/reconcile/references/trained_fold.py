"""A fold of another TrainingRun, once it is trained."""

from __future__ import annotations

from ...api import reasons
from ...api.common import State
from ...api.resources import TrainingRun
from ...api.training_run import FoldStatus
from ..blocker import Blocker
from .referenced import Referenced, dependency_failed


def trained(run: TrainingRun, referenced: Referenced[TrainingRun], fold_name: str, field: str) -> FoldStatus | Blocker:
    """A fold's row, or why one has to wait for it: another fold that has failed does not matter.

    Args:
        run: that is there.
        referenced: how it is referred to.
        fold_name: whose row.
        field: of the spec, which names the fold.
    """
    name = referenced.name
    if fold_name not in run.spec.folds:
        has = ", ".join(run.spec.folds)
        return Blocker(reasons.UNKNOWN_FOLD, f"TrainingRun {name} has no fold {fold_name} ({field}); its folds: {has}")
    fold = run.status.fold(fold_name)
    if fold is None or fold.state is State.PENDING:
        return referenced.wait(f"to train fold {fold_name}")
    if fold.state is State.FAILED:
        return dependency_failed(f"Fold {fold_name} of TrainingRun {name}", fold.reason or reasons.FAILED, fold.message or "")
    if fold.state is not State.SUCCEEDED:
        text = f"waits for TrainingRun {name} to train fold {fold_name}; it is {fold.state.value}"
        return Blocker(reasons.WAITING_FOR_TRAINING_RUN, text)
    return fold
