"""Earlier objects of the same kind and name: what they started may still run, and writes where this one will write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from ...api import reasons
from ...manifests import names, ownership
from .. import times
from ..blocker import Blocker
from ..view import Manifest, View
from . import pods as reading


def children(candidates: Iterable[Manifest], about: Manifest) -> Iterator[Manifest]:
    """Those of some Jobs and pods that an earlier object of this kind, namespace and name has made, or its Jobs have.

    Args:
        candidates: found by labels.
        about: the object that is there now.
    """
    meta = about["metadata"]
    for child in candidates:
        uid = str((child["metadata"].get("labels") or {}).get(names.OWNER_UID, ""))
        if not uid or uid == meta["uid"]:
            continue
        earlier = {**about, "metadata": {**meta, "uid": uid}}
        if child["kind"] == "Job":
            if ownership.is_controlled_by(child, earlier):
                yield child
        elif (job := ownership.controlling_job(child)) and job[0].startswith(names.job_prefix(meta["name"], uid)):
            yield child


def alive(view: View[Any]) -> list[Manifest]:
    """Pods of earlier objects that may still run; and their Jobs that may make some, until the garbage collector has taken them."""
    return [child for child in view.predecessors if _may_run(child, view.now)]


def blocker(kind: str, running: list[Manifest]) -> Blocker:
    """Why an object waits for what is alive."""
    found = [f"{child['kind']} {child['metadata']['name']}" for child in running]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    text = f"waits for {', '.join(found[:3])}{more} of an earlier {kind} of this name to end: both would write to one place"
    return Blocker(reasons.WAITING_FOR_PREDECESSOR, text)


def _may_run(child: Manifest, now: datetime) -> bool:
    if child["kind"] == "Pod":
        return reading.may_run(child, now)
    # One that is being deleted makes no pods.
    asked_to_go = times.parse(child["metadata"].get("deletionTimestamp"))
    return asked_to_go is None and reading.condition(child, "Complete", "Failed") is None
