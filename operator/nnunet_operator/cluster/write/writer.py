"""Makes an Outcome so: apply, create, delete, one status write, then events.

Each step may have happened already, by us before a crash or by another replica; that is no error.
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from typing import Any

from nnunet_trainer.contract.faults import Fault

from ...manifests import names
from ...reconcile.outcome import Delete, Outcome
from ...reconcile.view import Key, Manifest
from .. import metrics
from ..api.client import Api, ApiError
from ..api.kinds import KINDS, OURS, WATCHED
from ..watch.cache import Store, key_of, labels_of
from .events import Recorder

log = logging.getLogger(__name__)

REAPPLY = 600.0
"""Seconds after which a child that is not watched is applied again, in case that someone changed or deleted it."""


REFUSALS = (400, 403, 422)
"""What quotas, admission, schemas and missing rights answer."""


class Refused(Exception):
    """The server does not take a child. Those after it were not tried: they may need it, and would hardly fare better."""

    def __init__(self, child: Manifest, why: str, reason: str) -> None:
        super().__init__(f"{child['kind']} {child['metadata']['name']} is refused: {why}")
        self.child, self.why, self.reason = child, why, reason


class NotOurs(Fault):
    """An object of the name that a child should have belongs to someone else."""


class Outdated(Exception):
    """The object changed while it was reconciled. The newer version comes by the watch; then it is reconciled again."""


class Writer:
    """Carries out Outcomes. What it wrote goes into the store at once, so that the next View shows it."""

    def __init__(self, api: Api, store: Store, recorder: Recorder) -> None:
        self._api, self._store, self._recorder = api, store, recorder
        self._applied: OrderedDict[Key, tuple[str, float]] = OrderedDict()
        self._written: OrderedDict[str, tuple[Any, Any]] = OrderedDict()  # uid → (wanted, what the server made of it)

    async def carry_out(self, about: Manifest, outcome: Outcome) -> bool:
        """Make it so; whether children were made or deleted.

        Args:
            about: the object that was reconciled, as it stands in the store.

        Raises:
            Outdated: what was decided is not to be written.
            Refused: a child cannot be made; nothing after it was done.
            ApiError, CONNECTION_ERRORS: to be tried again.
        """
        changed = False
        for make, children in ((self._apply, outcome.apply), (self._create, outcome.create)):
            for child in children:
                try:
                    changed |= await make(about, child)
                except NotOurs as error:
                    raise Refused(child, str(error), error.reason) from error
                except ApiError as error:
                    if error.code in REFUSALS:
                        raise Refused(child, error.message, error.reason) from error
                    raise
        for delete in outcome.delete:
            changed |= await self._delete(about["metadata"]["namespace"], delete)
        if outcome.delete_self:
            meta = about["metadata"]
            await self._delete(meta["namespace"], Delete(about["kind"], meta["name"], meta["uid"]))
        else:
            await self._write_status(about, outcome.status)
        await self._recorder.record(about, outcome.events)
        return changed

    async def _apply(self, about: Manifest, child: Manifest) -> bool:
        key = key_of(child)
        known = self._store.get(*key) if key.kind in WATCHED else None
        text, now = json.dumps(child, sort_keys=True), time.monotonic()
        before, at = self._applied.get(key, ("", float("-inf")))
        if before == text and now - at < REAPPLY and (known is not None or key.kind not in WATCHED):
            return False
        # One of our own kinds may bear the same name and belong to a person: without force the server refuses to take it.
        force = key.kind not in OURS or (known is not None and _ours(about, known))
        answer = await self._api.apply(child, force=force)
        if key.kind in WATCHED:
            self._store.put(answer)
        self._applied[key] = text, now
        self._applied.move_to_end(key)
        while len(self._applied) > 20_000:
            self._applied.popitem(last=False)
        return True

    async def _create(self, about: Manifest, child: Manifest) -> bool:
        meta = child["metadata"]
        if (known := self._store.get(*key_of(child))) is not None and _ours(about, known):
            return False
        try:
            answer = await self._api.create(child)
        except ApiError as error:
            if error.code != 409:
                raise
            found = await self._api.get(KINDS[child["kind"]], meta["namespace"], meta["name"])
            if found is None:  # deleted a moment ago
                raise
            if not _ours(about, found):
                message = f"{child['kind']} {meta['name']} is there already and is not of this {about['kind']}."
                raise NotOurs("NameTaken", message, hint="Delete or rename it.") from error
            answer = found
        else:
            log.info("created %s %s", child["kind"], meta["name"], extra={"object": _name(about)})
        if child["kind"] in WATCHED:
            self._store.put(answer)
        return True

    async def _delete(self, namespace: str, delete: Delete) -> bool:
        self._applied.pop(Key(delete.kind, namespace, delete.name), None)
        try:
            answer = await self._api.delete(KINDS[delete.kind], namespace, delete.name, delete.uid)
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another object of that name
                raise
            answer = {"kind": "Status"}
        known = self._store.get(delete.kind, namespace, delete.name)
        if known is None or known["metadata"].get("uid") != delete.uid:
            return False
        if answer.get("kind") == "Status":
            self._store.remember_deleted(known)
            log.info("deleted %s %s", delete.kind, delete.name)
        else:  # it waits for a finalizer
            self._store.put(answer)
        return True

    async def _write_status(self, about: Manifest, wanted: Manifest) -> None:
        meta, stored = about["metadata"], about.get("status") or {}
        wanted = without_nulls(wanted)
        # What the server drops or fills in must not make us write it again and again.
        if wanted == stored or self._written.get(meta["uid"]) == (wanted, stored):
            return
        # Merged rather than applied: a field that an older CRD does not know is dropped, where an apply would fail as a whole.
        # The resourceVersion keeps a decision about an older version, or about a namesake that is gone, from being written.
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": changes(stored, wanted)}
        try:
            answer = await self._api.merge(KINDS[about["kind"]], meta["namespace"], meta["name"], patch, sub="status")
        except ApiError as error:
            if error.code == 404:
                return  # deleted; the watch tells
            if error.code == 409:
                raise Outdated(str(error)) from error
            raise
        metrics.status_writes.labels(about["kind"]).inc()
        self._written[meta["uid"]] = wanted, answer.get("status") or {}
        self._written.move_to_end(meta["uid"])
        while len(self._written) > 20_000:
            self._written.popitem(last=False)
        self._store.put(answer)


def without_nulls(value: Any) -> Any:
    """JSON data without the fields that are null, which the API server does not keep."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def changes(stored: Manifest, wanted: Manifest) -> Manifest:
    """The merge patch (RFC 7386) that makes `stored` into `wanted`, neither of which holds a null."""
    patch: Manifest = {key: None for key in stored if key not in wanted}
    for key, value in wanted.items():
        old = stored.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if below := changes(old, value):
                patch[key] = below
        elif key not in stored or value != old:
            patch[key] = value
    return patch


def _ours(about: Manifest, child: Manifest) -> bool:
    return bool(labels_of(child).get(names.OWNER_UID) == about["metadata"]["uid"])


def _name(about: Manifest) -> str:
    return f"{about['kind']} {about['metadata']['namespace']}/{about['metadata']['name']}"
