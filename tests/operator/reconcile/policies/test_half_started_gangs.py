"""Runs of several nodes that hold nodes from each other: each gives its own back in time, and all finish."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from nnunet_operator.api.common import FailurePolicySpec, WorkStatus
from nnunet_operator.reconcile.observed.attempt_states import Pending, Running
from nnunet_operator.reconcile.policies import failure_policy, pre_running_deadline_seconds
from nnunet_operator.reconcile.work import Work
from support.world import START, MemoryWorld, stamp

DEADLINE = 600
TRAINING_SECONDS = 900
STEP = 60


class Scheduler:
    """Binds pods one by one to so many GPUs, those of index 0 first: the worst order. A run with all its pods trains on.

    `slow`: a pod that is deleted takes its whole grace.
    """

    def __init__(self, world: MemoryWorld, gpus: int, *, slow: bool) -> None:
        self.world, self.gpus, self.slow = world, gpus, slow
        self.together: dict[str, Any] = {}

    def tick(self) -> None:
        world = self.world
        world.end_deletions(overdue=self.slow)
        pods = [pod for job in world.jobs(step="train") for pod in world.schedule(job, node=None)]
        everyone = [pod for pod in world.objects.values() if pod["kind"] == "Pod" and "nodeName" in pod["spec"]]
        free = self.gpus - sum(pod["status"]["phase"] == "Running" for pod in everyone)
        waiting = [pod for pod in pods if "nodeName" not in pod["spec"] and not pod["metadata"].get("deletionTimestamp")]
        for pod in sorted(waiting, key=lambda pod: pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])[:free]:
            pod["spec"]["nodeName"] = "node-a"
            pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(world.now)}]
            state = {"running": {"startedAt": stamp(world.now)}}
            pod["status"] |= {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": state}]}
        for job in world.jobs(step="train"):
            name = job["metadata"]["name"]
            if job.get("status") or not all(pod["status"]["phase"] == "Running" for pod in world.pods(name)):
                continue
            since = self.together.setdefault(name, world.now)
            if (world.now - since).total_seconds() >= TRAINING_SECONDS:
                world.finish(job)


@pytest.mark.parametrize(("runs", "gpus", "slow"), [(2, 3, False), (2, 2, False), (3, 3, False), (3, 2, False), (2, 2, True)])
def test_all_finish(prepared: MemoryWorld, runs: int, gpus: int, slow: bool) -> None:
    world = prepared
    names = [f"run-{i}" for i in range(runs)]
    spec = {
        "plansRef": {"name": "plans"},
        "folds": ["0"],
        "workers": {"nodes": 2},
        "failurePolicy": {"maxRestarts": 0, "preRunningDeadlineSeconds": DEADLINE},
    }
    for name in names:
        world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": name}, "spec": spec})
    scheduler = Scheduler(world, gpus, slow=slow)
    for _ in range(12 * 3600 // STEP):
        world.turn()
        scheduler.tick()
        if all(world.status("TrainingRun", name)["folds"][0]["state"] == "Succeeded" for name in names):
            break
        world.wait(seconds=STEP)
    for name in names:
        fold = world.fold(name)
        assert fold["state"] == "Succeeded", (name, fold)
        assert (fold.get("restarts", 0), fold.get("disruptions", 0)) == (0, 0), "giving back counts as neither"
    given_back = [event.message for _, event in world.events if "gave its nodes back" in event.message]
    assert given_back or (runs, gpus) == (2, 3), "they stood in each other's way"


def test_it_says_what_it_waited_for_and_when_it_goes_on(train: Callable[..., MemoryWorld]) -> None:
    world = train(workers={"nodes": 2}, failurePolicy={"preRunningDeadlineSeconds": DEADLINE})
    job = world.job(owner_name="run")
    first, second = world.schedule(job)
    first["status"] |= {"containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": stamp(world.now)}}}]}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
    second["status"]["conditions"] = [unscheduled]
    world.wait(seconds=DEADLINE - 1)
    world.settle()
    assert world.fold("run")["state"] == "Running"
    assert world.fold("run").get("runningSince") is None, "activeDeadlineSeconds counts from when all run"
    world.wait(seconds=1)
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["reason"]) == ("BackingOff", "PreRunningDeadlineExceeded")
    assert "gave its nodes back: within 10m of its first pod's start pod" in fold["message"]
    assert "3 Insufficient nvidia.com/gpu. Attempt 2 starts at" in fold["message"]
    assert "Not counted as a restart." in fold["message"]
    assert first["metadata"]["deletionTimestamp"], "it holds no node any more"


@pytest.mark.parametrize("skew", [-86400, -1800, -5, 0])
def test_a_node_whose_clock_is_behind_gets_the_whole_time(train: Callable[..., MemoryWorld], skew: int) -> None:
    world = train(workers={"nodes": 2}, failurePolicy={"preRunningDeadlineSeconds": DEADLINE})
    first, second = world.schedule(world.job(owner_name="run"))
    started = {"running": {"startedAt": stamp(world.now + timedelta(seconds=skew))}}
    first["status"] |= {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": started}]}
    second["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}]
    world.wait(seconds=DEADLINE - 1)
    world.settle()
    assert world.fold("run")["state"] == "Running", "the node says when its container started; the API server, since when it could"
    world.wait(seconds=1)
    world.settle()
    assert world.fold("run")["reason"] == "PreRunningDeadlineExceeded"


@pytest.mark.parametrize("late", [0, 60, 86400])
def test_the_back_off_counts_from_when_it_is_given_back(train: Callable[..., MemoryWorld], late: int) -> None:
    """An operator that was away, or any clock that is wrong: it is never given back over and over without a pause."""
    world = train(workers={"nodes": 2}, failurePolicy={"preRunningDeadlineSeconds": DEADLINE})
    first, second = world.schedule(world.job(owner_name="run"))
    first["status"] |= {"containerStatuses": [{"name": "trainer", "state": {"running": {"startedAt": stamp(world.now)}}}]}
    second["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available."}]
    world.wait(seconds=DEADLINE + late)
    world.settle()
    assert world.fold("run")["state"] == "BackingOff"
    assert world.fold("run")["notBefore"] >= stamp(world.now + timedelta(seconds=failure_policy.FIRST_DELAY))


def test_a_shard_that_runs_is_not_given_back_for_one_that_waits() -> None:
    work = Work(
        owner_kind="Plans",
        step="preprocess",
        part="2d",
        title="2d",
        status=WorkStatus(),
        stored=WorkStatus(),
        policy=FailurePolicySpec(pre_running_deadline_seconds=1),
        artifact="preprocessed",
    )
    running = Running("pod-0", START, Pending("Unschedulable", pod="pod-1"))
    assert pre_running_deadline_seconds.check_gang(work, running, START + timedelta(days=1)) is None
