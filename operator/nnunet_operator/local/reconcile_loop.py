"""The reconcile loop of one machine: what the cluster's shell does with watches and a queue, in one thread over the store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from nnunet_trainer.contract.faults import Fault

from ..api.resources import API_VERSION, KINDS
from ..reconcile import reconcile
from ..reconcile.outcome import Event, Outcome
from ..reconcile.status.child_refused import refused
from ..reconcile.view import Key, Settings
from ..reconcile.view_builder import build_view
from .machine.node import Node
from .machine.progress_listener import Listener
from .object_store.store import Conflict, Store, now
from .uri_map import Places

Manifest = dict[str, Any]

MANAGER = "nnunet-operator"
EVENTS_KEPT = 50
TRY_AGAIN = timedelta(seconds=30)
"""After a child was refused; what changes in the store is taken up at once."""


class Refused(Exception):
    """A child that would not be taken."""

    def __init__(self, child: Manifest, why: str) -> None:
        super().__init__(why)
        self.child = child


class Loop:
    """Makes what should be so, turn by turn.

    Args:
        store: the objects.
        node: the machine.
        settings: what an installation decides; here, the default storage.
        listener: who asks the pods.
        places: the store as reconcilers see it.
    """

    def __init__(self, store: Store, node: Node, settings: Settings, listener: Listener, places: Places) -> None:
        self.store, self.node, self.settings, self.listener, self.places = store, node, settings, listener, places
        self._due: dict[Key, datetime] = {}
        self._seen: tuple[int, int] = (-1, -1)
        self._began = datetime.now(UTC)

    def turn(self) -> bool:
        """One turn: the machine, then every object that may have something to do. False when nothing had."""
        at = datetime.now(UTC)
        self.node.tick(at)
        self.listener.listen_to(
            {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in self.node.living() if "podIP" in pod["status"]}
        )
        seen = (self.store.revision(), self.listener.news)
        due = any(moment <= at for moment in self._due.values())
        if seen == self._seen and not due:
            return False
        # All objects at once: there are few, and a reconciler that finds nothing to do writes nothing.
        for kind in KINDS:
            for manifest in self.store.all(kind):
                meta = manifest["metadata"]
                self._reconcile(Key(kind, meta["namespace"], meta["name"]), at)
        self._seen = seen
        return True

    def run(self, until: Callable[[], bool], wait: Callable[[], None]) -> None:
        """Turn until `until` says so; `wait` is called between turns that found nothing to do."""
        while True:
            busy = self.turn()
            if not busy and until():
                return
            if not busy:
                wait()

    def _reconcile(self, key: Key, at: datetime) -> None:
        self._due.pop(key, None)
        view = build_view(self.places, key, at, self.settings, self.listener.heard, self._began)
        if view is None:
            return
        outcome = reconcile(view)
        try:
            self._make_children(outcome)
        except Refused as refusal:
            outcome = refused(view, refusal.child, str(refusal), outcome)
            outcome.look_again_in(TRY_AGAIN)
        self._make_so(key, outcome)
        if outcome.look_again is not None:
            self._due[key] = at + outcome.look_again

    def _make_children(self, outcome: Outcome) -> None:
        for child in outcome.apply:
            try:
                self.store.apply(child, MANAGER, _admit if child["kind"] in KINDS else None)
            except Conflict as error:
                raise Refused(child, str(error)) from error
            except Fault as fault:
                raise Refused(child, "; ".join(fault.findings or (fault.message,))) from fault
        for child in outcome.create:
            try:
                self.store.create(child)
            except Conflict:
                continue  # it is there already

    def _make_so(self, key: Key, outcome: Outcome) -> None:
        """What is to go, then one status write, then the events."""
        for old in outcome.delete:
            self.store.delete(old.kind, key.namespace, old.name, old.uid)
        manifest = self.store.get(*key)
        if manifest is None:
            return
        self.store.set_status(manifest, outcome.status)
        for event in outcome.events:
            self._note(manifest, event)
        if outcome.delete_self:
            self.store.delete(*key, manifest["metadata"]["uid"])

    def _note(self, about: Manifest, event: Event) -> None:
        """Keep an event; the same again only raises its count."""
        meta, at = about["metadata"], now()
        mark = hashlib.sha256("\0".join((meta["uid"], event.type, event.reason, event.message)).encode()).hexdigest()[:16]
        name = f"{meta['name']}.{mark}"

        def again(old: Manifest) -> None:
            old.update(count=old["count"] + 1, lastTimestamp=at)

        if self.store.edit("Event", meta["namespace"], name, again):
            return
        reference = {
            "apiVersion": API_VERSION,
            "kind": about["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        }
        said = {"type": event.type, "reason": event.reason, "message": event.message, "count": 1}
        owner = {"apiVersion": API_VERSION, "kind": about["kind"], "name": meta["name"], "uid": meta["uid"]}
        head = {"name": name, "namespace": meta["namespace"], "ownerReferences": [owner]}
        stamps = {"firstTimestamp": at, "lastTimestamp": at, "source": {"component": MANAGER}}
        self.store.create({"apiVersion": "v1", "kind": "Event", "metadata": head, "involvedObject": reference, **said, **stamps})
        kept = sorted(self.store.owned(meta["uid"], "Event"), key=lambda item: item["lastTimestamp"])
        for oldest in kept[:-EVENTS_KEPT]:
            self.store.delete("Event", meta["namespace"], oldest["metadata"]["name"])


def _admit(manifest: Manifest, old: Manifest | None) -> Manifest:
    from ..api.validation import admit  # slow to import, and rarely needed

    return admit(manifest, old)
