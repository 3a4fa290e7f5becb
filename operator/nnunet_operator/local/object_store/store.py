"""An object store in a folder: Kubernetes-shaped manifests, one JSON file each, kept as an API server would keep them.

`objects/<Kind>/<namespace>/<name>.json`. Every write goes to a file beside, which then takes the name, under a lock that is held
for that one write: a reader sees whole objects, and a kill at any moment leaves the old or the new one.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, Temporary

from .three_way_merge import merged

Manifest = dict[str, Any]
Admission = Callable[[Manifest, Manifest | None], Manifest]

DELETED_LATER = {"Job": "foregroundDeletion", "Pod": None}
"""Kinds whose deletion takes time: their processes get their grace first. With the finalizer that says so."""
APPLIED_METADATA = ("name", "namespace", "labels", "annotations", "ownerReferences")
FORMAT = 1


class Conflict(Exception):
    """The object was changed, or is there already, or is another one of the same name."""


def now() -> str:
    """This moment as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All objects of one folder.

    Args:
        root: the folder; it is made when it is not there.

    Raises:
        BadUsage: the folder is something else's, or of another version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.objects = self.root / "objects"
        self._cache: dict[Path, tuple[tuple[int, int, int], Manifest]] = {}
        marker = self.root / "store.json"
        if not marker.exists():
            if self.root.exists() and any(self.root.iterdir()) and not self.objects.exists():
                raise BadUsage("NotAStore", f"{self.root} holds something else.", hint="Name another folder by --store.")
            self.objects.mkdir(parents=True, exist_ok=True)
            write_text(marker, json.dumps({"format": FORMAT}))
        found = json.loads(marker.read_text()).get("format")
        if found != FORMAT:
            raise BadUsage(
                "StoreFormat", f"{self.root} is of format {found}; this version knows {FORMAT}.", hint="Name another by --store."
            )

    # Reading

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, or None."""
        found = self._read(self._path(kind, namespace, name))
        return copy.deepcopy(found) if found else None

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        """All objects of a kind, oldest first."""
        found = [copy.deepcopy(item) for path in self._files(kind, namespace) if (item := self._read(path))]
        return sorted(found, key=_age)

    def owned(self, uid: str, kind: str) -> list[Manifest]:
        """All objects of a kind that carry an owner's uid, by owner reference or by label."""
        return [item for item in self.all(kind) if uid in owners(item)]

    def kinds(self) -> list[str]:
        """The kinds that have objects."""
        return sorted(entry.name for entry in self.objects.iterdir() if entry.is_dir())

    def everything(self) -> Iterator[Manifest]:
        """All objects of all kinds."""
        for kind in self.kinds():
            yield from self.all(kind)

    def revision(self) -> int:
        """The number of the newest write; another number means that something has changed."""
        try:
            return int((self.root / "revision").read_text())
        except FileNotFoundError:
            return 0

    # Writing

    def create(self, manifest: Manifest) -> Manifest:
        """Add an object; its status is the caller's where it has one.

        Raises:
            Conflict: there is one of that name.
        """
        with self._locked():
            path = self._of(manifest)
            if path.exists():
                raise Conflict(f"{_label(manifest)} already exists")
            new = copy.deepcopy(manifest)
            new["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "generation": 1}
            new["metadata"].setdefault("namespace", "default")
            return self._put(path, new)

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
        wanted = {key: value for key, value in copy.deepcopy(manifest).items() if key != "status"}
        wanted["metadata"] = {key: value for key, value in wanted["metadata"].items() if key in APPLIED_METADATA}
        wanted["metadata"].setdefault("namespace", "default")
        with self._locked():
            path = self._of(wanted)
            live = self._read(path)
            applied = {"manager": manager, "operation": "Apply", "applied": copy.deepcopy(wanted)}
            if live is None:
                new = admit(wanted, None) if admit else wanted
                new["metadata"] |= {
                    "uid": str(uuid.uuid4()),
                    "creationTimestamp": now(),
                    "generation": 1,
                    "managedFields": [applied],
                }
                return self._put(path, new), "created"
            fields = live["metadata"].get("managedFields", [])
            last: Manifest = next((entry["applied"] for entry in fields if entry["manager"] == manager), {})
            new = merged(live, last, wanted)
            if new == live and last == wanted:
                return copy.deepcopy(live), "unchanged"  # it was admitted before
            if admit:
                new = {**admit(new, live), **({"status": live["status"]} if "status" in live else {})}
            if live.get("immutable") and (new.get("data"), new.get("immutable")) != (live.get("data"), True):
                raise Conflict(f"{_label(live)} is immutable")
            if new == live and last == wanted:
                return copy.deepcopy(live), "unchanged"
            said = "unchanged" if new == live else "configured"
            new["metadata"]["managedFields"] = [*(entry for entry in fields if entry["manager"] != manager), applied]
            return self._update(path, live, new), said

    def preview(self, manifest: Manifest, manager: str, admit: Admission) -> Manifest:
        """What `apply` would make, with nothing written; it raises what `admit` raises. What is stored so was admitted before."""
        live = self._read(self._of(manifest))
        if live is None:
            return admit(manifest, None)
        fields = live["metadata"].get("managedFields", [])
        last: Manifest = next((entry["applied"] for entry in fields if entry["manager"] == manager), {})
        new = merged(live, last, manifest)
        return new if new == live else admit(new, live)

    def edit(
        self, kind: str, namespace: str, name: str, change: Callable[[Manifest], None], uid: str | None = None
    ) -> Manifest | None:
        """Read, change and write an object in one go; None when there is none of that name and uid."""
        with self._locked():
            path = self._path(kind, namespace, name)
            live = self._read(path)
            if live is None or (uid and live["metadata"]["uid"] != uid):
                return None
            new = copy.deepcopy(live)
            change(new)
            return copy.deepcopy(live) if new == live else self._update(path, live, new)

    def set_status(self, manifest: Manifest, status: Manifest) -> Manifest | None:
        """Write an object's whole status; nothing when it is stored so already, or the object is gone."""
        meta = manifest["metadata"]
        return self.edit(
            manifest["kind"], meta["namespace"], meta["name"], lambda new: new.update(status=copy.deepcopy(status)), meta["uid"]
        )

    def delete(self, kind: str, namespace: str, name: str, uid: str | None = None, grace: float | None = None) -> bool:
        """Delete an object, or ask for it where processes or finalizers stand before; False when there is none."""
        with self._locked():
            path = self._path(kind, namespace, name)
            live = self._read(path)
            if live is None or (uid and live["metadata"]["uid"] != uid):
                return False
            meta = live["metadata"]
            if kind not in DELETED_LATER and not meta.get("finalizers"):
                self._drop(path)
                return True
            new = copy.deepcopy(live)
            new["metadata"].setdefault("deletionTimestamp", now())
            if (finalizer := DELETED_LATER.get(kind)) and finalizer not in meta.get("finalizers", []):
                new["metadata"]["finalizers"] = [*meta.get("finalizers", []), finalizer]
            if kind == "Pod":
                own = live["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
                new["metadata"]["deletionGracePeriodSeconds"] = min(own, meta.get("deletionGracePeriodSeconds", own))
            if new != live:
                self._update(path, live, new)
            return True

    def remove(self, manifest: Manifest) -> None:
        """End an object whose deletion was asked for and is done."""
        meta = manifest["metadata"]
        with self._locked():
            path = self._path(manifest["kind"], meta["namespace"], meta["name"])
            live = self._read(path)
            if live and live["metadata"]["uid"] == meta["uid"]:
                self._drop(path)

    # The one process that works

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Be the one process that starts and stops processes for this store.

        Raises:
            Temporary: another one is.
        """
        path = self.root / "working.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            pid = path.read_text().strip()
            message = f"Process {pid or '?'} works on {self.root} already."
            raise Temporary(
                "StoreInUse", message, hint="Look on with `nnunet-operator local get --watch`, or name another --store."
            ) from None
        try:
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
            yield
        finally:
            os.close(handle)

    # Files

    def _path(self, kind: str, namespace: str, name: str) -> Path:
        if not all(part and "/" not in part and not part.startswith(".") for part in (kind, namespace, name)):
            raise BadUsage("InvalidName", f"{kind} {namespace}/{name} is no name of an object.")
        return self.objects / kind / namespace / f"{name}.json"

    def _of(self, manifest: Manifest) -> Path:
        meta = manifest["metadata"]
        return self._path(manifest["kind"], meta.get("namespace") or "default", meta["name"])

    def _files(self, kind: str, namespace: str | None = None) -> Iterator[Path]:
        yield from (self.objects / kind).glob(f"{namespace or '*'}/[!.]*.json")

    def _read(self, path: Path) -> Manifest | None:
        signature = _signature(path)
        if signature is None:
            self._cache.pop(path, None)
            return None
        held = self._cache.get(path)
        if held is None or held[0] != signature:
            try:
                held = signature, json.loads(path.read_bytes())
            except FileNotFoundError:
                return None
            self._cache[path] = held
        return held[1]

    def _update(self, path: Path, live: Manifest, new: Manifest) -> Manifest:
        if any(new.get(key) != live.get(key) for key in ("spec", "data")):
            new["metadata"]["generation"] = live["metadata"].get("generation", 1) + 1
        meta = new["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers") and new["kind"] not in DELETED_LATER:
            self._drop(path)
            return new
        return self._put(path, new)

    def _put(self, path: Path, manifest: Manifest) -> Manifest:
        revision = self.revision() + 1
        manifest["metadata"]["resourceVersion"] = str(revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(manifest, indent=1))
        self._count(revision)
        return copy.deepcopy(manifest)

    def _drop(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._cache.pop(path, None)
        self._count(self.revision() + 1)

    def _count(self, revision: int) -> None:
        # After the object, so that whoever sees the new number sees the new object.
        write_text(self.root / "revision", str(revision), sync=False)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.root / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def owners(manifest: Manifest) -> set[str]:
    """The uids that an object belongs to."""
    meta = manifest["metadata"]
    label = meta.get("labels", {}).get("nnunet.dev/owner-uid")
    return {reference["uid"] for reference in meta.get("ownerReferences", [])} | ({label} if label else set())


def log_folder(store: Store, manifest: Manifest) -> Path:
    """The folder of all logs of an object's work, from a pod of it or the object itself."""
    meta = manifest["metadata"]
    labels = meta.get("labels", {})
    kind, name = labels.get("nnunet.dev/owner-kind", manifest["kind"]), labels.get("nnunet.dev/owner-name", meta["name"])
    return store.root / "logs" / str(meta["namespace"]) / str(kind) / str(name)


def _age(manifest: Manifest) -> tuple[str, str, str]:
    meta = manifest["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def _label(manifest: Manifest) -> str:
    return f"{manifest['kind']} {manifest['metadata'].get('namespace', 'default')}/{manifest['metadata']['name']}"


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a file so that a reader sees all of it or nothing; with `sync`, it outlives a loss of power."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)
