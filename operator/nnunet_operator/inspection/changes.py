"""What people ask of an object by a field of its spec: `suspend`, `resume`, `rerun`; refused where it would make no sense."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nnunet_trainer.contract.faults import BadUsage

from ..api import kstatus
from ..api.common import State
from ..api.kstatus import Status
from ..manifests import ownership
from ..reconcile.view import Manifest
from . import parts
from .object_names import label, short

SUSPENDABLE = ("TrainingRun", "Plans", "PlanTransfer")


@dataclass(frozen=True, slots=True)
class Change:
    """Fields of `spec` and their new values (none: nothing is to be changed), and what to tell."""

    spec: dict[str, Any]
    says: str


def suspend(manifest: Manifest) -> Change:
    """Have an object's work stop, a training with a checkpoint.

    Raises:
        BadUsage: it cannot be suspended, or nothing of it would ever run.
    """
    _refuse_unsuspendable(manifest)
    name = label(manifest)
    if (manifest.get("spec") or {}).get("suspend"):
        return Change({}, f"{name} unchanged: it is suspended already")
    if kstatus.compute(manifest) is Status.CURRENT:
        raise BadUsage("NothingToSuspend", f"{name} is Ready: nothing of it runs.")
    running = [part.title for part in parts.of(manifest) if part.state in (State.RUNNING, State.VALIDATING)]
    saves = f": a checkpoint is saved of {', '.join(running)}" if running and manifest["kind"] == "TrainingRun" else ""
    return Change({"suspend": True}, f"{name} suspended{saves}")


def resume(manifest: Manifest) -> Change:
    """Let a suspended object go on.

    Raises:
        BadUsage: it is of a kind that cannot be suspended.
    """
    _refuse_unsuspendable(manifest)
    name = label(manifest)
    if not (manifest.get("spec") or {}).get("suspend"):
        return Change({}, f"{name} unchanged: it is not suspended")
    held = [part for part in parts.of(manifest) if part.state == State.SUSPENDED and part.unit == "epoch" and part.done]
    epochs = [f"{part.title} from epoch {part.done}" for part in held]
    return Change({"suspend": False}, f"{name} resumed{': ' + ', '.join(epochs) if epochs else ''}")


def rerun(manifest: Manifest, value: str | None = None, now: datetime | None = None) -> Change:
    """Have what failed tried again; a Dataset's source read again; Plans whose plug-in changed planned anew, and runs trained anew.

    Args:
        manifest: the object.
        value: of `spec.rerun`; None: the time, as the actions for GitOps write it.
        now: the time.

    Raises:
        BadUsage: nothing would be done, or it is another object's to do.
    """
    name, spec, status = label(manifest), manifest.get("spec") or {}, manifest.get("status") or {}
    _refuse_deleted(manifest)
    _refuse_made(manifest, "KeptByOwner", "rerun")
    value = value or (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    if value == spec.get("rerun"):
        raise BadUsage("SameValue", f"{name}: spec.rerun is {value!r} already; a new value is what asks for it.")
    if spec.get("suspend"):
        raise BadUsage("Suspended", f"{name} is suspended: nothing of it would run.", hint="Resume it first.")
    failed = [part for part in parts.of(manifest) if part.state in (State.FAILED, State.BACKING_OFF)]
    stalled = kstatus.compute(manifest) is Status.FAILED
    if manifest["kind"] == "Dataset":
        says = "its source is read again"
    elif failed:
        says = f"{', '.join(part.title for part in failed)}: tried again"
    elif stalled:
        says = "it is tried again"
    elif status.get("changedInput"):
        says = "its folds are trained anew, on what has changed"
    elif made_with := _plugins_of_plans(manifest):
        says = f"planned anew if {made_with} holds something else now than it was planned with; else nothing changes"
    else:
        stands = kstatus.reason(manifest)[0] or "new"
        raise BadUsage(
            "NothingToRerun",
            f"{name} is {stands}: nothing of it has failed, and nothing has changed, so a new spec.rerun would do nothing.",
            hint=f"To train the same once more, apply it under another name. What it waits for, `why {short(manifest)}` says.",
        )
    return Change({"rerun": value}, f"{name} rerun ({value}): {says}")


def _plugins_of_plans(manifest: Manifest) -> str:
    """The ConfigMaps that Plans were planned with; "" for none, and for a transfer, which is not planned."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] != "Plans" or spec.get("transferFrom"):
        return ""
    mounted = {each.get("configMapName") for each in spec.get("plugins") or []}
    names = [each["name"] for each in (manifest.get("status") or {}).get("plugins") or [] if each["name"] in mounted]
    return f"the ConfigMap {' or '.join(names)}" if names else ""


def _refuse_unsuspendable(manifest: Manifest) -> None:
    name = label(manifest)
    if manifest["kind"] not in SUSPENDABLE:
        text = f"{name} cannot be suspended: only a {', a '.join(SUSPENDABLE[:-1])} or a {SUSPENDABLE[-1]} can."
        raise BadUsage("NotSuspendable", text)
    _refuse_deleted(manifest)
    _refuse_made(manifest, "NotSuspendable", "suspend, or resume,")


def _refuse_deleted(manifest: Manifest) -> None:
    if manifest["metadata"].get("deletionTimestamp"):
        raise BadUsage("BeingDeleted", f"{label(manifest)} is being deleted.")


def _refuse_made(manifest: Manifest, reason: str, verb: str) -> None:
    """A Plans that a PlanTransfer has made is kept as that one says."""
    if manifest["kind"] == "Plans" and (owner := ownership.controlling_resource(manifest)):
        raise BadUsage(reason, f"{label(manifest)} is kept by {owner[0]} {owner[1]}: {verb} that.")
