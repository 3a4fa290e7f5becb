"""The quickstart's own manifests on the real API server, with pods as processes and artifacts in a real S3 server.

They train for fewer iterations than people's, with fewer cases; `make e2e` applies them as they are, to a real node.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.store import ObjectStore
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.work_order import Location
from support import quickstart
from support.apiclient import ApiClient, wait_until
from support.controlplane import ControlPlane
from support.datasets import copy_examples
from support.faults.supervisor import Supervisor
from support.node import ProcessNode
from support.operator import OperatorProcess
from support.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server
from support.third_party import chart

pytestmark = [pytest.mark.controlplane, pytest.mark.s3, pytest.mark.e2e, pytest.mark.xdist_group("quickstart-on-a-cluster")]

API_VERSION = "nnunet.dev/v1alpha1"
MINUTES = 60


@pytest.fixture
def bucket(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The bucket with the raw images, as the user of the quickstart has put them there."""
    monkeypatch.setenv(pod.ENV_SECRETS, str(tmp_path / "secrets"))
    place = s3_server.mount(tmp_path / "secrets")
    store = open_store(Location(uri=f"s3://{BUCKET}", endpoint=place.endpoint, region=place.region, secret_name=place.secret_name))
    data = copy_examples(tmp_path / "data")
    for file in sorted(path for path in data.rglob("*") if path.is_file()):
        store.put_file(file, f"raw/{file.relative_to(data).as_posix()}")
    return store


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: str, s3_server: S3Server, tmp_path: Path) -> Iterator[OperatorProcess]:
    """As the chart runs it, under the chart's own Role: it may read no Secret. It is started again where it loses its lease."""
    storage = {"uri": f"s3://{BUCKET}/artifacts", "endpoint": s3_server.endpoint, "region": "us-east-1", "secretName": "s3"}
    values = {"watchNamespaces": [namespace], "storage": {**storage, "pathStyle": True}}
    with Supervisor(chart.operator(control_plane, namespace, values, tmp_path)) as deployment:
        yield deployment.operator


def manifests(namespace: str, seed: int) -> list[dict[str, Any]]:
    files = quickstart.manifests(epochs=2, iterations=2)
    found = [document for text in files.values() for document in yaml.safe_load_all(text) if document]
    random.Random(seed).shuffle(found)
    for manifest in found:
        manifest["metadata"]["namespace"] = namespace
    return found


def secret(namespace: str) -> dict[str, Any]:
    values = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3", "namespace": namespace}, "data": data}


def condition(api: ApiClient, namespace: str, kind: str, name: str, type_: str = "Ready") -> dict[str, Any]:
    found = api.get(API_VERSION, kind, namespace, name) or {}
    conditions = found.get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == type_), {"status": "Unknown"})


def test_applied_all_at_once_in_any_order_it_ends_ready(
    control_plane: ControlPlane, namespace: str, operator: OperatorProcess, bucket: ObjectStore, tmp_path: Path
) -> None:
    api, wanted = control_plane.admin, manifests(namespace, seed=20)
    api.apply(secret(namespace))
    with ProcessNode(control_plane, tmp_path / "node", namespaces=[namespace], interval=1):
        api.apply_all(wanted)

        def settled() -> bool:
            standings = {(m["kind"], m["metadata"]["name"]): m["metadata"]["name"] for m in wanted}
            now = {key: condition(api, namespace, *key) for key in standings}
            stalled = {key: condition(api, namespace, *key, "Stalled") for key in standings}
            broken = {str(key): item for key, item in stalled.items() if item["status"] == "True"}
            assert not broken, json.dumps(broken, indent=1)
            return all(item["status"] == "True" for item in now.values())

        wait_until(settled, timeout=15 * MINUTES, what=lambda: json.dumps(_standing(api, namespace, wanted), indent=1))

    run = api.get(API_VERSION, "TrainingRun", namespace, "finetune")
    assert run is not None
    fold = run["status"]["folds"][0]
    assert fold["state"] == "Succeeded"
    assert 0 < fold["validationDice"] <= 1
    names = {info.key for info in bucket.list("artifacts/runs/")}
    for name in ("checkpoint_final.pth", "progress.png", "validation/summary.json", "training_log"):
        assert any(f"/{namespace}/finetune/" in key and name in key for key in names), (name, sorted(names))
    wait_until(lambda: not api.list("batch/v1", "Job", namespace), what="the Jobs to go, their results are in the status")


def _standing(api: ApiClient, namespace: str, wanted: list[dict[str, Any]]) -> dict[str, str]:
    found = {}
    for manifest in wanted:
        item = condition(api, namespace, manifest["kind"], manifest["metadata"]["name"])
        found[f"{manifest['kind']}/{manifest['metadata']['name']}"] = f"{item.get('reason')}: {item.get('message')}"
    return found
