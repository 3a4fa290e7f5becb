"""The process runner as the node of a real API server, beside the real Job controller."""

from __future__ import annotations

import base64
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.node import ProcessNode

pytestmark = pytest.mark.controlplane

Manifest = dict[str, Any]
POLICY = {"rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}


@pytest.fixture
def node(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[ProcessNode]:
    with ProcessNode(control_plane, tmp_path / "node", namespaces=[namespace], interval=0.05) as running:
        yield running


def job(namespace: str, name: str, script: str, *args: str, **pod: Any) -> Manifest:
    container = {
        "name": "trainer",
        "image": "none",
        "command": [sys.executable, "-c", textwrap.dedent(script)],
        "args": list(args),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "volumeMounts": [{"name": "secret", "mountPath": "/var/run/secrets/s3"}],
    }
    volumes = [{"name": "secret", "secret": {"secretName": "s3"}}]
    template = {
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": volumes,
            **pod,
        }
    }
    spec = {"backoffLimit": 0, "podFailurePolicy": POLICY, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def ended(control_plane: ControlPlane, namespace: str, name: str) -> Manifest:
    def look() -> Manifest | None:
        found = control_plane.admin.get("batch/v1", "Job", namespace, name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)

    return wait_until(look, what=f"Job {name} to end")


def pod_of(control_plane: ControlPlane, namespace: str, name: str) -> Manifest:
    (pod,) = control_plane.admin.list("v1", "Pod", namespace, labels=f"batch.kubernetes.io/job-name={name}")
    return pod


def test_a_pod_runs_reports_and_is_disrupted(
    control_plane: ControlPlane, namespace: str, node: ProcessNode, tmp_path: Path
) -> None:
    api = control_plane.admin
    secret = {"KEY": base64.b64encode(b"value").decode()}
    reader = """
        import json, os, sys
        said = {"key": open(sys.argv[1] + "/KEY").read(), "ip": os.environ["POD_IP"]}
        open(os.environ["NNUNET_TERMINATION_LOG"], "w").write(json.dumps(said))
    """
    api.create(job(namespace, "reads", reader, "/var/run/secrets/s3"))

    def waits() -> bool:
        state = [s["state"] for s in pod_of(control_plane, namespace, "reads")["status"].get("containerStatuses", [])]
        return bool(state) and 'secret "s3" not found' in json.dumps(state).replace('\\"', '"')

    wait_until(lambda: api.list("v1", "Pod", namespace), what="a pod")
    wait_until(waits, what=lambda: f"the Secret to be missed: {node.errors} {pod_of(control_plane, namespace, 'reads')['status']}")
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3", "namespace": namespace}, "data": secret})
    assert ended(control_plane, namespace, "reads")["type"] == "Complete"
    pod = pod_of(control_plane, namespace, "reads")
    said = json.loads(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"])
    assert said == {"key": "value", "ip": pod["status"]["podIP"]}

    graceful = """
        import signal, sys, time
        def stop(*_):
            open(sys.argv[1] + "/saved", "w").close()
            print("stopped in good order")
            sys.exit(143)
        signal.signal(signal.SIGTERM, stop)
        open(sys.argv[1] + "/ready", "w").close()
        time.sleep(600)
    """
    api.create(job(namespace, "evicted", graceful, str(tmp_path)))
    wait_until((tmp_path / "ready").exists, what="the process")
    pod = pod_of(control_plane, namespace, "evicted")
    node.evict(pod)
    condition = ended(control_plane, namespace, "evicted")
    assert condition["type"] == "Failed"
    assert condition["reason"] == "PodFailurePolicy"
    wanted = f"Pod {namespace}/{pod['metadata']['name']} has condition DisruptionTarget matching FailJob rule at index 0"
    assert condition["message"] == wanted
    assert (tmp_path / "saved").exists()
    assert node.log(pod).read_text() == "stopped in good order\n"
