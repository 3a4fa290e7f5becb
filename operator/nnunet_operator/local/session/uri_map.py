"""Folders of this machine that stand in for URIs, so that a cluster's manifests run here unchanged: `--map s3://bucket/raw=DIR`.

Objects keep the URIs that people wrote; only what reconcilers see, and so what work orders say, is replaced. The mapping is
kept with the store: a later call goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import uri
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage

from ...api.resources import KINDS
from ...reconcile.kinds import invalid
from ...reconcile.references.dependencies import needed_by
from ...reconcile.view import Key
from ..object_store.folder import write_text
from ..object_store.manifest_files import URIS
from ..object_store.store import Store

Manifest = dict[str, Any]


def parse(text: str) -> tuple[str, Path]:
    """`s3://bucket/raw=DIR` as a URI prefix and a folder. Both may hold `=`: the one that a folder comes after counts.

    Raises:
        BadUsage: no `=`, no URI, no such folder, more than one way to read it.
    """
    ways = [(text[:i], text[i + 1 :]) for i, character in enumerate(text) if character == "=" and "://" in text[:i]]
    if not ways:
        raise BadUsage("InvalidMapping", f"--map {text}: a URI, = and a folder are expected, as in s3://bucket/raw=images.")
    found = [(prefix, Path(folder)) for prefix, folder in ways if folder and Path(folder).is_dir()]
    if not found:
        raise BadUsage("NoSuchFile", f"--map {text}: there is no folder {' or '.join(folder for _, folder in ways)}.")
    if len(found) > 1:
        readings = " or ".join(f"{prefix} = {folder}" for prefix, folder in found)
        raise BadUsage("InvalidMapping", f"--map {text}: it can be read as {readings}.", hint="Write the folder from / on.")
    prefix, folder = found[0]
    try:
        uri.parse(prefix)
        uri.of_path(folder.absolute())
    except BadConfiguration as error:
        raise BadUsage("InvalidMapping", f"--map {text}: {error.message}", hint=error.hint) from error
    return prefix.rstrip("/"), folder.absolute()


class UriMap:
    """A store whose URIs are those of this machine (the `Objects` that Views are built from).

    Args:
        store: the objects.
        added: mappings to keep from now on, each a URI prefix and a folder.
    """

    def __init__(self, store: Store, added: Sequence[tuple[str, Path]] = ()) -> None:
        self._store = store
        kept = store.root / "places.json"
        self._folders: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}
        if added:
            self._folders |= {prefix: str(folder) for prefix, folder in added}
            write_text(kept, json.dumps(self._folders, indent=1))

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, or None."""
        manifest = self._store.get(kind, namespace, name)
        if manifest is None or kind not in KINDS or not self._folders:
            return manifest
        spec = manifest.get("spec", {})
        for field in URIS:
            holder = spec.get(field)
            if isinstance(holder, dict) and isinstance(holder.get("uri"), str):
                spec[field] = self._replaced(holder)
        return manifest

    def owned(self, uid: str, kind: str) -> Iterable[Manifest]:
        """The objects of a kind that an object owns."""
        return self._store.owned(uid, kind)

    def of_namesakes(self, kind: str, namespace: str, name: str, uid: str) -> Iterable[Manifest]:
        """Jobs and pods that are labelled as of another object of this kind and name."""
        return self._store.of_namesakes(kind, namespace, name, uid)

    def dependents(self, key: Key) -> Iterable[Manifest]:
        """The objects of our kinds that refer to an object."""
        found = (manifest for kind in KINDS for manifest in self._store.all(kind, key.namespace))
        return [manifest for manifest in found if key in needed_by(invalid.parse(manifest))]

    def deleted_pods(self, job: str) -> Iterable[Manifest]:
        """None: here a pod is not removed before its Job has ended."""
        return ()

    def deleted_jobs(self, uid: str) -> Iterable[Manifest]:
        """None: here nobody else deletes Jobs."""
        return ()

    def _replaced(self, holder: Manifest) -> Manifest:
        wanted = holder["uri"]
        for prefix in sorted(self._folders, key=len, reverse=True):
            if wanted == prefix or wanted.startswith(prefix + "/"):
                # A folder needs no endpoint and no Secret.
                access = {"endpoint", "region", "pathStyle", "secretName", "caConfigMap"}
                plain = {key: value for key, value in holder.items() if key not in access}
                return {**plain, "uri": f"file://{self._folders[prefix]}{wanted[len(prefix) :]}"}
        return holder
