"""Whether the cluster's CRDs have all that this version of the operator reads and writes: older ones would drop it in silence."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration

from ..api.base import GROUP, VERSION
from ..api.resources import API_VERSION
from ..api.schema import crds
from .api.client import Api
from .api.errors import ApiError
from .api.kinds import OURS
from .api.retry import ask

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds for the API server to describe CRDs that were applied a moment ago."""
MOST_FINDINGS = 20

Schema = dict[str, Any]


async def check(api: Api) -> None:
    """Compare each field and each value of an enum with what the API server describes.

    Raises:
        BadConfiguration: the CRDs are older; each finding names a field.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        try:
            served = await schemas(functools.partial(ask, api))
        except ApiError as error:
            if error.code != 404 or loop.time() > end:
                log.warning("whether the CRDs are of this version cannot be found out: %s", error)
                return
        else:
            findings = [f"{kind}: {line}" for kind in OURS for line in lacking(own(kind), served.get(kind) or {})]
            if not findings:
                return
            if loop.time() > end:
                more = [f"and {len(findings) - MOST_FINDINGS} more"] if len(findings) > MOST_FINDINGS else []
                raise BadConfiguration(
                    "OldCRDs",
                    "The cluster's CRDs are older than this operator. They lack:",
                    findings=[*findings[:MOST_FINDINGS], *more],
                    hint="Apply this version's, before the operator: helm upgrade, or kubectl apply --server-side -f crds/",
                )
        await asyncio.sleep(0.5)


async def schemas(request: Callable[[str, str], Awaitable[Any]]) -> dict[str, Schema]:
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
