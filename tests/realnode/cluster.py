"""What scenarios do with the cluster: apply, ask, wait, look inside."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.contract import pod
from support.apiclient import ApiClient, Manifest, wait_until
from support.controlplane import ROOT
from support.s3 import ACCESS_KEY, SECRET_KEY, S3Server

from .node.cluster import RealNode

NAMESPACE = "nnunet"
RELEASE = "nnunet-operator"
CHART = ROOT / "charts" / "nnunet-operator"
GROUP = "nnunet.dev/v1alpha1"
KINDS = ("Dataset", "Plans", "PlanTransfer", "TrainingRun")
IMAGES = {"operator": "localhost/nnunet-operator", "trainer": "localhost/nnunet-trainer"}
TAG = "e2e"
BUSYBOX = "localhost/busybox:1"


class Cluster:
    """A real node with its S3 server.

    Args:
        node: started.
        s3: started, at an address that pods reach.
    """

    def __init__(self, node: RealNode, s3: S3Server) -> None:
        self.node, self.s3 = node, s3

    @property
    def api(self) -> ApiClient:
        """A client that may do everything."""
        return self.node.api

    def run(self, program: str, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """kubectl or helm, as a user calls them.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        command = self._command(program, *arguments)
        done = subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=600)
        if check and done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self.node.layout.binaries / program), *arguments, "--kubeconfig", str(self.node.layout.kubeconfig)]
        if "--" in arguments:  # what follows is another program's
            at = command.index("--")
            command = [*command[:at], *command[-2:], *command[at:-2]]
        return command

    @contextmanager
    def followed_log(self, pod: str) -> Iterator[Callable[[], str]]:
        """Follow a pod's log from now on: a pod goes with its Job as soon as its results are seen, and its log with it.

        Yields a function that waits for the log's end, and returns all of it.
        """
        command = self._command("kubectl", "--namespace", NAMESPACE, "logs", "--follow", pod)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield lambda: process.communicate(timeout=120)[0]
            finally:
                process.kill()

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        return self.run("kubectl", "--namespace", NAMESPACE, *arguments, check=check, stdin=stdin)

    def nnunet(self, *arguments: str) -> str:
        """`kubectl nnunet`, with the user's own keys for the storage.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        command = [sys.executable, "-m", "kubectl_nnunet", *arguments, "--namespace", NAMESPACE]
        command += ["--kubeconfig", str(self.node.layout.kubeconfig)]
        environment = {**os.environ, **self.keys(), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        if done.returncode:
            raise RuntimeError(f"kubectl nnunet {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def helm(self, *arguments: str) -> str:
        return self.run("helm", *arguments, "--namespace", NAMESPACE)

    # -- the product --

    def chart_values(self) -> list[str]:
        """The values that the README's install section sets, with this node's images and S3 server."""
        values = {"image.repository": IMAGES["operator"], "image.tag": TAG, "trainer.image.repository": IMAGES["trainer"]}
        values |= {"trainer.image.tag": TAG, "storage.uri": "s3://nnunet/artifacts", "storage.secretName": "s3"}
        values |= {"storage.endpoint": self.s3.endpoint, "storage.region": "us-east-1", "storage.pathStyle": "true"}
        return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]

    def keys(self) -> dict[str, str]:
        """The S3 server's, as a Secret has them."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def secret(self, name: str) -> Manifest:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in self.keys().items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}

    def bucket(self) -> ObjectStore:
        """The bucket, as this machine reaches it."""
        secrets = self.node.layout.data / "secrets"
        os.environ[pod.ENV_SECRETS] = str(secrets)
        return open_store(self.s3.mount(secrets))

    def upload(self, folder: Path, prefix: str) -> None:
        """Put a folder's files below a prefix of the bucket."""
        bucket = self.bucket()
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            bucket.put_file(file, f"{prefix}/{file.relative_to(folder).as_posix()}")

    def keys_below(self, prefix: str) -> list[str]:
        """The keys of the bucket's objects."""
        return sorted(info.key for info in self.bucket().list(prefix))

    def apply(self, manifest: Manifest) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    def object(self, kind: str, name: str) -> Manifest:
        """One of our objects; empty when there is none."""
        return self.api.get(GROUP, kind, NAMESPACE, name) or {}

    def delete(self, kind: str, name: str) -> None:
        """Delete one of our objects, and return when it and its pods are gone."""
        self.kubectl("delete", kind.lower(), name, "--ignore-not-found")
        wait_until(lambda: not self.pods(name), timeout=120, what=f"the pods of {kind} {name} to go")

    def condition(self, kind: str, name: str, type_: str = "Ready") -> dict[str, Any]:
        """A condition of one of our objects; without a status while it is not there."""
        conditions = self.object(kind, name).get("status", {}).get("conditions", [])
        return next((item for item in conditions if item["type"] == type_), {"status": "Unknown"})

    def fold(self, name: str) -> dict[str, Any]:
        """The first fold's status of a TrainingRun."""
        folds = self.object("TrainingRun", name).get("status", {}).get("folds") or [{}]
        return dict(folds[0])

    def said(self, kind: str, name: str) -> str:
        """All that an object's conditions and works say."""
        return json.dumps(self.object(kind, name).get("status", {}), ensure_ascii=False)

    def pods(self, owner: str) -> list[Manifest]:
        """The pods of one of our objects."""
        return self.api.list("v1", "Pod", NAMESPACE, labels=f"nnunet.dev/owner-name={owner}")

    # -- waiting --

    def wait_ready(self, kind: str, name: str, *, seconds: float) -> None:
        """Wait until an object is Ready.

        Raises:
            TimeoutError: with the object's conditions.
            AssertionError: it is Stalled, which it will not leave by itself.
        """

        def ready() -> bool:
            stalled = self.condition(kind, name, "Stalled")
            assert stalled["status"] != "True", f"{kind} {name} is Stalled: {stalled.get('message')}"
            return self.condition(kind, name)["status"] == "True"

        wait_until(ready, timeout=seconds, what=lambda: f"{kind} {name} to be Ready: {self.condition(kind, name)}")

    def wait_epoch(self, name: str, epoch: int, *, seconds: float = 240) -> None:
        """Wait until a run's first fold has finished an epoch."""
        what = lambda: f"TrainingRun {name} to reach epoch {epoch}: {self.said('TrainingRun', name)[:2000]}"  # noqa: E731
        wait_until(lambda: (self.fold(name).get("epoch") or 0) >= epoch, timeout=seconds, what=what)

    def wait_running(self, owner: str, *, seconds: float = 120) -> Manifest:
        """Wait for a pod that runs, and return it."""

        def running() -> Manifest | None:
            found = [one for one in self.pods(owner) if one["status"].get("phase") == "Running"]
            return found[0] if found else None

        return wait_until(running, timeout=seconds, what=f"a pod of {owner} to run")

    # -- when something fails --

    def diagnosis(self) -> str:
        """What is needed to understand a failure: objects, pods, events, and the ends of logs."""
        commands = (["get", "nnunet"], ["get", "pods,jobs", "-o", "wide"], ["get", "events", "--sort-by=.lastTimestamp"])
        ends = ["\n".join(self.kubectl(*command, check=False).splitlines()[-40:]) for command in commands]
        parts = [f"$ kubectl {' '.join(command)}\n{end}" for command, end in zip(commands, ends, strict=True)]
        for item in self.api.list("v1", "Pod", NAMESPACE):
            name, phase = item["metadata"]["name"], item["status"].get("phase")
            if phase != "Succeeded":
                log = self.kubectl("logs", name, "--tail=25", check=False)
                parts.append(f"$ kubectl logs {name}   ({phase})\n{log}")
        return "\n\n".join(parts)


def training(name: str, *, epochs: int = 2, iterations: int = 4, **spec: Any) -> Manifest:
    """A short TrainingRun on the quickstart's plans. `spec` is laid over the rest."""
    recipe = {"epochs": epochs, "iterationsPerEpoch": iterations, "validationIterations": 1}
    trainer = {"name": f"nnUNetTrainer_{name.replace('-', '_')}", "base": "nnUNetTrainer", "recipe": recipe}
    own = {"plansRef": {"name": "hippocampus"}, "configuration": "3d_fullres", "folds": ["0"], "trainer": trainer, "seed": 1}
    own |= {"workers": {"gpusPerNode": 0}, "validation": "Skip"}
    return {
        "apiVersion": GROUP,
        "kind": "TrainingRun",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": own | spec,
    }


def quickstart() -> list[Path]:
    return sorted((ROOT / "examples" / "quickstart").glob("*.yaml"))
