"""Work orders to and from JSON; one that asks for what this version does not know is refused."""

from __future__ import annotations

import json
import logging
from importlib import metadata
from typing import Any

from .. import CONTRACT_VERSION
from ..faults import BadUsage
from ..json_text import additions, codec
from .orders import ORDERS, WorkOrder

log = logging.getLogger(__name__)

REQUIRES = "requires"
"""The key of what an order asks for that an earlier trainer must not skip: `{"path.of.field": "first version that knows it"}`."""


def encode(order: WorkOrder) -> str:
    """A work order as JSON, the same text for the same order, without what is at its default."""
    content = codec.to_plain(order, sparse=True) | {"step": order.step, "version": order.version}
    if required := additions.requirements(order):
        content[REQUIRES] = required
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def decode(text: str) -> WorkOrder:
    """Read a work order, which may be another version's: what is not known and not required is skipped, and logged.

    Raises:
        BadUsage: not a work order, one of another contract version, or one that requires what this trainer does not know.
    """
    hint = "Use a trainer image of the operator's own version (spec.template.image)."
    try:
        head = codec.loads(dict[str, Any], text)
    except codec.CodecError as error:
        raise BadUsage("InvalidWorkOrder", f"The work order cannot be read: {error}.") from error
    if head.get("version") != CONTRACT_VERSION:
        found, wanted = head.get("version"), CONTRACT_VERSION
        raise BadUsage(
            "ContractMismatch", f"The work order is of contract version {found}, this trainer knows {wanted}.", hint=hint
        )
    if head.get("step") not in ORDERS:
        raise BadUsage("InvalidWorkOrder", f"The work order's step is {head.get('step')!r}; known: {', '.join(ORDERS)}.", hint=hint)
    skipped: list[str] = []
    required: dict[str, str] = {}
    try:
        required = codec.from_plain(dict[str, str], head.pop(REQUIRES, {}))
        order: WorkOrder = codec.from_plain(ORDERS[head["step"]], head, skipped)
    except codec.CodecError as error:
        if unmet := additions.unmet(required, [error.path]):
            raise _too_old(unmet, required) from error
        raise BadUsage("InvalidWorkOrder", f"The work order cannot be read: {error}.", hint=hint) from error
    if unmet := additions.unmet(required, skipped):
        raise _too_old(unmet, required)
    if skipped:
        log.warning("the work order says what this trainer does not know; it is skipped: %s", ", ".join(skipped))
    return order


def _too_old(unmet: dict[str, str], required: dict[str, str]) -> BadUsage:
    needed, own = additions.newest(required.values()), metadata.version("nnunet-operator")
    return BadUsage(
        "TrainerTooOld",
        f"The work order asks for {', '.join(sorted(unmet))}, which this trainer ({own}) does not know.",
        hint=f"Use a trainer image of version {needed} or newer (spec.template.image), or leave that out of the spec.",
    )
