"""What a GitOps controller does, on the real API server: it applies again and again, prunes, and creates again."""

from __future__ import annotations

import copy
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_operator.api.resources import PLURALS
from nnunet_trainer.contract import report as reports
from nnunet_trainer.contract import work_order
from nnunet_trainer.contract.work_order import TrainOrder
from nnunet_trainer.steps.train import run_digest
from nnunet_trainer.training.recipes import presets, recipe
from support import audit
from support.apiclient import APPLY, ApiClient, ApiError, Manifest, wait_until
from support.controlplane import ROOT, ControlPlane
from support.faults.supervisor import Supervisor
from support.operator import OperatorProcess
from support.pretend import Ending, PretendKubelet, succeed
from support.third_party import chart
from support.third_party.kstatus import compute
from support.third_party.kubectl import kubectl

pytestmark = pytest.mark.controlplane

API_VERSION = "nnunet.dev/v1alpha1"
STORAGE = {"uri": "s3://nnunet", "secretName": "s3"}


def quickstart(namespace: str) -> list[Manifest]:
    files = sorted((ROOT / "examples" / "quickstart").glob("*.yaml"))
    found = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    return [{**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}} for manifest in found]


@dataclass
class GitOpsController:
    """Applies manifests as a field manager of its own, never by force: a conflict would be an error."""

    api: ApiClient
    manifests: list[Manifest]
    applied: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def sync(self) -> None:
        """Apply all that differs, and nothing else."""
        for manifest in self.manifests:
            if self.drift(manifest):
                self._apply(manifest)
                self.applied[f"{manifest['kind']}/{manifest['metadata']['name']}"] += 1

    def drift(self, manifest: Manifest) -> bool:
        """Whether an apply would change what is there, by a dry run, as Flux and Argo CD find out."""
        meta = manifest["metadata"]
        live = self.api.get(API_VERSION, manifest["kind"], meta["namespace"], meta["name"])
        return live is None or _decided(self._apply(manifest, dry=True)) != _decided(live)

    def prune(self) -> None:
        for manifest in self.manifests:
            self.api.delete(manifest)

    def _apply(self, manifest: Manifest, *, dry: bool = False) -> Manifest:
        path = (
            f"{self.api._path_of(manifest)}?fieldManager=kustomize-controller&fieldValidation=Strict{'&dryRun=All' if dry else ''}"
        )
        answer: Manifest = self.api.request("PATCH", path, manifest, content_type=APPLY)
        return answer

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Sync all the time while the block runs."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(0.2):
                try:
                    self.sync()
                except ApiError as error:
                    self.problems.append(str(error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(60)


def _decided(manifest: Manifest) -> Manifest:
    """What people decide: spec, labels, annotations."""
    metadata = {name: manifest["metadata"].get(name) for name in ("labels", "annotations")}
    return {"spec": manifest["spec"], **metadata}


@dataclass
class Trainer:
    """Pretended trainings that find what was trained before, by the real trainer's digest, as it would lie in the store."""

    trained: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)

    def __call__(self, order: Manifest, pod: Manifest) -> Ending:
        ending = succeed(order, pod)
        if order["step"] != "train":
            return ending
        whole = work_order.decode(json.dumps(order))
        assert isinstance(whole, TrainOrder)
        report = reports.decode(ending.message)
        assert report is not None
        sha = report.summary["checkpointSha256"] if whole.pretrained else None
        resolved = recipe.digested(presets.resolve(whole.trainer.name, whole.trainer.base, whole.trainer.recipe))
        place = f"{whole.run}/{whole.fold}/{run_digest(whole, resolved, sha)}"
        (self.found if self.trained[place] else self.trained)[place] += 1
        return ending


@pytest.fixture
def operator(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[OperatorProcess]:
    """In a namespace that enforces Pod Security: the admission takes every pod of the chain from the Job controller."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    here = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    control_plane.admin.patch(here, {"metadata": {"labels": labels}})
    values = {"watchNamespaces": [namespace], "rbac": {"aggregate": False}, "storage": STORAGE}
    with Supervisor(chart.operator(control_plane, namespace, values, tmp_path)) as deployment:
        yield deployment.operator


def test_a_second_field_manager_applies_prunes_and_creates_again(
    control_plane: ControlPlane, namespace: str, operator: OperatorProcess
) -> None:
    api, trainer = control_plane.admin, Trainer()
    controller = GitOpsController(api, quickstart(namespace))
    given = copy.deepcopy(controller.manifests)

    def standing() -> dict[str, str]:
        live = {
            f"{m['kind']}/{m['metadata']['name']}": api.get(API_VERSION, m["kind"], namespace, m["metadata"]["name"]) for m in given
        }
        return {name: compute(manifest) if manifest and "status" in manifest else "NotFound" for name, manifest in live.items()}

    def all_current() -> bool:
        return set(standing().values()) == {"Current"}

    names = [f"{PLURALS[m['kind']]}.nnunet.dev/{m['metadata']['name']}" for m in given]
    with PretendKubelet(api, namespace, trainer) as kubelet:
        with controller.syncing():
            wait_until(lambda: len(controller.applied) == len(given), what="all to be applied")
            # As a person or a pipeline waits.
            arguments = ("wait", "--for=condition=Ready", "--timeout=180s", "-n", namespace, *names)
            kubectl(*arguments, kubeconfig=control_plane.kubeconfig, timeout=240)
            wait_until(all_current, what=standing)
        assert Counter(kubelet.steps()) == {"dataset": 2, "plan": 1, "transfer": 1, "preprocess": 2, "train": 3}
        assert set(controller.applied.values()) == {1}, f"something changed what was applied: {controller.applied}"
        assert set(trainer.trained.values()) == {1}

        controller.prune()
        for version, kind in ((API_VERSION, "Plans"), ("batch/v1", "Job"), ("v1", "ConfigMap"), ("v1", "Service")):
            wait_until(
                lambda version=version, kind=kind: not _ours(api, version, kind, namespace),
                what=lambda version=version, kind=kind: f"{kind} {_ours(api, version, kind, namespace)} to go with its owner",
            )
        assert set(standing().values()) == {"NotFound"}

        with controller.syncing():
            wait_until(lambda: set(controller.applied.values()) == {2}, what=lambda: controller.applied)
            wait_until(all_current, what=standing)

    assert controller.problems == []
    assert set(trainer.trained.values()) == {1}, "nothing was trained twice"
    assert sum(trainer.found.values()) == 3, "what was trained before was found again"
    assert set(controller.applied.values()) == {2}
    assert [m for m in given if controller.drift(m)] == []
    _only_the_status_was_written(control_plane, namespace)


def _ours(api: ApiClient, version: str, kind: str, namespace: str) -> list[str]:
    found = api.list(version, kind, namespace, labels="app.kubernetes.io/managed-by=nnunet-operator")
    return [one["metadata"]["name"] for one in found]


def _only_the_status_was_written(plane: ControlPlane, namespace: str) -> None:
    """By the audit log: of our kinds the operator writes the status alone, but for the Plans that a PlanTransfer makes."""
    wrote: dict[str, set[tuple[str, str]]] = {}
    for request in audit.requests(plane.folder, namespace, "nnunet-operator"):
        if request.group == "nnunet.dev" and request.verb not in ("get", "list", "watch"):
            wrote.setdefault(request.resource, set()).add((request.verb, request.where.partition("/")[2]))
    assert {f"{plural}/status" for plural in PLURALS.values()} <= wrote.keys(), "the audit log was kept"
    specs: Any = {resource: who for resource, who in wrote.items() if "/" not in resource}
    assert specs == {"plans": {("patch", "hippocampus-to-source")}}
