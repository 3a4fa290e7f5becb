"""What the operator knows of the cluster: the newest version of each object it watches, in memory.

It is the `Objects` that Views are built from. Watches, the start gate, re-lists and our own writes put into it; whichever
comes late loses against the newer resourceVersion.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...controller.object_client import key_of
from ...manifests import names, ownership
from ...reconcile.kinds.invalid import parse
from ...reconcile.references.dependencies import needed_by, owner_of, wanted_by
from ...reconcile.view import Key, Manifest
from ..api.kinds import OURS
from .deleted_pods import DeletedPods

CHILDREN = ("Job", "Pod")


def version_of(manifest: Manifest) -> int:
    """The resourceVersion as a number: it grows with each write to the cluster."""
    try:
        return int(manifest["metadata"].get("resourceVersion") or 0)
    except ValueError:
        return 0


def labels_of(manifest: Manifest) -> dict[str, str]:
    """The labels, an empty dictionary when there are none."""
    labels: dict[str, str] = manifest["metadata"].get("labels") or {}
    return labels


class ObjectCache:
    """Objects by key, by owner, and who refers to whom."""

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}
        self._owned: dict[tuple[str, str], set[Key]] = defaultdict(set)  # (owner's uid, kind) → children
        self._uids: dict[Key, set[str]] = defaultdict(set)  # owner, by labels → its uids of which there are children
        self._needs: dict[Key, tuple[Key, ...]] = {}
        self._needed_by: dict[Key, set[Key]] = defaultdict(set)
        self._deleted: dict[str, None] = {}  # uids, newest last: what we deleted must not come back by a late event
        self._deleted_pods = DeletedPods()

    def __len__(self) -> int:
        return len(self._objects)

    # -- reading: the Objects of `reconcile.view_builder` --

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The newest known version, or None."""
        return self._objects.get(Key(kind, namespace, name))

    def owned(self, uid: str, kind: str) -> list[Manifest]:
        """The children of a kind of the object with this uid, by name."""
        return [self._objects[key] for key in sorted(self._owned.get((uid, kind), ()))]

    def of_namesakes(self, kind: str, namespace: str, name: str, uid: str) -> list[Manifest]:
        """Jobs and pods that are labelled as of another object of this kind and name."""
        others = self._uids.get(Key(kind, namespace, name), set()) - {uid}
        found = [child for other in sorted(others) for child_kind in CHILDREN for child in self.owned(other, child_kind)]
        return [child for child in found if owner_of(child) == (kind, namespace, name)]

    def dependents(self, key: Key) -> list[Manifest]:
        """The objects of our kinds that refer to an object."""
        return [self._objects[other] for other in sorted(self._needed_by.get(key, ())) if other in self._objects]

    def deleted_pods(self, job: str) -> list[Manifest]:
        """The last state of the deleted pods of the Job with this uid, while that Job is there."""
        return self._deleted_pods.of(job)

    def keys(self, *kinds: str) -> Iterator[Key]:
        """The keys of all objects of these kinds."""
        return (key for key in list(self._objects) if key.kind in kinds)

    def all(self, kind: str) -> Iterator[Manifest]:
        """All objects of a kind."""
        return (manifest for key, manifest in list(self._objects.items()) if key.kind == kind)

    def affected_by(self, manifest: Manifest) -> set[Key]:
        """Whom a change of this object concerns: itself, its owner, who refers to it or wants its name for a child."""
        key = key_of(manifest)
        concerned = set(self._needed_by.get(key, ()))
        if key.kind in OURS:
            concerned.add(key)
        if owner := owner_of(manifest):
            concerned.add(owner)
        return {k for k in concerned if k in self._objects}

    # -- writing --

    def put(self, manifest: Manifest) -> bool:
        """Keep an object unless what is known is as new; whether it was news."""
        key = key_of(manifest)
        known = self._objects.get(key)
        if manifest["metadata"].get("uid") in self._deleted:
            return False
        if known is not None and version_of(manifest) <= version_of(known):
            return False
        if known is not None:
            self._unlink(key, known)
        meta = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
        manifest = {**manifest, "metadata": meta}
        self._objects[key] = manifest
        if uid := labels_of(manifest).get(names.OWNER_UID):
            self._owned[uid, key.kind].add(key)
            if owner := owner_of(manifest):
                self._uids[owner].add(uid)
        if key.kind in OURS:
            resource = parse(manifest)
            self._needs[key] = (*needed_by(resource), *wanted_by(resource))
            for other in self._needs[key]:
                self._needed_by[other].add(key)
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Forget an object (this very one: a namesake with another uid stays); whether it was known."""
        key = key_of(manifest)
        known = self._objects.get(key)
        if known is None or known["metadata"].get("uid") != manifest["metadata"].get("uid"):
            return False
        self._unlink(key, known)
        del self._objects[key]
        if key.kind == "Job":
            self._deleted_pods.forget(known["metadata"]["uid"])
        return True

    def remember_deleted(self, manifest: Manifest) -> bool:
        """Forget an object that is surely gone, and do not believe late events that it lives. Of a pod its last state is kept."""
        if manifest["kind"] == "Pod" and self._has_job(manifest):
            self._deleted_pods.keep(manifest)
        self._deleted[manifest["metadata"]["uid"]] = None
        if len(self._deleted) > 10_000:
            del self._deleted[next(iter(self._deleted))]
        return self.remove(manifest)

    def _has_job(self, pod: Manifest) -> bool:
        uid = labels_of(pod).get(names.OWNER_UID, "")
        job = ownership.controlling_job(pod)
        return job is not None and job[1] in {found["metadata"]["uid"] for found in self.owned(uid, "Job")}

    def _unlink(self, key: Key, manifest: Manifest) -> None:
        if uid := labels_of(manifest).get(names.OWNER_UID):
            self._owned[uid, key.kind].discard(key)
            if not self._owned[uid, key.kind]:
                del self._owned[uid, key.kind]
                if not any((uid, kind) in self._owned for kind in CHILDREN) and (owner := owner_of(manifest)):
                    self._uids[owner].discard(uid)
                    if not self._uids[owner]:
                        del self._uids[owner]
        for other in self._needs.pop(key, ()):
            self._needed_by[other].discard(key)
            if not self._needed_by[other]:
                del self._needed_by[other]
