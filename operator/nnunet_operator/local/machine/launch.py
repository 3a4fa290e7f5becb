"""From a pod's manifest to a process: volumes become folders, and what names a mount (arguments, variables) names its folder."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nnunet_trainer.contract import pod as places

Manifest = dict[str, Any]
Contents = Callable[[Literal["ConfigMap", "Secret"], str, str], "Mapping[str, bytes] | None"]
"""(kind, namespace, name) → the keys and values of a ConfigMap or Secret, or None when there is none."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CACHES = ("MPLCONFIGDIR", "XDG_CACHE_HOME")
"""Where libraries cache in a container without a home folder. Here is one, with caches that are warm."""
SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1024**power for power, letter in enumerate("KMGTP", start=1)
}


class NotYet(Exception):
    """The pod cannot start: something that it mounts or reads is not there. The message is for people."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """What a pod is given by the machine it runs on."""

    contents: Contents
    environment: Mapping[str, str] = field(default_factory=dict)
    claims: Path | None = None  # one folder a PersistentVolumeClaim
    node: str = "local"
    programs: Mapping[str, str] = field(default_factory=dict)  # commands that lie elsewhere than beside this interpreter


def quantity(text: str | float | None) -> float:
    """A Kubernetes quantity as a number: `500m` is 0.5, `2Gi` is 2147483648."""
    if text is None:
        return 0.0
    match = re.fullmatch(r"([0-9.]+(?:[eE][-+]?[0-9]+)?)(m|k|[MGTP]|[KMGTP]i)?", str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    number, suffix = match.groups()
    return float(number) / 1000 if suffix == "m" else float(number) * SUFFIXES[suffix or ""]


def wanted(container: Manifest, resource: str) -> float:
    """What a container asks for of a resource: its request, or its limit, or nothing."""
    resources = container.get("resources") or {}
    for side in ("requests", "limits"):
        if (amount := (resources.get(side) or {}).get(resource)) is not None:
            return quantity(amount)
    return 0.0


def prepare(
    pod: Manifest, folder: Path, host: Host, *, ip: str, gpus: list[str] | None = None, threads: int | None = None
) -> Manifest:
    """Lay a pod's folders and say how its process is started.

    Args:
        pod: the manifest; its first container is the process.
        folder: the pod's own; mounts are laid below `folder/root`.
        host: what the machine gives.
        ip: the pod's address.
        gpus: the GPUs that it may see; None says nothing about GPUs.
        threads: for numerical libraries, where the pod asks for no cores.

    Returns:
        `argv`, `env` and `cwd`.

    Raises:
        NotYet: a ConfigMap, Secret, key or claim is missing.
    """
    root, spec = folder / "root", pod["spec"]
    container = spec["containers"][0]
    mounts = {mount["mountPath"].rstrip("/"): mount for mount in container.get("volumeMounts") or []}
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
    for path, mount in sorted(mounts.items()):
        if mount["name"] not in volumes:
            raise NotYet(f"volume {mount['name']} is not among the pod's volumes")
        _lay(volumes[mount["name"]], mount, root / path.lstrip("/"), folder, pod, host)

    def local(text: str) -> str:
        return _rewritten(text, list(mounts), root)

    own = _variables(container, pod, host, ip)
    if "HOME" in host.environment:
        own = {name: value for name, value in own.items() if name not in CACHES}
    own = {name: local(value) for name, value in own.items()}
    command = [_expanded(part, own) for part in [*(container.get("command") or []), *(container.get("args") or [])]]
    if not command:
        raise NotYet("the container has no command, and there is no image here to know one")
    working = Path(local(container.get("workingDir") or "")) if container.get("workingDir") else root
    working.mkdir(parents=True, exist_ok=True)
    programs = str(Path(sys.executable).parent)
    env = {**host.environment, **_threads(container, threads), **own}
    env["PATH"] = os.pathsep.join(dict.fromkeys([programs, *env.get("PATH", os.defpath).split(os.pathsep)]))
    env[places.ENV_TERMINATION_LOG] = str(folder / "termination-log")
    env.setdefault("HOSTNAME", spec.get("hostname") or pod["metadata"]["name"])
    if gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    program = host.programs.get(command[0]) or shutil.which(command[0], path=env["PATH"]) or command[0]
    return {
        "argv": [program, *map(local, command[1:])],
        "env": env,
        "cwd": str(working),
    }


def _rewritten(text: str, mounts: list[str], root: Path) -> str:
    """A path below a mount, or the very folder that holds mounts, as it lies on this machine; `--flag=/path` too."""
    flag, equals, value = text.partition("=") if text.startswith("-") else ("", "", text)
    for mount in mounts:
        if value == mount or value.startswith(mount + "/") or (mount.startswith(value.rstrip("/") + "/") and value.count("/") > 1):
            return f"{flag}{equals}{root}{value}"
    return text


def _lay(volume: Manifest, mount: Manifest, target: Path, folder: Path, pod: Manifest, host: Host) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    sub = mount.get("subPath", "").strip("/")
    if claim := volume.get("persistentVolumeClaim"):
        found = host.claims / claim["claimName"] if host.claims else None
        if found is None or not found.is_dir():
            raise NotYet(f"there is no folder for the claim {claim['claimName']} (--volumes DIR holds one folder a claim)")
        _link(target, found / sub)
        return
    if "hostPath" in volume:
        _link(target, Path(volume["hostPath"]["path"]) / sub)
        return
    source = folder / "volumes" / volume["name"]
    if not source.exists():
        _fill(volume, source, pod, host)
    if sub and "emptyDir" in volume:
        (source / sub).mkdir(parents=True, exist_ok=True)
    _link(target, source / sub)


def _link(target: Path, source: Path) -> None:
    if target.is_symlink():
        target.unlink()
    target.symlink_to(source)


def _fill(volume: Manifest, target: Path, pod: Manifest, host: Host) -> None:
    sources = [volume]
    if "projected" in volume:
        sources = [_as_volume(entry) for entry in volume["projected"].get("sources") or []]
    files: dict[str, bytes] = {}
    for source in sources:
        for kind, field_, name_field in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
            if field_ in source:
                files |= _files(kind, source[field_], source[field_].get(name_field), pod, host)  # type: ignore[arg-type]
    # Beside first: a folder that bears its name is whole.
    beside = target.with_name(f".{target.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True, mode=0o700)
    for path, content in files.items():
        file = beside / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)
    beside.rename(target)


def _as_volume(projection: Manifest) -> Manifest:
    if "secret" in projection:
        return {"secret": {**projection["secret"], "secretName": projection["secret"]["name"]}}
    return projection


def _files(kind: Literal["ConfigMap", "Secret"], source: Manifest, name: str, pod: Manifest, host: Host) -> dict[str, bytes]:
    held = host.contents(kind, pod["metadata"]["namespace"], name)
    if held is None:
        if source.get("optional"):
            return {}
        raise NotYet(f'{kind.lower()} "{name}" not found')
    if not source.get("items"):
        return dict(held)
    missing = [item["key"] for item in source["items"] if item["key"] not in held]
    if missing and not source.get("optional"):
        raise NotYet(f'{kind.lower()} "{name}" has no key {", ".join(missing)}')
    return {item["path"]: held[item["key"]] for item in source["items"] if item["key"] in held}


def _variables(container: Manifest, pod: Manifest, host: Host, ip: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for kind, field_ in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if field_ in source:
                held = _files(kind, source[field_], source[field_]["name"], pod, host)  # type: ignore[arg-type]
                found |= {source.get("prefix", "") + key: value.decode() for key, value in held.items()}
    for entry in container.get("env") or []:
        if "value" in entry or "valueFrom" not in entry:
            found[entry["name"]] = _expanded(entry.get("value") or "", found)
        elif (value := _value_from(entry["valueFrom"], container, pod, host, ip)) is not None:
            found[entry["name"]] = value
    return found


def _value_from(source: Manifest, container: Manifest, pod: Manifest, host: Host, ip: str) -> str | None:
    for kind, field_ in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(field_):
            items = {**reference, "items": [{"key": reference["key"], "path": "value"}]}
            held = _files(kind, items, reference["name"], pod, host)  # type: ignore[arg-type]
            return held["value"].decode() if held else None
    if reference := source.get("resourceFieldRef"):
        side, _, resource = reference["resource"].partition(".")
        amount = quantity((container.get("resources") or {}).get(side, {}).get(resource))
        return str(math.ceil(amount / (quantity(reference.get("divisor")) or 1)))
    return _field(source["fieldRef"]["fieldPath"], pod, host, ip)


def _field(path: str, pod: Manifest, host: Host, ip: str) -> str:
    meta = pod["metadata"]
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(meta.get(match[1], {}).get(match[2], ""))
    known: dict[str, str] = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": host.node,
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": ip,
        "status.podIPs": ip,
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    if path not in known:
        raise NotYet(f"the field {path} is not known here")
    return known[path]


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes replaces it; unknown names stay, `$$` is a dollar."""
    return re.sub(r"\$\$|\$\(([^)]+)\)", lambda m: "$" if m[0] == "$$" else variables.get(m[1], m[0]), text)


def _threads(container: Manifest, otherwise: int | None) -> dict[str, str]:
    cores = wanted(container, "cpu")
    count = max(1, int(cores)) if cores else otherwise
    return dict.fromkeys(THREADS, str(count)) if count else {}
