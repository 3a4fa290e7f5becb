"""Makes an Outcome so: apply, create, delete, one status write, events, and what goes once the status is stored.

Each step may have happened already, by us before a crash or by another replica; that is no error.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ..api.resources import KINDS
from ..manifests import names, ownership
from ..reconcile.outcome import Delete, Outcome
from ..reconcile.view import Key, Manifest
from .events import EventRecorder
from .object_client import AlreadyExists, ObjectClient, Outdated, Rejected, key_of

log = logging.getLogger(__name__)


class ChildRefused(Exception):
    """A child is not accepted. Those after it were not tried: they may need it, and would hardly fare better."""

    def __init__(self, child: Manifest, cause: Rejected) -> None:
        super().__init__(f"{child['kind']} {child['metadata']['name']} is refused: {cause.message}")
        self.child, self.why, self.reason = child, cause.message, cause.reason


class Done(NamedTuple):
    """What became of an Outcome."""

    children_changed: bool
    stored: bool
    """The status is as it was wanted."""


async def carry_out(client: ObjectClient, recorder: EventRecorder, about: Manifest, outcome: Outcome) -> Done:
    """Make it so.

    Args:
        about: the object that was reconciled, as it was known then.

    Raises:
        ChildRefused: a child cannot be made; nothing after it was done.
        Outdated: what was decided is not to be written.
    """
    if outcome.finalizers is not None:
        await client.write_finalizers(about, outcome.finalizers)
        await recorder.record(about, outcome.events)
        return Done(children_changed=False, stored=False)
    changed = False
    for make, children in ((_apply, outcome.apply), (_create, outcome.create), (_create_missing, outcome.create_missing)):
        for child in children:
            try:
                changed |= await make(client, about, child)
            except Rejected as cause:
                raise ChildRefused(child, cause) from cause
    changed |= await _delete(client, about, outcome.delete)
    if outcome.delete_self:
        await client.delete(key_of(about), about["metadata"]["uid"])
        stored = False
    else:
        stored = await client.write_status(about, without_nulls(outcome.status))
    await recorder.record(about, outcome.events)
    if stored:
        changed |= await _delete(client, about, outcome.delete_once_stored)
    return Done(children_changed=changed, stored=stored)


async def _delete(client: ObjectClient, about: Manifest, deletions: list[Delete]) -> bool:
    changed, namespace = False, about["metadata"]["namespace"]
    for delete in deletions:
        changed |= await client.delete(Key(delete.kind, namespace, delete.name), delete.uid)
    return changed


async def _apply(client: ObjectClient, about: Manifest, child: Manifest) -> bool:
    known = client.known(key_of(child))
    # One of our own kinds may bear the same name and belong to a person: without force it is not taken.
    force = child["kind"] not in KINDS or (known is not None and _is_child_of(about, known))
    return await client.apply(child, force=force)


async def _create(client: ObjectClient, about: Manifest, child: Manifest) -> bool:
    key = key_of(child)
    known = client.known(key)
    if known is not None and _is_child_of(about, known) and _is_same_attempt(child, known):
        return False
    try:
        await client.create(child)
    except AlreadyExists as error:
        found = await client.get(key)
        if found is None:
            raise Outdated(f"{key} was deleted a moment ago") from error
        if not (_is_child_of(about, found) and _is_same_attempt(child, found)):
            message = f"{key.kind} {key.name} is there already and is not of this {about['kind']}. Delete or rename it."
            raise Rejected("NameTaken", message) from error
        client.learn(found)
    else:
        log.info("created %s %s", key.kind, key.name, extra={"object": key_of(about)})
    return True


async def _create_missing(client: ObjectClient, about: Manifest, child: Manifest) -> bool:
    key = key_of(child)
    try:
        await client.create(child)
    except AlreadyExists:
        return False
    log.warning("%s %s had been deleted, and is made again", key.kind, key.name, extra={"object": key_of(about)})
    return True


def without_nulls(value: Any) -> Any:
    """JSON data without the fields that are null, which an API server does not keep."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _is_child_of(about: Manifest, child: Manifest) -> bool:
    return ownership.is_controlled_by(child, about)


def _is_same_attempt(child: Manifest, found: Manifest) -> bool:
    one, other = (manifest["metadata"].get("labels") or {} for manifest in (child, found))
    return bool(one.get(names.ATTEMPT) == other.get(names.ATTEMPT))
