"""`file:` URIs: a condition on a cluster, before any Job; what the local shell reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.world import CHAIN, STORAGE, MemoryWorld

Manifest = dict[str, Any]
FILES = {"uri": "file:///data"}
PLANS = {"kind": "Plans", "spec": {"datasetRef": {"name": "data"}, "storage": FILES}}
TRANSFER_SPEC = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
RUN_SPEC = {"plansRef": {"name": "plans"}, "folds": [0]}

CASES: dict[str, tuple[Manifest, str]] = {
    "dataset-source": ({"kind": "Dataset", "spec": {"name": "Dataset005_X", "source": FILES}}, "spec.source.uri (file:///data)"),
    "dataset-storage": (
        {"kind": "Dataset", "spec": {"name": "Dataset005_X", "source": {"uri": "s3://b/x"}, "storage": FILES}},
        "spec.storage.uri (file:///data)",
    ),
    "plans-storage": (PLANS, "spec.storage.uri (file:///data)"),
    "transfer-storage": ({"kind": "PlanTransfer", "spec": {**TRANSFER_SPEC, "storage": FILES}}, "spec.storage.uri (file:///data)"),
    "run-storage": ({"kind": "TrainingRun", "spec": {**RUN_SPEC, "storage": FILES}}, "spec.storage.uri (file:///data)"),
    "run-weights": (
        {"kind": "TrainingRun", "spec": {**RUN_SPEC, "pretrained": {"uri": "file://localhost/x.pth"}}},
        "spec.pretrained.uri (file://localhost/x.pth)",
    ),
}


def settled(manifest: Manifest, *, local: bool) -> tuple[MemoryWorld, str]:
    """A world whose dataset and plans are Ready, and then this object; the names of the Jobs that were there before."""
    world = MemoryWorld(replace(STORAGE, local_files=local))
    world.put(CHAIN)
    for _ in range(3):
        world.settle()
        for job in world.jobs():
            world.finish(job)
    world.settle()
    world.created.clear()
    world.put({"apiVersion": "nnunet.dev/v1alpha1", **manifest, "metadata": {"name": "mine"}})
    world.settle()
    return world, str(manifest["kind"])


@pytest.mark.parametrize("name", CASES)
def test_on_a_cluster_it_is_said_before_any_job(name: str) -> None:
    manifest, what = CASES[name]
    world, kind = settled(manifest, local=False)
    assert world.created == []
    status, reason, message = world.condition(kind, "mine")
    assert (status, reason) == ("False", "LocalFile")
    assert what in message
    assert "s3://bucket/prefix or pvc://claim/path" in message
    assert world.condition(kind, "mine", "Stalled")[0] == "True"


@pytest.mark.parametrize("name", CASES)
def test_the_local_shell_takes_it(name: str) -> None:
    manifest, _ = CASES[name]
    world, kind = settled(manifest, local=True)
    assert world.condition(kind, "mine")[1] != "LocalFile"
    assert world.created != []


def test_all_such_fields_are_told_at_once() -> None:
    spec = {"name": "Dataset005_X", "source": FILES, "storage": {"uri": "file:///store"}}
    world, kind = settled({"kind": "Dataset", "spec": spec}, local=False)
    assert "spec.storage.uri (file:///store), spec.source.uri (file:///data)" in world.condition(kind, "mine")[2]
