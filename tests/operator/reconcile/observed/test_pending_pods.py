"""Why a pod does not run yet, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_a_job_without_pods_is_explained_after_a_while(train: Train) -> None:
    world = train()
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    assert "attempt 1 is being started" in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=61)
    world.settle()
    assert "quota" in world.condition("TrainingRun", "run")[2]


def test_a_slow_start_is_explained_after_a_while(train: Train) -> None:
    world = train()
    world.hold(world.job(owner_name="run"), "ContainerCreating")
    before = world.writes
    world.settle()
    assert world.writes == before, "an ordinary start is not worth a write"
    world.wait(seconds=61)
    world.settle()
    assert "has been starting (image, volumes) since" in world.condition("TrainingRun", "run")[2]


VOLUMES = [
    {"name": "order", "configMap": {"name": "run-order"}},
    {"name": "secret-0", "secret": {"secretName": "s3"}},
    {"name": "ca-0", "configMap": {"name": "corporate-ca"}},
    {"name": "plugin-0", "configMap": {"name": "maybe", "optional": True}},
    {"name": "claim-0", "persistentVolumeClaim": {"claimName": "results"}},
    {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
    {"name": "tmp", "emptyDir": {}},
]


@pytest.mark.parametrize("reason", ["", "ContainerCreating", "PodInitializing"])
def test_after_a_minute_what_the_pod_mounts_is_named(train: Train, reason: str) -> None:
    world = train(failurePolicy={"preRunningDeadlineSeconds": 600, "maxRestarts": 0})
    job = world.job(owner_name="run")
    world.hold(job, reason)
    (pod,) = world.pods(job["metadata"]["name"])
    pod["spec"]["volumes"] = VOLUMES
    world.settle()
    assert "needs" not in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=61)
    world.settle()
    claim = f"PersistentVolumeClaim {pod['metadata']['name']}-scratch"
    needs = f"it needs Secret s3, ConfigMap corporate-ca, PersistentVolumeClaim results, {claim}: do they exist?"
    assert needs in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=600)
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["reason"]) == ("Failed", "PreRunningDeadlineExceeded")
    assert needs in world.fold("run")["message"]
    assert "No attempt is left (maxRestarts is 0)." in world.fold("run")["message"]


def test_our_own_pods_name_their_storage_secret(train: Train) -> None:
    world = train()
    world.hold(world.job(owner_name="run"), "ContainerCreating")
    world.wait(seconds=61)
    world.settle()
    assert "it needs Secret s3: does it exist?" in world.condition("TrainingRun", "run")[2]
