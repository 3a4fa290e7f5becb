"""The CRDs of the cluster, compared with those of this version field by field."""

from __future__ import annotations

from collections.abc import Iterator

from ...api.base import GROUP, VERSION
from ...api.resources import API_VERSION, PLURALS
from .. import crd_schemas
from ..api.client import Api
from ..api.errors import ApiError
from ..api.kinds import ApiKind
from ..crd_schemas import Schema
from .findings import Finding, Level

CHECK = "definitions"
CRD = ApiKind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
APPLY = "kubectl apply --server-side -f crds/ of this version, or helm upgrade (docs/upgrading.md)"
SHOWN = 6


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
    return compare(name, version["schema"]["openAPIV3Schema"], crd_schemas.own(kind))


async def _by_discovery(api: Api, kind: str, plural: str) -> Finding:
    """Who may not read CRDs may read what they serve: the same fields, as OpenAPI v3."""
    name = f"{plural}.{GROUP}"
    try:
        served = await crd_schemas.served(api.request)
    except ApiError as error:
        if error.code in (403, 404):
            return _finding(Level.PROBLEM, name, f"{API_VERSION} is not served (CRDs may not be read by this user)", APPLY)
        raise
    if kind not in served:
        return _finding(Level.PROBLEM, name, f"{API_VERSION} is served without it (CRDs may not be read by this user)", APPLY)
    return compare(name, served[kind], crd_schemas.own(kind), fields_alone=True)


def compare(name: str, theirs: Schema, ours: Schema, *, fields_alone: bool = False) -> Finding:
    """What a schema is beside that of this version.

    Args:
        name: of the CRD.
        theirs: of the cluster.
        ours: of this version.
        fields_alone: rules, defaults and texts of theirs are not known.
    """
    missing, more = list(crd_schemas.lacking(ours, theirs)), list(crd_schemas.lacking(theirs, ours))
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
    known, wanted = dict(_fields(theirs, "")), dict(_fields(ours, ""))
    if other := sorted(path for path, field in wanted.items() if _own(field) != _own(known.get(path, {}))):
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
    """Some of them, and how many more."""
    return ", ".join(paths[:SHOWN]) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")


def _finding(level: Level, name: str, message: str, hint: str = "") -> Finding:
    return Finding(check=CHECK, level=level, about=name, message=message, hint=hint)
