"""Whoever asks how an object stands gets the same answer: kstatus (Flux), Argo CD's Lua, and our own command line."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
import yaml
from nnunet_operator.api import kstatus
from nnunet_operator.api.kstatus import Status
from nnunet_operator.api.schema import crds
from nnunet_trainer.contract.report import Error
from support.apiclient import Manifest
from support.controlplane import ROOT
from support.third_party import argocd
from support.third_party import kstatus as reference
from support.third_party.chart import chart
from support.world import KINDS, MemoryWorld

QUICKSTART = sorted((ROOT / "examples" / "quickstart").glob("[0-9]*.yaml"))
FLUX = ROOT / "examples" / "gitops" / "flux"
FOR_KSTATUS = {Status.IN_PROGRESS: "InProgress", Status.SUSPENDED: "InProgress", Status.CURRENT: "Current", Status.FAILED: "Failed"}
FOR_ARGO_CD = {
    Status.IN_PROGRESS: "Progressing", Status.SUSPENDED: "Suspended", Status.CURRENT: "Healthy", Status.FAILED: "Degraded",
}  # fmt: skip


class RecordingWorld(MemoryWorld):
    """Keeps every standing that an object ever had, and what stood there when its spec had just changed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Manifest] = []

    def settle(self, limit: int = 50) -> None:
        for _ in range(limit):
            self.seen += [copy.deepcopy(m) for key, m in self.objects.items() if key.kind in KINDS]
            if not self.turn():
                return

    def finish_all(self) -> None:
        for _ in range(30):
            self.settle()
            open_ = [job for job in self.jobs() if not job.get("status", {}).get("conditions")]
            if not open_:
                return
            for job in open_:
                self.run(job)
                self.settle()
                self.finish(job)


@pytest.fixture(scope="module")
def standings() -> list[Manifest]:
    """All standings of a whole chain: suspended and resumed, failed and tried again, changed after it was Ready."""
    world = RecordingWorld()
    for file in QUICKSTART:
        for document in yaml.safe_load_all(file.read_text()):
            world.put(document)
    world.edit("TrainingRun", "scratch", suspend=True)
    world.settle()
    (first, *_) = world.jobs()
    world.fail(first, code=65, error=Error(code=65, reason="InvalidCases", message="one case has no label"))
    world.settle()
    for name in ("hippocampus", "source"):
        world.edit("Dataset", name, rerun="1")
    world.finish_all()
    world.edit("TrainingRun", "scratch", suspend=False)
    world.finish_all()
    world.edit("TrainingRun", "finetune", maxParallelFolds=2)
    world.seen += [copy.deepcopy(m) for key, m in world.objects.items() if key.kind in KINDS]
    world.settle()
    return [json.loads(text) for text in dict.fromkeys(json.dumps(manifest) for manifest in world.seen)]


def test_all_agree_on_every_standing_of_a_chain(standings: list[Manifest]) -> None:
    seen = set()
    for manifest in standings:
        ours = kstatus.compute(manifest)
        seen.add(ours)
        if "status" in manifest:  # without one kstatus calls every unknown kind Current: Flux looks again after the operator did
            assert reference.compute(manifest) == FOR_KSTATUS[ours], manifest
        assert argocd.health(manifest)["status"] == FOR_ARGO_CD[ours], manifest
    assert seen == set(Status), "the chain went through all of them"


def test_a_status_says_which_generation_it_is_of(standings: list[Manifest]) -> None:
    for manifest in standings:
        for condition in (manifest.get("status") or {}).get("conditions", ()):
            assert condition["observedGeneration"] <= manifest["status"]["observedGeneration"] <= manifest["metadata"]["generation"]


def test_argo_cd_shows_the_reason_and_what_to_do(standings: list[Manifest]) -> None:
    stalled = next(m for m in standings if kstatus.compute(m) is Status.FAILED)
    assert argocd.health(stalled)["message"] == ": ".join(kstatus.reason(stalled))
    assert argocd.health({"metadata": {"generation": 1}, "spec": {}})["status"] == "Progressing"


# -- actions --


@cache
def fields(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = crds.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return found


def test_each_kind_has_the_actions_that_its_fields_allow() -> None:
    for kind in KINDS:
        wanted = {"rerun"} | ({"suspend", "resume"} if "suspend" in fields(kind) else set())
        assert argocd.defined(kind) == wanted, kind


@pytest.mark.parametrize("action", ["rerun", "suspend", "resume"])
def test_an_action_changes_its_own_field_alone(action: str, standings: list[Manifest]) -> None:
    for manifest in standings:
        if action not in argocd.defined(manifest["kind"]):
            continue
        after = argocd.act(action, copy.deepcopy(manifest))
        changed = {name: value for name, value in after["spec"].items() if manifest["spec"].get(name) != value}
        if action == "rerun":
            assert changed.keys() == {"rerun"}
            assert 0 < len(changed["rerun"]) <= fields(manifest["kind"])["rerun"]["maxLength"]
        else:
            assert after["spec"]["suspend"] is (action == "suspend")
            assert changed.keys() <= {"suspend"}
        assert after["metadata"] == manifest["metadata"]


def test_actions_are_offered_where_they_do_something(standings: list[Manifest]) -> None:
    offered = {(kstatus.compute(m), frozenset(argocd.actions(m))) for m in standings if m["kind"] == "TrainingRun"}
    assert (Status.SUSPENDED, frozenset({"rerun", "resume"})) in offered
    assert (Status.IN_PROGRESS, frozenset({"rerun", "suspend"})) in offered
    assert (Status.CURRENT, frozenset({"rerun"})) in offered


# -- Flux --


def test_the_flux_example_waits_in_an_order_that_ends() -> None:
    made = [m for file in FLUX.rglob("*.yaml") for m in yaml.safe_load_all(file.read_text())]
    chain = {m["metadata"]["name"]: m["spec"] for m in made if m["kind"] == "Kustomization"}
    assert chain.keys() == {"nnunet-operator", "hippocampus", "serving"}
    for spec in chain.values():
        for dependency in spec.get("dependsOn", ()):
            assert chain[dependency["name"]]["wait"] is True, "whoever is waited for waits for its own objects"
        assert spec["sourceRef"]["name"] in {m["metadata"]["name"] for m in made if m["kind"] == "GitRepository"}
    (release,) = (m for m in made if m["kind"] == "HelmRelease")
    chart().validate_schema(release["spec"]["values"])
