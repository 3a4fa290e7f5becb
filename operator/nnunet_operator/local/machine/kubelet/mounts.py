"""A pod's volumes as folders below one root, and paths of the container as they lie here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .host import Host, NotYet

Manifest = dict[str, Any]


def lay(pod: Manifest, folder: Path, host: Host) -> list[str]:
    """Lay the mounts of a pod's first container below `folder/root`; their paths in the container.

    Raises:
        NotYet: a ConfigMap, Secret or claim is missing.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["spec"]["containers"][0].get("volumeMounts") or []}
    (folder / "root").mkdir(parents=True, exist_ok=True)
    for path, name in sorted(mounts.items()):
        target = folder / "root" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(target, _source(volumes[name], folder, pod, host))
    return list(mounts)


def rewritten(text: str, mounts: list[str], root: Path) -> str:
    """A path below a mount, or the very folder that holds mounts, as it lies on this machine; `--flag=/path` too."""
    flag, equals, value = text.partition("=") if text.startswith("-") else ("", "", text)
    for mount in mounts:
        if value == mount or value.startswith(mount + "/") or (mount.startswith(value.rstrip("/") + "/") and value.count("/") > 1):
            return f"{flag}{equals}{root}{value}"
    return text


def _source(volume: Manifest, folder: Path, pod: Manifest, host: Host) -> Path:
    if claim := volume.get("persistentVolumeClaim"):
        found = host.claims / str(claim["claimName"]) if host.claims else None
        if found is None or not found.is_dir():
            raise NotYet(f"there is no folder for the claim {claim['claimName']} (--volumes DIR holds one folder a claim)")
        return found
    source = folder / "volumes" / str(volume["name"])
    if not source.exists():
        _write(_content(volume, pod["metadata"]["namespace"], host), source)
    return source


def _content(volume: Manifest, namespace: str, host: Host) -> Mapping[str, bytes]:
    if "configMap" in volume:
        try:
            return host.read("ConfigMap", namespace, volume["configMap"]["name"])
        except NotYet:
            if not volume["configMap"].get("optional"):
                raise
            return {}
    if "secret" in volume:
        return host.read("Secret", namespace, volume["secret"]["secretName"])
    return {}  # emptyDir, ephemeral: the pod's own disk


def _write(files: Mapping[str, bytes], target: Path) -> None:
    # Beside first: a folder that bears its name is whole.
    beside = target.with_name(f".{target.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True, mode=0o700)
    for name, content in files.items():
        file = beside / name
        file.touch(mode=0o600)
        file.write_bytes(content)
    beside.rename(target)


def _link(target: Path, source: Path) -> None:
    if target.is_symlink():
        target.unlink()
    target.symlink_to(source)
