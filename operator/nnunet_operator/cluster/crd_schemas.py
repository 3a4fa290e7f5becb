"""The schemas of our kinds: those that a cluster serves, those of this version, and what one lacks of another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from ..api.base import GROUP, VERSION
from ..api.resources import API_VERSION
from ..api.schema import crds

Schema = dict[str, Any]


async def served(request: Callable[[str, str], Awaitable[Any]]) -> dict[str, Schema]:
    """The schemas that the API server describes (OpenAPI v3, which everybody may read), by kind; of those that it serves.

    Args:
        request: asks by method and path.

    Raises:
        ApiError: 404 where it serves none of them.
    """
    described = (await request("GET", f"/openapi/v3/apis/{API_VERSION}")).get("components") or {}
    prefix = f"{'.'.join(reversed(GROUP.split('.')))}.{VERSION}."
    return {name.removeprefix(prefix): schema for name, schema in (described.get("schemas") or {}).items()}


def own(kind: str) -> Schema:
    """This version's schema of a kind."""
    found: Schema = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def lacking(ours: Schema, served: Schema, path: str = "") -> Iterator[str]:
    """The outermost paths of fields of spec and status, and the values of an enum, that ours has and the served one has not."""
    if served.get("x-kubernetes-preserve-unknown-fields") and not served.get("properties"):
        return
    for name, schema in ours.get("properties", {}).items():
        if not path and name not in ("spec", "status"):
            continue  # the API server's own
        place = f"{path}.{name}" if path else name
        if name in served.get("properties", {}):
            yield from lacking(schema, served["properties"][name], place)
        else:
            yield place
    for part, sign in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(ours.get(part), dict) and isinstance(served.get(part), dict):
            yield from lacking(ours[part], served[part], path + sign)
    if "enum" in served:
        yield from (f"{path}: the value {value!r}" for value in ours.get("enum", ()) if value not in served["enum"])
