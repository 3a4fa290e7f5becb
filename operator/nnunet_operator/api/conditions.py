"""Conditions as kstatus reads them: `Ready`, `Reconciling`, `Stalled`, and each kind's own.

`Reconciling`, `Stalled` and `FieldsIgnored` are abnormal-true: they are there, and True, only while they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

from nnunet_trainer.contract.json_text.untrusted_json import printable
from pydantic import Field

from .base import StatusModel, Time

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"
FIELDS_IGNORED = "FieldsIgnored"

VERIFIED = "Verified"
FINGERPRINTED = "Fingerprinted"
PLANNED = "Planned"
PREPROCESSED = "Preprocessed"
COMPATIBLE = "Compatible"
TRAINED = "Trained"

MAX_MESSAGE = 32_768


class Condition(StatusModel):
    """One condition of an object, in the form of `metav1.Condition`."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: Annotated[str, Field(max_length=64, description="True, False or Unknown.")]
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] = ""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    last_transition_time: Time


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of a type, or None."""
    return next((c for c in conditions if c.type == kind), None)


def condition_of(manifest: Mapping[str, Any], kind: str, status: str | None = None) -> dict[str, Any]:
    """The condition of a type of any Kubernetes object, as plain data; empty when there is none with this status (None: any)."""
    conditions: Iterable[dict[str, Any]] = (manifest.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind and status in (None, c.get("status"))), {})


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of a type is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def set_condition(
    conditions: Iterable[Condition],
    kind: str,
    status: str | bool,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    generation: int | None = None,
) -> list[Condition]:
    """A new list in which the condition of a type is as given. `lastTransitionTime` moves only when `status` changes.

    A message may hold what others wrote, an image's name or a kubelet's words: what is not for a terminal is written as `\\x1b`.
    """
    conditions, message = list(conditions), printable(message)
    value = ("True" if status else "False") if isinstance(status, bool) else status
    old = find(conditions, kind)
    since = old.last_transition_time if old is not None and old.status == value else now
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    new = Condition(
        type=kind, status=value, reason=reason, message=message, observed_generation=generation, last_transition_time=since
    )
    if old is None:
        return [*conditions, new]
    return [new if c.type == kind else c for c in conditions]


def drop_condition(conditions: Iterable[Condition], *kinds: str) -> list[Condition]:
    """A new list without the conditions of these types."""
    return [c for c in conditions if c.type not in kinds]


def ready(conditions: Iterable[Condition], reason: str, message: str, *, now: datetime, generation: int) -> list[Condition]:
    """Done: Ready is True, nothing is in progress or stalled (kstatus: Current)."""
    kept = drop_condition(conditions, RECONCILING, STALLED)
    return set_condition(kept, READY, True, reason, message, now=now, generation=generation)


def reconciling(
    conditions: Iterable[Condition], reason: str, message: str, *, short: str | None = None, now: datetime, generation: int
) -> list[Condition]:
    """Going on or waiting: Ready is False, Reconciling is True (kstatus: InProgress); `short` is what the latter says."""
    kept = drop_condition(conditions, STALLED)
    kept = set_condition(kept, READY, False, reason, message, now=now, generation=generation)
    return set_condition(kept, RECONCILING, True, reason, message if short is None else short, now=now, generation=generation)


def stalled(
    conditions: Iterable[Condition], reason: str, message: str, *, short: str | None = None, now: datetime, generation: int
) -> list[Condition]:
    """It will not go on by itself: Ready is False, Stalled is True (kstatus: Failed); `short` is what the latter says."""
    kept = drop_condition(conditions, RECONCILING)
    kept = set_condition(kept, READY, False, reason, message, now=now, generation=generation)
    return set_condition(kept, STALLED, True, reason, message if short is None else short, now=now, generation=generation)
