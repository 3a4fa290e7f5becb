"""A watch that pauses between its reads, over the API server's own TLS: whatever its size, all of it comes."""

from __future__ import annotations

import asyncio

import pytest
from nnunet_operator.cluster.api.kinds import JOB
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.manifests import names
from support.apiclient import Manifest
from support.controlplane import ControlPlane

LONG = "x" * 200_000


def job(namespace: str, name: str) -> Manifest:
    container = {"name": "c", "image": "example"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER},
            "annotations": {"long": LONG},
        },
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


@pytest.mark.controlplane
async def test_every_object_is_told_as_it_stands_in_the_end(control_plane: ControlPlane, namespace: str) -> None:
    api = await connect(control_plane.kubeconfig)
    wanted = {f"job-{i}" for i in range(20)}
    told: dict[str, str] = {}

    async def watch(version: str) -> None:
        async for event in api.watch(JOB, namespace, version, 120, pause=0.1):
            if event["type"] in ("ADDED", "MODIFIED"):
                meta = event["object"]["metadata"]
                assert meta["annotations"]["long"] == LONG
                told[meta["name"]] = meta["annotations"].get("last", "")
                if told == dict.fromkeys(wanted, "yes"):
                    return

    try:
        pages = [page async for page in api.pages(JOB, namespace)]
        watching = asyncio.create_task(watch(pages[0]["metadata"]["resourceVersion"]))
        await asyncio.gather(*(api.create(job(namespace, name)) for name in sorted(wanted)))
        last = {"metadata": {"annotations": {"last": "yes"}}}
        await asyncio.gather(*(api.merge(JOB, namespace, name, last) for name in sorted(wanted)))
        await asyncio.wait_for(watching, 60)
    finally:
        await api.close()
