"""`spec.failurePolicy.preRunningDeadlineSeconds` counts from being scheduled."""

from __future__ import annotations

from collections.abc import Callable

from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_a_pod_that_cannot_start_is_given_up_after_the_deadline(train: Train) -> None:
    world = train(failurePolicy={"preRunningDeadlineSeconds": 600, "maxRestarts": 1})
    world.hold(world.job(owner_name="run"), "ImagePullBackOff", "no such image")
    world.settle()
    _status, reason, message = world.condition("TrainingRun", "run")
    assert reason == "ImagePullFailed"
    assert "no such image" in message
    assert "imagePullSecrets" in message
    world.wait(seconds=601)
    world.settle()
    assert world.fold("run")["reason"] == "PreRunningDeadlineExceeded"
    world.end_deletions()
    world.wait(seconds=10)
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["restarts"]) == (1, 1)


def test_waiting_for_a_gpu_takes_as_long_as_it_takes(train: Train) -> None:
    world = train(failurePolicy={"preRunningDeadlineSeconds": 600})
    world.schedule(world.job(owner_name="run"), node=None)
    world.wait(days=9)
    world.settle()
    _status, reason, message = world.condition("TrainingRun", "run")
    assert reason == "Unschedulable"
    assert "Insufficient nvidia.com/gpu" in message
    assert world.fold("run")["attempt"] == 0
