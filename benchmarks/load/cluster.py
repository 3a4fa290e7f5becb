"""A cluster for `operator_load.py`: the real control plane with an audit log, and kwok, which runs Jobs' pods to a real report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .client import Client, Manifest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from support import pretend  # noqa: E402
from support.controlplane import NODE, ControlPlane, assets, stop  # noqa: E402

STORAGE = "s3://nnunet"
OPERATOR = "nnunet-operator"
"""The operator's user agent, by which the audit log tells its writes from others'."""

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Request, verbs: [create, update, patch, delete], resources: [
    {group: "", resources: [configmaps, services, events]}, {group: batch, resources: [jobs]},
    {group: nnunet.dev, resources: ["*"]}, {group: networking.k8s.io, resources: [networkpolicies]},
    {group: events.k8s.io, resources: [events]}]}
- {level: None}
"""
"""All that the operator may write; what the Job controller and kwok write of statuses and pods is left out."""

RUNNING = """
phase: Running
startTime: {{ Now | Quote }}
conditions:
- {lastTransitionTime: {{ Now | Quote }}, status: "True", type: Initialized}
- {lastTransitionTime: {{ Now | Quote }}, status: "True", type: Ready}
- {lastTransitionTime: {{ Now | Quote }}, status: "True", type: ContainersReady}
containerStatuses:
- {name: trainer, image: example, restartCount: 0, ready: true, state: {running: {startedAt: {{ Now | Quote }}}}}
"""
SUCCEEDED = """
phase: Succeeded
containerStatuses:
- name: trainer
  image: example
  restartCount: 0
  ready: false
  state:
    terminated: {exitCode: 0, reason: Completed, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}, message: 'REPORT'}
"""
NODE_IS_READY = """
conditions:
- {lastHeartbeatTime: {{ Now | Quote }}, lastTransitionTime: {{ Now | Quote }}, status: "True", type: Ready, reason: Ready}
"""
READY_CONDITION = '.status.conditions.[] | select( .type == "Ready" ) | .status'
DELETED, PHASE = ".metadata.deletionTimestamp", ".status.phase"


def _stage(name: str, kind: str, then: Manifest, *when: tuple[str, str, list[str] | None], **labels: str) -> Manifest:
    """One of kwok's: objects of a kind of which all of `when` (key, operator, values) holds become what `then` says."""
    expressions = [{"key": key, "operator": operator} | ({"values": values} if values else {}) for key, operator, values in when]
    selector = {"matchExpressions": expressions} | ({"matchLabels": labels} if labels else {})
    spec = {"resourceRef": {"apiGroup": "v1", "kind": kind}, "selector": selector, "next": then}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _pod_stage(name: str, phase: str, then: str) -> Manifest:
    """What becomes of a training's pod in a phase."""
    here = [(DELETED, "DoesNotExist", None), (PHASE, "In", [phase])]
    return _stage(name, "Pod", {"statusTemplate": then}, *here, **{"nnunet.dev/step": "train"})


def _stages() -> str:
    """A pod starts and ends at once, without a word of progress, with a report."""
    order = {"step": "train", "storage": {"uri": STORAGE}, "namespace": "NAMESPACE", "run": "RUN", "fold": "FOLD"}
    report = pretend.succeed(order, {}).message
    report = report.replace("NAMESPACE", "{{ .metadata.namespace }}")
    for word, label in (("RUN", "nnunet.dev/owner-name"), ("FOLD", "nnunet.dev/fold")):
        report = report.replace(word, f'{{{{ index .metadata.labels "{label}" }}}}')
    stages = [
        _stage("node-initialize", "Node", {"statusTemplate": NODE_IS_READY}, (READY_CONDITION, "NotIn", ["True"])),
        _pod_stage("pod-ready", "Pending", RUNNING),
        _pod_stage("pod-complete", "Running", SUCCEEDED.replace("REPORT", report)),
        _stage("pod-delete", "Pod", {"delete": True}, (DELETED, "Exists", None)),
    ]
    return "\n---\n".join(map(json.dumps, stages))


class Cluster:
    """One control plane with kwok, in an empty folder. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.audit_log, policy = folder / "audit.log", folder / "policy.yaml"
        policy.write_text(POLICY)
        audit = (f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-maxsize=0")
        self.plane = ControlPlane(folder / "plane", apiserver=audit)
        self._kwok: subprocess.Popen[bytes] | None = None
        self._read = 0

    def __enter__(self) -> Cluster:
        self.plane.start()
        stages = self.folder / "stages.yaml"
        stages.write_text(_stages())
        command = [str(assets() / "kwok"), "--kubeconfig", str(self.plane.kubeconfig), "--manage-single-node", NODE]
        with (self.folder / "kwok.log").open("ab") as log:
            self._kwok = subprocess.Popen([*command, "--config", str(stages)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._kwok is not None:
            stop(self._kwok.pid)
            self._kwok.wait()
        self.plane.stop()

    def writes(self, agent: str = OPERATOR) -> list[Manifest]:
        """The audit log's entries of one client's writes since the last call."""
        with self.audit_log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        found = [json.loads(line) for line in whole.splitlines()]
        return [entry for entry in found if agent in ("", entry.get("userAgent"))]

    def client(self) -> Client:
        """A client with rights to everything."""
        return Client(self.plane.url, self.plane.token, self.plane.ca)
