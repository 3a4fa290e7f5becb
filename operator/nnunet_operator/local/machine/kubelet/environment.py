"""A container's environment variables: given ones, keys of ConfigMaps and Secrets, fields of the pod."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from .host import Host, NotYet

Manifest = dict[str, Any]

KEY_REFERENCES: tuple[tuple[Literal["ConfigMap", "Secret"], str], ...] = (
    ("ConfigMap", "configMapKeyRef"),
    ("Secret", "secretKeyRef"),
)


def variables(pod: Manifest, host: Host, ip: str) -> dict[str, str]:
    """The variables of a pod's first container, as it sees them. Of two of a name the last counts.

    Raises:
        NotYet: a ConfigMap, a Secret, or a key of it is missing.
    """
    found: dict[str, str] = {}
    for entry in pod["spec"]["containers"][0].get("env") or []:
        if "valueFrom" in entry:
            found[entry["name"]] = _value_from(entry["valueFrom"], pod, host, ip)
        else:
            found[entry["name"]] = expanded(entry.get("value") or "", found)
    return found


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes replaces it; unknown names stay, `$$` is a dollar."""
    return re.sub(r"\$\$|\$\(([^)]+)\)", lambda m: "$" if m[0] == "$$" else variables.get(m[1], m[0]), text)


def _value_from(source: Manifest, pod: Manifest, host: Host, ip: str) -> str:
    for kind, field in KEY_REFERENCES:
        if reference := source.get(field):
            held = host.read(kind, pod["metadata"]["namespace"], reference["name"])
            if reference["key"] not in held:
                raise NotYet(f'{kind.lower()} "{reference["name"]}" has no key {reference["key"]}')
            return held[reference["key"]].decode()
    return _field(source["fieldRef"]["fieldPath"], pod["metadata"], ip)


def _field(path: str, metadata: Manifest, ip: str) -> str:
    """The fields that our manifests and the Job controller ask for."""
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    known = {"metadata.name": str(metadata["name"]), "status.podIP": ip}
    if path not in known:
        raise NotYet(f"the field {path} is not known here")
    return known[path]
