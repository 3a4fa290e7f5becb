"""The last state of deleted pods, kept until their Job goes too.

A pod's DELETED event can come before its Job says Failed, and the pod's exit code, report and conditions are the only words about
the reason.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict

from ...manifests import ownership
from ...reconcile.view import Manifest

MOST_KEPT = 2000
"""Deleted pods at one time, about 3 kB each; the oldest go first."""

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


class DeletedPods:
    """Deleted pods by the uid of the Job that controls them.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._pods: OrderedDict[str, Manifest] = OrderedDict()  # by uid, newest last
        self._of: dict[str, list[str]] = defaultdict(list)  # Job's uid → pods' uids

    def __len__(self) -> int:
        return len(self._pods)

    def keep(self, pod: Manifest) -> None:
        """Keep what is read of a pod once it has ended: who it was, where it ran and how it stood."""
        meta, job = pod["metadata"], ownership.controlling_job(pod)
        if job is None or meta["uid"] in self._pods:
            return
        self._pods[meta["uid"]] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {field: meta[field] for field in METADATA if field in meta},
            "spec": {field: value for field, value in (pod.get("spec") or {}).items() if field == "nodeName"},
            "status": pod.get("status") or {},
        }
        self._of[job[1]].append(meta["uid"])
        while len(self._pods) > self._most:
            _, oldest = self._pods.popitem(last=False)
            self._unlink(oldest)

    def of(self, job: str) -> list[Manifest]:
        """The deleted pods of the Job with this uid, in the order in which they went."""
        return [self._pods[uid] for uid in self._of.get(job, ())]

    def forget(self, job: str) -> None:
        """The Job with this uid is gone: nobody will ask."""
        for uid in self._of.pop(job, ()):
            del self._pods[uid]

    def _unlink(self, pod: Manifest) -> None:
        job = ownership.controlling_job(pod)
        assert job is not None  # only such pods are kept
        self._of[job[1]].remove(pod["metadata"]["uid"])
        if not self._of[job[1]]:
            del self._of[job[1]]
