"""Objects that cannot be read: stored before the schema forbade them, or past it. Said in the status, never retried for ever."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.faults import Fault

from ...api import conditions, reasons
from ...api.common import CommonStatus
from ...api.resources import Metadata, Resource
from ...api.resources import parse as parse_strictly
from ..outcome import Outcome
from ..policies import retention
from ..scope import Scope
from ..status.conclude import conclude
from ..view import Manifest, View


class Unreadable(Resource):
    """An object whose spec does not fit the schema."""

    spec: None = None
    status: CommonStatus
    stored: dict[str, Any]
    """The whole status as it is, for nothing of it to be lost."""
    problem: str


def parse(manifest: Manifest) -> Resource:
    """An object, or what stands for it when it cannot be read."""
    try:
        return parse_strictly(manifest)
    except Fault as fault:
        stored = manifest.get("status") or {}
        try:
            status = CommonStatus.model_validate(stored)
        except ValueError:
            status = CommonStatus()
        metadata = Metadata.model_validate(manifest["metadata"])
        return Unreadable(kind=manifest["kind"], metadata=metadata, status=status, stored=stored, problem=str(fault))


def reconcile(view: View[Unreadable]) -> Outcome:
    """Say what does not fit, and leave everything as it is: what runs goes on."""
    if view.object.metadata.deletion_timestamp is not None:
        return retention.release(view, f"Its results stay: {view.object.problem}", kept=True)
    scope = Scope.begin(view, view.object.status)
    message = f"{view.object.problem} Correct the spec and apply it again."
    generation = view.object.metadata.generation
    scope.status.conditions = conditions.stalled(
        scope.status.conditions, reasons.INVALID_SPEC, message, now=view.now, generation=generation
    )
    out = conclude(scope)
    out.status = {**view.object.stored, **out.status}
    return out
