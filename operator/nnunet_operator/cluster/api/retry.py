"""Questions to an API server that may be away, overloaded or in trouble."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from nnunet_trainer.contract.faults import StorageFault

from .client import Api
from .errors import CONNECTION_ERRORS, ApiError, text_of

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds to wait for an answer."""


async def ask(api: Api, method: str, path: str, body: Any = None) -> Any:
    """One question, asked again for a while when the API server is away, overloaded or in trouble.

    Raises:
        StorageFault: it was so for too long.
        ApiError: the answer is no.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while True:
        try:
            return await api.request(method, path, body=body, timeout=10)
        except ApiError as error:
            if error.code != 429 and error.code < 500:
                raise
            problem = str(error)
        except CONNECTION_ERRORS as error:
            problem = text_of(error)
        if loop.time() > end:
            raise no_cluster(api, problem)
        log.warning("%s does not answer yet: %s", api.configuration.host, problem)
        await asyncio.sleep(1)


def no_cluster(api: Api, problem: str) -> StorageFault:
    """What to say of an API server that does not answer."""
    hint = "Is it the right cluster (--kubeconfig, --context)?"
    return StorageFault("NoCluster", f"{api.configuration.host} does not answer: {problem}.", hint=hint)
