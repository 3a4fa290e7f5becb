"""The last state of deleted Jobs and pods, kept until their owner (of a pod, its Job) goes too.

A pod's DELETED event can come before its Job says Failed, and the pod's exit code, report and conditions are the only words about
the reason. A Job can be gone before anything of it stood in its owner's status, and only what was seen tells it from one that was
never made.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

from ...manifests import ownership
from ...reconcile.view import Manifest
from .trim import trimmed

MOST_KEPT = 2000
"""Of each kind at one time, about 3 kB each; the oldest go first."""

METADATA = (
    "name",
    "namespace",
    "uid",
    "labels",
    "annotations",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


class DeletedChildren:
    """Deleted objects by the uid of what controls them.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._children: OrderedDict[str, Manifest] = OrderedDict()  # by uid, newest last
        self._of: dict[str, list[str]] = defaultdict(list)  # controller's uid → children's uids

    def __len__(self) -> int:
        return len(self._children)

    def keep(self, child: Manifest) -> None:
        """Keep what is read of a Job or a pod that is gone: who it was, and how it stood. Of what nothing controls, nothing."""
        uid = child["metadata"]["uid"]
        controller = _controller(child)
        if controller is None or uid in self._children:
            return
        self._children[uid] = {
            "apiVersion": child.get("apiVersion"),
            "kind": child["kind"],
            "metadata": {field: child["metadata"][field] for field in METADATA if field in child["metadata"]},
            "spec": _spec(child),
            "status": child.get("status") or {},
        }
        self._of[controller].append(uid)
        while len(self._children) > self._most:
            _, oldest = self._children.popitem(last=False)
            self._unlink(oldest)

    def of(self, controller: str) -> list[Manifest]:
        """The deleted children of the object with this uid, in the order in which they went."""
        return [self._children[uid] for uid in self._of.get(controller, ())]

    def forget(self, controller: str) -> None:
        """The object with this uid is gone: nobody will ask."""
        for uid in self._of.pop(controller, ()):
            del self._children[uid]

    def _unlink(self, child: Manifest) -> None:
        controller = _controller(child)
        assert controller is not None  # only such children are kept
        self._of[controller].remove(child["metadata"]["uid"])
        if not self._of[controller]:
            del self._of[controller]


def _controller(child: Manifest) -> str | None:
    reference = ownership.controller_of(child)
    return str(reference.get("uid")) if reference is not None else None


def _spec(child: Manifest) -> dict[str, Any]:
    if child["kind"] == "Pod":
        return {field: value for field, value in (child.get("spec") or {}).items() if field == "nodeName"}
    spec: dict[str, Any] = trimmed(child).get("spec") or {}  # it tells which work order it had
    return spec
