"""Why an attempt failed, in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from nnunet_operator.reconcile.observed.failures import DISRUPTIONS, STOPPED_BY_SHELL
from nnunet_trainer.contract.report import Error
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


def test_a_stop_of_the_local_shell_is_called_that(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=4, epochs=10)
    world.settle()
    world.disrupt(job, STOPPED_BY_SHELL)
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert [event.message for event in outcome.events] == [
        "fold 0 (attempt 1) was stopped with the local shell at epoch 4. It goes on with the next `nnunet-operator local run`. "
        "Attempt 2 starts from epoch 4 or the checkpoint before it. Not counted as a restart."
    ]


def test_a_full_disk_of_its_own_is_permanent(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    pod = world.run(job)[0]
    world.fail(job, 137)
    pod["status"].update(reason="Evicted", message='Usage of EmptyDir volume "scratch" exceeds the limit "1Gi".')
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["reason"]) == ("Failed", "OutOfDisk")
    assert "scratch.size" in world.fold("run")["message"]


def test_of_several_pods_the_first_to_fail_is_told(train: Train) -> None:
    world = train(workers={"nodes": 2})
    job = world.job(owner_name="run")
    world.run(job)
    world.fail(job, 1, error=Error(code=1, reason="Killed", message="rank 1 was ended by SIGSEGV"))
    world.settle()
    assert "rank 1 was ended by SIGSEGV" in world.fold("run")["message"]


def test_the_longest_words_of_a_cluster_fit_into_the_status(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.hold(job, "ErrImagePull", "x" * 50_000)
    world.settle()
    assert len(world.fold("run")["message"]) == 8192
    assert len(world.condition("TrainingRun", "run")[2]) <= 32_768


@pytest.mark.parametrize(("reason", "said"), DISRUPTIONS.items())
def test_a_disrupted_pod_that_went_before_its_job_said_so_is_quoted(train: Train, reason: str, said: str) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.disrupt(job, reason, epoch=7)
    world.lose_pods(job)
    world.settle()
    message = next(event.message for _, event in world.events if event.reason == "Disrupted")
    assert f"fold 0 (attempt 1) {said} (node node-a) at epoch 7." in message
    assert (world.fold("run")["disruptions"], world.fold("run")["restarts"], world.fold("run")["epoch"]) == (1, 0, 7)


@pytest.mark.parametrize("code", [1, 74, 139])
def test_an_error_of_a_pod_that_is_gone_is_quoted(train: Train, code: int) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.fail(job, code, error=Error(code=code, reason="StorageUnavailable", message="s3 does not answer"))
    world.lose_pods(job)
    world.settle()
    assert (world.fold("run")["reason"], world.fold("run")["restarts"]) == ("StorageUnavailable", 1)
    assert "s3 does not answer" in world.fold("run")["message"]


def test_what_was_made_by_a_pod_that_is_gone_counts(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.finish(job, report_of(job))
    world.lose_pods(job)
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["restarts"]) == ("Succeeded", 0)


def test_a_pod_that_is_gone_before_its_job_has_ended_is_no_reason_to_decide(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.disrupt(job)
    conditions = job["status"].pop("conditions")
    world.lose_pods(job)
    world.settle()
    assert world.fold("run")["state"] == "Starting"
    assert world.fold("run").get("disruptions", 0) == 0
    job["status"]["conditions"] = conditions
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["disruptions"]) == (1, 1)
