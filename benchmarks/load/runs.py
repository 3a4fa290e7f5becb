"""TrainingRuns on a cluster: made, finished by kwok, and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, succeed

from .client import Client, Manifest, until

API = "/apis/nnunet.dev/v1alpha1"
JOBS = "/apis/batch/v1"
MANAGED = "app.kubernetes.io/managed-by%3Dnnunet-operator"


class Runs:
    """Runs of one Dataset and its Plans, a namespace each time.

    Args:
        plane: the control plane.
        client: a client of it with rights to everything.
    """

    def __init__(self, plane: ControlPlane, client: Client) -> None:
        self._plane, self._client = plane, client

    async def prepare(self, namespace: str) -> None:
        """A Dataset and its Plans, ready."""
        with PretendKubelet(self._plane.admin, namespace, succeed):
            dataset = {"name": "Dataset001_Brain", "source": {"uri": "s3://nnunet/raw/Dataset001_Brain"}}
            await self._post("Dataset", "datasets", namespace, "brain", dataset)
            spec = {"datasetRef": {"name": "brain"}, "preprocessing": {"configurations": ["2d"]}}
            await self._post("Plans", "plans", namespace, "brain", spec)

            async def ready() -> bool:
                plans = await self._client.request("GET", f"{API}/namespaces/{namespace}/plans/brain")
                return _is_ready(plans) and await self._tidy(namespace)

            await until(ready, "the Plans to be ready", 120)

    async def create(self, namespace: str, name: str, folds: tuple[str, ...] = ("0",)) -> Manifest:
        """A run of these folds, as the API server answers."""
        spec = {"plansRef": {"name": "brain"}, "configuration": "2d", "folds": list(folds)}
        return await self._post("TrainingRun", "trainingruns", namespace, name, spec)

    async def _post(self, kind: str, plural: str, namespace: str, name: str, spec: Manifest) -> Manifest:
        meta = {"name": name, "namespace": namespace}
        manifest = {"apiVersion": "nnunet.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}
        created: Manifest = await self._client.request("POST", f"{API}/namespaces/{namespace}/{plural}", manifest)
        return created

    @asynccontextmanager
    async def finishing(self, namespace: str, names: list[str]) -> AsyncIterator[dict[str, str]]:
        """On leaving: all these runs are Ready and their Jobs are gone. Yields their uids by name, as they come."""
        uids: dict[str, str] = {}
        ready: set[str] = set()

        async def watch() -> None:
            async for _, run in self._client.watch(f"{API}/namespaces/{namespace}/trainingruns", began=began):
                if name := run["metadata"].get("name"):
                    uids[name] = run["metadata"]["uid"]
                    if _is_ready(run):
                        ready.add(name)

        began = asyncio.Event()
        watching = asyncio.create_task(watch())
        try:
            await began.wait()
            yield uids

            def done() -> bool:
                if watching.done():
                    watching.result()
                return len(ready) == len(names)

            patience = 120 + len(names)
            await until(done, lambda: f"{len(names) - len(ready)} runs to be Ready", patience)
            await until(lambda: self._tidy(namespace), "the Jobs and work orders to be deleted", patience)
        finally:
            watching.cancel()

    async def _tidy(self, namespace: str) -> bool:
        """Whether no Job and no work order is left."""
        for kind in (f"{JOBS}/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/configmaps"):
            if (await self._client.request("GET", f"{kind}?limit=1&labelSelector={MANAGED}"))["items"]:
                return False
        return True

    async def delete(self, namespace: str) -> None:
        """Have nothing of a part stay in the API server."""
        await self._client.request("DELETE", f"/api/v1/namespaces/{namespace}")

        async def gone() -> bool:
            return await self._client.request("GET", f"/api/v1/namespaces/{namespace}") is None

        await until(gone, f"namespace {namespace} to go", 900, every=2)


def _is_ready(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
