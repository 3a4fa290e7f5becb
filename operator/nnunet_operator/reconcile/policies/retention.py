"""`spec.retention`: what becomes of a run's results when it is deleted. `Delete` holds it by a finalizer until they are gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...api import reasons
from ...api.base import Metadata
from ...api.resources import TrainingRun
from ...manifests import names
from ..outcome import Outcome
from ..view import View


def is_held(finalizers: Iterable[str] | None) -> bool:
    """Whether an object with these finalizers is held until its results are deleted."""
    return names.RESULTS_FINALIZER in (finalizers or ())


def finalizers(run: TrainingRun) -> list[str] | None:
    """The finalizers that a run should have where it has others: it is held before its first Job is made. None: they are right."""
    if (run.spec.retention == "Delete") == (held := is_held(run.metadata.finalizers)):
        return None
    return _without(run.metadata) if held else [*run.metadata.finalizers, names.RESULTS_FINALIZER]


def release(view: View[Any], message: str = "", *, kept: bool = False) -> Outcome:
    """Let an object go that is being deleted. `kept`: results stay that should have gone; `message` says which and why."""
    outcome = Outcome(finalizers=_without(view.object.metadata))
    if message:
        outcome.record(reasons.RESULTS_KEPT if kept else reasons.RESULTS_DELETED, message, warning=kept)
    return outcome


def _without(metadata: Metadata) -> list[str]:
    return [name for name in metadata.finalizers if name != names.RESULTS_FINALIZER]
