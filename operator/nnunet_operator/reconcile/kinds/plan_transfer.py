"""The life of a PlanTransfer."""

from __future__ import annotations

from typing import Literal

from ...api import conditions as kinds
from ...api import reasons
from ...api.common import Reference
from ...api.plan_transfer import PlanTransferSpec, PlanTransferStatus
from ...api.plans import PlansSpec, TransferFrom
from ...api.resources import API_VERSION, Plans, PlanTransfer
from ...manifests import names
from ..blocker import Blocker
from ..outcome import Outcome
from ..policies import rerun
from ..references.referenced import waiting_for
from ..scope import Scope
from ..status import conditions
from ..status.conclude import conclude
from ..view import Manifest, View

PASSED_ON = sorted(str(field.alias) for name, field in PlanTransferSpec.model_fields.items() if name in PlansSpec.model_fields)
"""What a transfer's spec and a Plans' have both."""

POLICIES = {name: str(field.alias) for name, field in TransferFrom.model_fields.items() if name in PlanTransferSpec.model_fields}
"""How plans are transferred: what a transfer's spec and the `transferFrom` of its Plans have both."""

MIRRORED = (kinds.PLANNED, kinds.PREPROCESSED, kinds.COMPATIBLE)


def reconcile(view: View[PlanTransfer]) -> Outcome:
    """The life of a PlanTransfer: it owns a Plans of its own name, and says what that says."""
    scope = Scope.begin(view, view.object.status)
    if rerun.requested(scope):
        rerun.record(scope, f"passed on to Plans {view.object.metadata.name}")
    if problem := taken(view) or cycle(view):
        conditions.set_blocked(scope, problem)
        return conclude(scope)
    wanted, mine = plans(view.object), view.children[0] if view.children else None
    if not isinstance(mine, Plans) or differs(view.object, mine, wanted):
        scope.outcome.apply.append(wanted)
    scope.status.plans_ref = Reference(name=view.object.metadata.name)
    if not isinstance(mine, Plans):
        waits = waiting_for(mine, "") if mine else Blocker(reasons.WAITING_FOR_PLANS, "its Plans is being made")
        conditions.set_blocked(scope, waits)
        return conclude(scope)
    mirror(scope, mine)
    return conclude(scope)


def plans(transfer: PlanTransfer) -> Manifest:
    """The Plans that a transfer makes and keeps: it waits, transfers and preprocesses as any other."""
    spec = transfer.spec.to_json()
    # The policies are written also where they are the defaults: an edit of the Plans is set right.
    source = {"plansRef": spec["from"]["plansRef"]} | {alias: getattr(transfer.spec, name) for name, alias in POLICIES.items()}
    passed = {field: spec[field] for field in PASSED_ON if spec.get(field) is not None}
    return {
        "apiVersion": API_VERSION,
        "kind": "Plans",
        "metadata": {
            "name": transfer.metadata.name,
            "namespace": transfer.metadata.namespace,
            "labels": names.labels(transfer, "transfer"),
            "ownerReferences": [names.owner_reference(transfer)],
        },
        "spec": {"datasetRef": spec["to"]["datasetRef"], "transferFrom": source, **passed},
    }


def differs(transfer: PlanTransfer, mine: Plans, wanted: Manifest) -> bool:
    """Whether a Plans is not what its transfer asks for. What somebody else has added to it does not count."""
    edited = transfer.status.observed_generation != transfer.metadata.generation  # perhaps something was taken away
    spec = Plans.model_validate(wanted).spec
    return edited or any(getattr(mine.spec, field) != getattr(spec, field) for field in spec.model_fields_set)


def taken(view: View[PlanTransfer]) -> Blocker | None:
    """A Plans of the transfer's name that somebody else has made is left alone."""
    if not view.name_conflicts:
        return None
    name = view.object.metadata.name
    text = (
        f"There is a Plans named {name} already, and it is not this transfer's. A PlanTransfer makes a Plans of its own name: "
        "delete that one, or create this PlanTransfer under another name."
    )
    return Blocker(reasons.PLANS_NAME_TAKEN, text)


def cycle(view: View[PlanTransfer]) -> Blocker | None:
    """A transfer of the plans that it makes itself."""
    name = view.object.metadata.name
    if view.object.spec.from_.plans_ref.name != name:
        return None
    text = f"spec.from.plansRef is {name}, the name of the Plans that this PlanTransfer makes. Create it under another name."
    return Blocker(reasons.REFERENCE_CYCLE, text)


def mirror(scope: Scope[PlanTransferStatus], mine: Plans) -> None:
    """Say what its Plans says."""
    status = scope.status
    status.plans_name, status.dataset_name = mine.status.plans_name or scope.view.object.spec.plans_name, mine.status.dataset_name
    status.artifact, status.cases, status.compatibility = mine.status.artifact, mine.status.cases, mine.status.compatibility
    for kind in MIRRORED:
        if found := kinds.find(mine.status.conditions, kind):
            value: bool | Literal["Unknown"] = found.status == "True" if found.status in ("True", "False") else "Unknown"
            conditions.set_own(scope, kind, value, found.reason, found.message)
    ready = kinds.find(mine.status.conditions, kinds.READY)
    if ready is None or (mine.status.observed_generation or 0) < mine.metadata.generation:
        text = f"waits for its Plans {mine.metadata.name} to be worked on"
        conditions.set_blocked(scope, Blocker(reasons.WAITING_FOR_PLANS, text))
        return
    conditions.set_ready(scope, _overall(mine), ready.reason, ready.message)


def _overall(mine: Plans) -> conditions.Summary:
    """How a Plans stands as a whole, from its own conditions."""
    found = mine.status.conditions
    if kinds.is_true(found, kinds.READY):
        return "Ready"
    if kinds.is_true(found, kinds.STALLED):
        return "Stalled"
    return "Reconciling" if kinds.is_true(found, kinds.RECONCILING) else "Suspended"
