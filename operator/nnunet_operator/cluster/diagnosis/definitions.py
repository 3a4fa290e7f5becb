"""The CRDs of the cluster, compared with those of this version field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...api import crds
from ...api.base import GROUP, VERSION
from ...api.resources import API_VERSION, PLURALS
from ..api.client import Api, ApiError
from ..api.kinds import ApiKind
from .findings import Finding, Level

CHECK = "definitions"
CRD = ApiKind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
APPLY = "kubectl apply --server-side -f crds/ of this version, or helm upgrade (docs/upgrading.md)"
SHOWN = 6

Schema = dict[str, Any]


async def check(api: Api) -> list[Finding]:
    """One finding a kind."""
    return [await _check(api, kind, plural) for kind, plural in PLURALS.items()]


async def _check(api: Api, kind: str, plural: str) -> Finding:
    name = f"{plural}.{GROUP}"
    try:
        found = await api.request("GET", CRD.path(None, name))
    except ApiError as error:
        if error.code == 403:
            return await _by_discovery(api, kind, plural)
        if error.code != 404:
            raise
        return _finding(Level.PROBLEM, name, "it is not installed", APPLY)
    conditions = (found.get("status") or {}).get("conditions") or []
    if (bad := next((c for c in conditions if (c["type"], c["status"]) == ("Established", "False")), None)) is not None:
        return _finding(Level.PROBLEM, name, f"it is not established: {bad.get('message')}", f"kubectl describe crd {name}")
    version = next((v for v in found["spec"]["versions"] if v["name"] == VERSION and v.get("served")), None)
    if version is None:
        versions = ", ".join(v["name"] for v in found["spec"]["versions"] if v.get("served")) or "no version"
        return _finding(Level.PROBLEM, name, f"it serves {versions}, this version of the operator needs {VERSION}", APPLY)
    if "status" not in (version.get("subresources") or {}):
        return _finding(Level.PROBLEM, name, "it has no status subresource", APPLY)
    return compare(name, version["schema"]["openAPIV3Schema"], crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


async def _by_discovery(api: Api, kind: str, plural: str) -> Finding:
    """Who may not read CRDs may read what they serve: the same fields, as OpenAPI v3."""
    name = f"{plural}.{GROUP}"
    try:
        found = await api.request("GET", f"/openapi/v3/apis/{API_VERSION}")
    except ApiError as error:
        if error.code in (403, 404):
            return _finding(Level.PROBLEM, name, f"{API_VERSION} is not served (CRDs may not be read by this user)", APPLY)
        raise
    schemas = (found.get("components") or {}).get("schemas") or {}
    served = next((s for s in schemas.values() if _is_of(s, kind)), None)
    if served is None:
        return _finding(Level.PROBLEM, name, f"{API_VERSION} is served without it (CRDs may not be read by this user)", APPLY)
    ours = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return compare(name, served, ours, fields_alone=True)


def _is_of(schema: Schema, kind: str) -> bool:
    return any(
        item.get("kind") == kind and item.get("group") == GROUP for item in schema.get("x-kubernetes-group-version-kind", ())
    )


def compare(name: str, theirs: Schema, ours: Schema, *, fields_alone: bool = False) -> Finding:
    """What a schema is beside that of this version.

    Args:
        name: of the CRD.
        theirs: of the cluster.
        ours: of this version.
        fields_alone: rules, defaults and texts of theirs are not known.
    """
    known, wanted = dict(_fields(theirs, "")), dict(_fields(ours, ""))
    missing, more = sorted(wanted.keys() - known.keys()), sorted(known.keys() - wanted.keys())
    if missing and not more:
        text = f"it is older than the operator: it lacks {_listed(missing)}; what people write there is refused or dropped"
        return _finding(Level.PROBLEM, name, text, APPLY)
    if more and not missing:
        text = f"it is newer than the operator: it has {_listed(more)}; the operator keeps these fields, without effect"
        return _finding(Level.WARNING, name, text, "Upgrade the operator: CRDs of N+1 work with an operator of N.")
    if missing and more:
        text = f"it is of another version: it lacks {_listed(missing)}, and has {_listed(more)}"
        return _finding(Level.PROBLEM, name, text, APPLY)
    if fields_alone:
        return _finding(Level.OK, name, "it has the fields of this version (its rules may not be read by this user)")
    if other := sorted(path for path, field in wanted.items() if _own(field) != _own(known[path])):
        text = f"it has the fields of this version, but other rules, limits or texts for {_listed(other)}"
        return _finding(Level.WARNING, name, text, APPLY)
    return _finding(Level.OK, name, "it is that of this version")


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """All fields of spec and status, and what is said of each."""
    yield path or "(object)", schema
    for field, below in schema.get("properties", {}).items():
        if path or field in ("spec", "status"):
            yield from _fields(below, f"{path}.{field}".lstrip("."))
    for below, sign in ((schema.get("items"), "[]"), (schema.get("additionalProperties"), ".*")):
        if isinstance(below, dict):
            yield from _fields(below, f"{path}{sign}")


def _own(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in ("properties", "items", "additionalProperties")}


def _listed(paths: list[str]) -> str:
    """The outermost of them, and not too many."""
    outer = [path for path in paths if not any(path.startswith((f"{other}.", f"{other}[")) for other in paths)]
    more = f" and {len(outer) - SHOWN} more" if len(outer) > SHOWN else ""
    return ", ".join(outer[:SHOWN]) + more


def _finding(level: Level, name: str, message: str, hint: str = "") -> Finding:
    return Finding(check=CHECK, level=level, about=name, message=message, hint=hint)
