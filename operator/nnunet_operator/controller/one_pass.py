"""One pass over one object: its View, what the reconciler says, and that carried out."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..reconcile import reconcile
from ..reconcile.policies import retention
from ..reconcile.status.child_refused import refused
from ..reconcile.view import Heard, Key, Manifest, Settings
from ..reconcile.view_builder import Objects, build_view, is_deleted
from .carry_out import ChildRefused, carry_out
from .events import EventRecorder
from .mounted_plugins import MountedPlugins
from .object_client import ObjectClient

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What a pass has come to."""

    children_changed: bool = False
    look_again: timedelta | None = None
    refusal: ChildRefused | None = None  # stands in the object's conditions; to be tried again
    settled: bool = False  # as it is stored now, nothing that its Jobs' pods still do concerns it


class Reconciliation:
    """Makes passes.

    Args:
        client: where what is decided is written.
        objects: what Views are made of.
        recorder: who posts events.
        settings: what an installation decides.
        listening_since: before, nobody asked the pods.
        workloads: what Kueue says of Jobs that wait in a queue, by the Jobs' uids.
    """

    def __init__(
        self,
        client: ObjectClient,
        objects: Objects,
        recorder: EventRecorder,
        settings: Settings,
        listening_since: datetime,
        workloads: Mapping[str, Manifest] | None = None,
    ) -> None:
        self.settings, self.listening_since, self._workloads = settings, listening_since, workloads
        self._client, self._objects, self._recorder = client, objects, recorder
        self._plugins = MountedPlugins(client)

    async def pass_over(self, key: Key, now: datetime, heard: Mapping[str, Heard]) -> Passed:
        """Look at an object and make it so; nothing where it is gone, or going.

        Args:
            key: the object.
            now: this moment.
            heard: the pods' last answers, by the pods' uids.

        Raises:
            Outdated: there is a newer version, which is to be looked at.
        """
        about = self._client.known(key)
        held = about is not None and is_deleted(about) and retention.is_held(about["metadata"].get("finalizers"))
        going = held and await self._client.is_terminating(key.namespace)
        plugins = await self._plugins.of(about) if about is not None and not held else {}
        look = functools.partial(
            build_view,
            self._objects,
            key,
            now,
            self.settings,
            heard,
            self.listening_since,
            self._workloads,
            namespace_terminating=going,
        )
        view = look(plugins=plugins)
        if about is None or view is None:
            return Passed()
        outcome = reconcile(view)
        if outcome.create and plugins and (anew := await self._plugins.of(about, within=0)) != plugins:
            view = look(plugins=anew)
            if view is None:
                return Passed()
            outcome = reconcile(view)
        log.debug("%s", outcome, extra={"object": key})
        try:
            done = await carry_out(self._client, self._recorder, about, outcome)
        except ChildRefused as refusal:
            said = refused(view, refusal.child, refusal.why, outcome)
            done = await carry_out(self._client, self._recorder, about, said)
            return Passed(children_changed=done.children_changed, look_again=said.look_again, refusal=refusal)
        settled = outcome.settled and done.stored and _is_same(about, self._client.known(key))
        return Passed(children_changed=done.children_changed, look_again=outcome.look_again, settled=settled)


def _is_same(about: Manifest, now: Manifest | None) -> bool:
    """Whether nobody has changed an object since it was looked at, but for its status."""
    return now is not None and all(now["metadata"].get(field) == about["metadata"].get(field) for field in ("uid", "generation"))
