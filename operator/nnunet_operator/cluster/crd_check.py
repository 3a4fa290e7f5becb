"""Whether the cluster's CRDs have all that this version of the operator reads and writes: older ones would drop it in silence."""

from __future__ import annotations

import asyncio
import functools
import logging

from nnunet_trainer.contract.faults import BadConfiguration

from .api.client import Api
from .api.errors import ApiError
from .api.kinds import OURS
from .api.retry import ask
from .crd_schemas import lacking, own, served

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds for the API server to describe CRDs that were applied a moment ago."""
MOST_FINDINGS = 20


async def check(api: Api) -> None:
    """Compare each field and each value of an enum with what the API server describes.

    Raises:
        BadConfiguration: the CRDs are older; each finding names a field.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        try:
            schemas = await served(functools.partial(ask, api))
        except ApiError as error:
            if error.code != 404 or loop.time() > end:
                log.warning("whether the CRDs are of this version cannot be found out: %s", error)
                return
        else:
            findings = [f"{kind}: {line}" for kind in OURS for line in lacking(own(kind), schemas.get(kind) or {})]
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
