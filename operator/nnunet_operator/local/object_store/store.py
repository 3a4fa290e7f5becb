"""Kubernetes objects as an API server keeps them: uid, generation, resourceVersion, server-side apply, graceful deletion.

What is read is the reader's own copy. Files and locks are `folder`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ...manifests import names
from .folder import ObjectFolder
from .json_copy import copied
from .object_metadata import age, applied_by, grace_seconds, moment, of_new_object, owner_uids, title
from .three_way_merge import merged

Manifest = dict[str, Any]
Admission = Callable[[Manifest, Manifest | None], Manifest]

DELETED_LATER = {"Job": "foregroundDeletion", "Pod": None}
"""Kinds whose deletion takes time: their processes get their grace first. With the finalizer that says so."""
APPLIED_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences")


class Conflict(Exception):
    """The object is there already, or is immutable."""


class Store:
    """All objects of one folder.

    Args:
        root: the folder; it is made when it is not there.

    Raises:
        BadUsage: the folder is something else's, or of another version.
    """

    def __init__(self, root: Path) -> None:
        self._folder = ObjectFolder(root)
        self.root = self._folder.root

    # Reading

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, or None."""
        found = self._folder.read(self._folder.path(kind, namespace, name))
        return copied(found) if found else None

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        """All objects of a kind, oldest first."""
        return self._those(kind, namespace, lambda _: True)

    def _those(self, kind: str, namespace: str | None, wanted: Callable[[Manifest], bool]) -> list[Manifest]:
        return sorted((copied(item) for item in self._folder.all(kind, namespace) if wanted(item)), key=age)

    def owned(self, uid: str, kind: str) -> list[Manifest]:
        """All objects of a kind that carry an owner's uid, by owner reference or by label."""
        return self._those(kind, None, lambda item: uid in owner_uids(item))

    def of_namesakes(self, kind: str, namespace: str, name: str, uid: str) -> list[Manifest]:
        """Jobs and pods that are labelled as of another object of this kind and name."""
        wanted = {names.OWNER_KIND: kind, names.OWNER_NAME: name}

        def is_namesakes(item: Manifest) -> bool:
            labels = item["metadata"].get("labels") or {}
            return wanted.items() <= labels.items() and labels.get(names.OWNER_UID) != uid

        return [item for each in ("Job", "Pod") for item in self._those(each, namespace, is_namesakes)]

    def everything(self) -> Iterator[Manifest]:
        """All objects of all kinds."""
        for kind in self._folder.kinds():
            yield from self.all(kind)

    def revision(self) -> int:
        """The number of the newest write; another number means that something has changed."""
        return self._folder.revision()

    def logs(self, manifest: Manifest) -> Path:
        """The folder of all logs of an object's work, from a pod of it or the object itself."""
        meta = manifest["metadata"]
        labels = meta.get("labels", {})
        kind, name = labels.get(names.OWNER_KIND, manifest["kind"]), labels.get(names.OWNER_NAME, meta["name"])
        return self.root / "logs" / str(meta["namespace"]) / str(kind) / str(name)

    # Writing

    def create(self, manifest: Manifest) -> Manifest:
        """Add an object; its status is the caller's where it has one.

        Raises:
            Conflict: there is one of that name.
        """
        with self._folder.locked():
            path = self._path(manifest)
            if path.exists():
                raise Conflict(f"{title(manifest)} already exists")
            new = copied(manifest)
            new["metadata"] |= of_new_object()
            new["metadata"].setdefault("namespace", "default")
            return self._folder.write(path, new)

    def apply(self, manifest: Manifest, manager: str, admit: Admission | None = None) -> tuple[Manifest, str]:
        """Server-side apply: what `manager` named before and names no longer goes, all else stays. Status is left alone.

        Args:
            manifest: what the manager wants.
            manager: who.
            admit: checks the whole object beside the stored one, and fills in defaults; it may raise.

        Returns:
            the object, and `created`, `configured` or `unchanged`.

        Raises:
            Conflict: an immutable ConfigMap would change.
        """
        wanted = {key: value for key, value in copied(manifest).items() if key != "status"}
        wanted["metadata"] = {key: value for key, value in wanted["metadata"].items() if key in APPLIED_METADATA}
        wanted["metadata"].setdefault("namespace", "default")
        with self._folder.locked():
            path = self._path(wanted)
            live = self._folder.read(path)
            applied = {"manager": manager, "operation": "Apply", "applied": copied(wanted)}
            if live is None:
                new = admit(wanted, None) if admit else wanted
                new["metadata"] |= {**of_new_object(), "managedFields": [applied]}
                return self._folder.write(path, new), "created"
            last = applied_by(live, manager)
            new = merged(live, last, wanted)
            if new == live and last == wanted:
                return copied(live), "unchanged"  # it was admitted before
            if admit:
                new = {**admit(new, live), **({"status": live["status"]} if "status" in live else {})}
            if live.get("immutable") and (new.get("data"), new.get("immutable")) != (live.get("data"), True):
                raise Conflict(f"{title(live)} is immutable")
            if new == live and last == wanted:
                return copied(live), "unchanged"
            said = "unchanged" if new == live else "configured"
            others = [entry for entry in live["metadata"].get("managedFields", []) if entry["manager"] != manager]
            new["metadata"]["managedFields"] = [*others, applied]
            return self._update(path, live, new), said

    def preview(self, manifest: Manifest, manager: str, admit: Admission) -> Manifest:
        """What `apply` would make, with nothing written; it raises what `admit` raises. What is stored so was admitted before."""
        live = self._folder.read(self._path(manifest))
        if live is None:
            return admit(manifest, None)
        new = merged(live, applied_by(live, manager), manifest)
        return new if new == live else admit(new, live)

    def edit(
        self, kind: str, namespace: str, name: str, change: Callable[[Manifest], None], uid: str | None = None
    ) -> Manifest | None:
        """Read, change and write an object in one go; None when there is none of that name and uid."""
        with self._folder.locked():
            path = self._folder.path(kind, namespace, name)
            live = self._folder.read(path)
            if live is None or (uid and live["metadata"]["uid"] != uid):
                return None
            new = copied(live)
            change(new)
            return copied(live) if new == live else self._update(path, live, new)

    def set_status(self, manifest: Manifest, status: Manifest) -> Manifest | None:
        """Write an object's whole status; nothing when it is stored so already, or the object is gone."""
        meta = manifest["metadata"]
        return self.edit(
            manifest["kind"], meta["namespace"], meta["name"], lambda new: new.update(status=copied(status)), meta["uid"]
        )

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> bool:
        """Delete an object, or ask for it where processes or finalizers stand before; False when there is none."""
        with self._folder.locked():
            path = self._folder.path(kind, namespace, name)
            live = self._folder.read(path)
            if live is None or (uid and live["metadata"]["uid"] != uid):
                return False
            meta = live["metadata"]
            if kind not in DELETED_LATER and not meta.get("finalizers"):
                self._folder.remove(path)
                return True
            new = copied(live)
            grace = grace_seconds(live) if kind == "Pod" else 0
            new["metadata"].setdefault("deletionTimestamp", moment(grace))
            if (finalizer := DELETED_LATER.get(kind)) and finalizer not in meta.get("finalizers", []):
                new["metadata"]["finalizers"] = [*meta.get("finalizers", []), finalizer]
            if kind == "Pod":
                new["metadata"].setdefault("deletionGracePeriodSeconds", grace)
            if new != live:
                self._update(path, live, new)
            return True

    def remove(self, manifest: Manifest) -> None:
        """End an object whose deletion was asked for and is done."""
        meta = manifest["metadata"]
        with self._folder.locked():
            path = self._folder.path(manifest["kind"], meta["namespace"], meta["name"])
            live = self._folder.read(path)
            if live and live["metadata"]["uid"] == meta["uid"]:
                self._folder.remove(path)

    def working(self) -> AbstractContextManager[None]:
        """Be the one process that starts and stops processes for this store; `Temporary` when another one is."""
        return self._folder.working()

    def _update(self, path: Path, live: Manifest, new: Manifest) -> Manifest:
        if any(new.get(key) != live.get(key) for key in ("spec", "data")):
            new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
        meta = new["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers") and new["kind"] not in DELETED_LATER:
            self._folder.remove(path)
            return new
        return self._folder.write(path, new)

    def _path(self, manifest: Manifest) -> Path:
        meta = manifest["metadata"]
        return self._folder.path(manifest["kind"], meta.get("namespace") or "default", meta["name"])
