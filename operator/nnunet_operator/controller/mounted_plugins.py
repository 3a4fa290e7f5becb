"""What the ConfigMaps of an object's `plugins` hold now: looked up, for they are nobody's children and are not watched."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from nnunet_trainer.contract import plugins as contract

from ..reconcile.view import Key, Manifest
from .object_client import ObjectClient, Rejected

log = logging.getLogger(__name__)

FRESH = 5.0
"""Seconds for which a digest is good: hundreds of runs may name the same plug-in."""


class MountedPlugins:
    """The digests of plug-ins.

    Args:
        client: reads ConfigMaps.
        clock: seconds.
    """

    def __init__(self, client: ObjectClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._known: dict[Key, tuple[float, str]] = {}
        self._refused = False

    async def of(self, about: Manifest, *, within: float = FRESH) -> dict[str, str | None]:
        """By ConfigMap of an object's `plugins`: its digest, None where there is none; without those that cannot be read.

        Args:
            within: seconds for which a digest is good. Before a Job is made: none.
        """
        found: dict[str, str | None] = {}
        for plugin in (about.get("spec") or {}).get("plugins") or ():
            name = plugin.get("configMapName") if isinstance(plugin, dict) else None
            if isinstance(name, str) and name:
                try:
                    found[name] = await self._digest(Key("ConfigMap", about["metadata"]["namespace"], name), within)
                except Rejected as error:
                    if not self._refused:  # said once: each pass would say it again
                        self._refused = True
                        log.warning("plug-ins are not looked at before their Jobs: %s", error.message)
        return found

    async def _digest(self, key: Key, within: float) -> str | None:
        now = self._clock()
        if (known := self._known.get(key)) is not None and now - known[0] < within:
            return known[1]
        if (manifest := await self._client.get(key)) is None:
            return None
        digest = contract.of_config_map(manifest)
        self._known = {other: entry for other, entry in self._known.items() if now - entry[0] < FRESH} | {key: (now, digest)}
        return digest
