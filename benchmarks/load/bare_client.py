"""The least that the operator's life of a run can cost in Python: a client that reads the same watches and makes the same writes.

It knows one run's writes by heart (a recipe, taken from the audit log) and makes them for each further run: names and uids are
replaced in the text. It keeps what it reads by key, as any client must, and decides nothing.

    python -m load.bare_client RECIPE.json     # in benchmarks/, until SIGTERM
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from .client import Client

WATCHED = (
    ("/apis/nnunet.dev/v1alpha1", "datasets", ""),
    ("/apis/nnunet.dev/v1alpha1", "plans", ""),
    ("/apis/nnunet.dev/v1alpha1", "plantransfers", ""),
    ("/apis/nnunet.dev/v1alpha1", "trainingruns", ""),
    ("/apis/batch/v1", "jobs", "&labelSelector=app.kubernetes.io/managed-by%3Dnnunet-operator"),
    ("/api/v1", "pods", "&labelSelector=app.kubernetes.io/managed-by%3Dnnunet-operator"),
)
AT_ONCE = 8
"""As many runs are written of at one time as the operator has workers."""


class BareClient:
    """Replays a recipe.

    Args:
        recipe: `server` (url, token, ca), `namespace` (where it works), and of the run that is replayed `run`, `uid`, `job_uid`,
            `from` (its namespace) and `writes`: a list a moment (the run is there; its pod runs; its Job is complete) of
            (method, path, body, content type).
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        self._recipe = recipe
        self._client = Client(*recipe["server"], agent="bare-client")
        self._known: dict[tuple[str, str], Any] = {}
        self._begun: dict[str, int] = {}  # by run: how many moments have come
        self._locks: dict[str, asyncio.Lock] = {}
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching = {plural: asyncio.Event() for _, plural, _ in WATCHED}

    async def run(self) -> None:
        """Watch and write for ever."""
        async with self._client:
            watches = [asyncio.create_task(self._watch(*watched)) for watched in WATCHED]
            await asyncio.gather(*(self._watching[plural].wait() for _, plural, _ in WATCHED))
            print("watching", flush=True)
            await asyncio.gather(*watches)

    async def _watch(self, root: str, plural: str, selector: str) -> None:
        path = f"{root}/namespaces/{self._recipe['namespace']}/{plural}"
        async for kind, found in self._client.watch(path, selector, began=self._watching[plural]):
            meta = found["metadata"]
            if kind == "DELETED":
                self._known.pop((plural, meta["name"]), None)
            else:
                self._known[plural, meta["name"]] = found
                self._notice(plural, found)

    def _notice(self, plural: str, found: dict[str, Any]) -> None:
        name = found["metadata"]["name"]
        if plural == "trainingruns":
            self._reached(name, 1)
            return
        owner = (found["metadata"].get("labels") or {}).get("nnunet.dev/owner-name")
        status = found.get("status") or {}
        if owner and plural == "pods" and status.get("phase") == "Running":
            self._reached(owner, 2)
        if owner and plural == "jobs" and any(c["type"] == "Complete" for c in status.get("conditions") or []):
            self._reached(owner, 3)

    def _reached(self, name: str, moment: int) -> None:
        before = self._begun.get(name, 0)
        if moment > before:
            self._begun[name] = moment
            task = asyncio.create_task(self._write(name, range(before, moment)))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        task.result()  # else an error would be told to nobody

    async def _write(self, name: str, moments: range) -> None:
        recipe, sample = self._recipe, self._recipe["run"]
        uid = self._known["trainingruns", name]["metadata"]["uid"]
        job = f"{name}-{uid[:6]}-f0-0"
        async with self._locks.setdefault(name, asyncio.Lock()), self._limit:
            for moment in moments:
                for method, path, body, content in recipe["writes"][moment]:
                    job_uid = self._known.get(("jobs", job), {}).get("metadata", {}).get("uid", "")
                    replaced = [
                        text.replace(f"{sample}-{recipe['uid'][:6]}", f"{name}-{uid[:6]}")
                        .replace(sample, name)
                        .replace(recipe["uid"], uid)
                        .replace(recipe["job_uid"], job_uid)
                        .replace(recipe["from"], recipe["namespace"])
                        for text in (path, body)
                    ]
                    await self._client.request(method, replaced[0], replaced[1].encode(), content)


if __name__ == "__main__":
    asyncio.run(BareClient(json.loads(Path(sys.argv[1]).read_text())).run())
