"""The last state of deleted Jobs and pods, kept until their owner (of a pod, its Job) goes too.

A pod's DELETED event can come before its Job says Failed, and the pod's exit code, report and conditions are the only words about
the reason. A Job can be gone before anything of it stood in its owner's status, and only what was seen tells it from one that was
never made.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ...manifests import ownership
from ...reconcile.view import Manifest
from .trim import trimmed

MOST_KEPT = 2000
"""Of each kind at one time, about 3 kB each; of a namespace the oldest go first."""

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
        most: how many are kept. What is too much is taken from the namespace that has most: nobody loses by what others delete.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._of: dict[str, dict[str, Manifest]] = defaultdict(dict)  # controller's uid → uid → child
        self._in: dict[str, dict[str, str]] = defaultdict(dict)  # namespace → uid → controller's uid, newest last

    def __len__(self) -> int:
        return sum(map(len, self._in.values()))

    def keep(self, child: Manifest) -> None:
        """Keep what is read of a Job or a pod that is gone: who it was, and how it stood. Of what nothing controls, nothing."""
        uid = child["metadata"]["uid"]
        controller = _controller(child)
        if controller is None or uid in self._in.get(_namespace(child), ()):
            return
        self._of[controller][uid] = {
            "apiVersion": child.get("apiVersion"),
            "kind": child["kind"],
            "metadata": {field: child["metadata"][field] for field in METADATA if field in child["metadata"]},
            "spec": _spec(child),
            "status": child.get("status") or {},
        }
        self._in[_namespace(child)][uid] = controller
        while len(self) > self._most:
            fullest = max(self._in.values(), key=len)
            oldest = next(iter(fullest))
            self._remove(self._of[fullest[oldest]][oldest], fullest[oldest])

    def of(self, controller: str) -> list[Manifest]:
        """The deleted children of the object with this uid, in the order in which they went."""
        return list(self._of.get(controller, {}).values())

    def forget(self, controller: str) -> None:
        """The object with this uid is gone: nobody will ask."""
        for child in self.of(controller):
            self._remove(child, controller)

    def _remove(self, child: Manifest, controller: str) -> None:
        namespace, uid = _namespace(child), child["metadata"]["uid"]
        for held, key in ((self._of, controller), (self._in, namespace)):
            del held[key][uid]
            if not held[key]:
                del held[key]


def _namespace(child: Manifest) -> str:
    return str(child["metadata"].get("namespace"))


def _controller(child: Manifest) -> str | None:
    reference = ownership.controller_of(child)
    return str(reference.get("uid")) if reference is not None else None


def _spec(child: Manifest) -> dict[str, Any]:
    if child["kind"] == "Pod":
        return {field: value for field, value in (child.get("spec") or {}).items() if field == "nodeName"}
    spec: dict[str, Any] = trimmed(child).get("spec") or {}  # it tells which work order it had
    return spec
