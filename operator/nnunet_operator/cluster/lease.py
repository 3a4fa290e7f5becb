"""Leader election over a Lease: at most one replica writes.

Whether another's lease has run out is judged by when *we* last saw it change, on our own monotonic clock, as client-go does.
A replica stops writing `deadline` seconds after it last renewed, which is before any other may take the lease. Once it has stopped
it never goes on: others may have acted meanwhile, and what it knows of the cluster may be of before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from ..reconcile.view import Manifest
from .api.client import Api
from .api.errors import CONNECTION_ERRORS, ApiError, text_of
from .api.kinds import KINDS

log = logging.getLogger(__name__)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Lease:
    """One replica's view of the Lease.

    Args:
        duration, deadline: seconds; others may take over after `duration` without renewal, we give up after `deadline`.
        retry, look: seconds between two renewals, and between two looks at another's lease. It is looked at often, so that one
            that was given away, or has run out, is taken at once.
    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 12,
        deadline: float = 8,
        retry: float = 2,
        look: float = 0.5,
    ) -> None:
        self._api, self._namespace, self._name, self._identity = api, namespace, name, identity
        self._duration, self._deadline, self._retry, self._look = duration, deadline, retry, look
        self._seen: tuple[str | None, str | None] | None = None
        self._seen_at = 0.0
        self._renewed_at = float("-inf")
        self._asked_for_it = False  # it may be ours even if no answer said so

    @property
    def held(self) -> bool:
        """Whether we may write now."""
        return time.monotonic() - self._renewed_at < self._deadline

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        while not await self._try(take=True):
            await asyncio.sleep(self._look)

    async def keep(self) -> None:
        """Renew; returns when the lease is lost, or was for a moment."""
        while True:
            await asyncio.sleep(self._retry)
            if not self.held:  # before asking: whoever was frozen for long must not go on with what it knew
                return
            await self._try(take=False)

    async def release(self) -> None:
        """Stop writing and give the lease away, so that the next replica need not wait for it to run out."""
        self._renewed_at = float("-inf")
        if not self._asked_for_it:
            return
        try:
            async with asyncio.timeout(self._deadline / 4):
                while not await self._give_away():
                    pass  # a renewal that was under way came between
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("the lease could not be released; the next replica waits until it runs out: %s", text_of(error))
        self._asked_for_it = False

    async def _give_away(self) -> bool:
        lease = await self._api.get(KINDS["Lease"], self._namespace, self._name)
        if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self._identity:
            return True
        lease["spec"].update(holderIdentity="", renewTime=_stamp(), leaseDurationSeconds=1)
        try:
            await self._api.replace(lease)
        except ApiError as error:
            if error.code != 409:
                raise
            return False
        return True

    async def _try(self, *, take: bool) -> bool:
        asked_at = time.monotonic()  # before the request: the server's clock of our lease cannot have begun earlier
        try:
            async with asyncio.timeout(self._deadline / 2):
                ours = await self._take_or_renew(take=take)
        except (ApiError, *CONNECTION_ERRORS) as error:
            if not (isinstance(error, ApiError) and error.code == 409):  # 409: another replica was faster
                log.warning("the lease could not be renewed: %s", text_of(error))
            return False
        if ours:
            self._renewed_at = asked_at
        elif not take:
            self._renewed_at = float("-inf")  # another has it
        return ours

    async def _take_or_renew(self, *, take: bool) -> bool:
        lease = await self._api.get(KINDS["Lease"], self._namespace, self._name)
        mine: Manifest = {"holderIdentity": self._identity, "leaseDurationSeconds": int(self._duration), "renewTime": _stamp()}
        if lease is None:
            meta = {"name": self._name, "namespace": self._namespace}
            mine |= {"acquireTime": _stamp(), "leaseTransitions": 0}
            body: Manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": mine}
            self._asked_for_it = True
            await self._api.create_unfenced(body)
            return True
        spec: Manifest = lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        if (seen := (holder, spec.get("renewTime"))) != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        if holder != self._identity:
            if not take:
                return False
            if holder and time.monotonic() - self._seen_at < (spec.get("leaseDurationSeconds") or self._duration):
                return False
            mine |= {"acquireTime": _stamp(), "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        lease["spec"] = {**spec, **mine}
        self._asked_for_it = True
        await self._api.replace(lease)  # with its resourceVersion: of two replicas one gets 409
        return True
