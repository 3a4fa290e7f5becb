"""Why an attempt failed, in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from nnunet_operator.reconcile.observed.failures import DISRUPTIONS, STOPPED_BY_SHELL
from nnunet_trainer.contract.report import Error
from support.world import MemoryWorld, report_of, stamp

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


@pytest.mark.parametrize(
    ("reason", "code", "counted"),
    [
        ("Unknown", 255, (1, 0)),  # containerd, of a container that went with the machine
        ("ContainerStatusUnknown", 137, (1, 0)),  # the kubelet, where containerd forgot it
        ("Error", 255, (0, 1)),
        ("Error", 137, (0, 1)),
        ("Unknown", 1, (0, 1)),
    ],
)
def test_a_container_that_crashed_with_its_node_is_no_restart(
    train: Train, reason: str, code: int, counted: tuple[int, int]
) -> None:
    world = train()
    job = world.job(owner_name="run")
    pod = world.run(job)[0]
    world.fail(job, code)
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = reason
    world.settle()
    fold = world.fold("run")
    assert (fold["disruptions"], fold["restarts"]) == counted
    told = " ".join(event.message for _, event in world.events)
    assert ("was lost with its node (node node-a), which crashed or was started anew" in told) == (counted == (1, 0))


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


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("kubelet", [False, True])
@pytest.mark.parametrize(("code", "took"), [(143, 5), (143, 0), (137, 300)])
def test_pods_that_somebody_deleted_are_no_failure_of_theirs(train: Train, nodes: int, code: int, took: int, kubelet: bool) -> None:
    world = train(failurePolicy={"maxRestarts": 0}, workers={"nodes": nodes})
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.delete_pods_by_hand(job, code, took=took, epoch=3)
    if kubelet:  # its own deletion, once the containers have ended, leaves no trace of when the first one was asked for
        for pod in world.deleted_pods(job["metadata"]["uid"]):
            ends = world.now + timedelta(seconds=2)
            pod["metadata"] |= {"deletionTimestamp": stamp(ends), "deletionGracePeriodSeconds": 0}
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["attempt"], fold["disruptions"], fold.get("restarts", 0)) == ("Starting", 1, 1, 0)
    message = next(event.message for _, event in world.events if event.reason == "Disrupted")
    assert "was stopped: somebody deleted its pod (node node-a)" in message
    assert ("at epoch 3" in message) == (code == 143), "what its report says counts"


def test_a_peer_that_fails_because_a_pod_was_deleted_is_not_blamed(train: Train) -> None:
    world = train(workers={"nodes": 2}, failurePolicy={"maxRestarts": 0})
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.delete_pods_by_hand(job)
    peer = world.deleted_pods(job["metadata"]["uid"])[1]
    del peer["metadata"]["deletionTimestamp"]
    ended = peer["status"]["containerStatuses"][0]["state"]["terminated"]
    ended |= {"exitCode": 75, "finishedAt": stamp(world.now + timedelta(seconds=1))}
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["disruptions"], fold.get("restarts", 0)) == ("Starting", 1, 0)


@pytest.mark.parametrize(("code", "reason"), [(1, "Failed"), (75, "TryAgain"), (139, "Failed")])
def test_an_error_before_the_pod_was_deleted_is_its_own(train: Train, code: int, reason: str) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.fail(job, code)
    world.wait(seconds=5)
    for pod in world.pods(job["metadata"]["name"]):
        pod["metadata"] |= {"deletionTimestamp": stamp(world.now), "deletionGracePeriodSeconds": 0}
    world.lose_pods(job)
    world.settle()
    assert (world.fold("run")["reason"], world.fold("run")["restarts"]) == (reason, 1)


def test_of_several_pods_those_that_the_job_controller_deleted_are_not_blamed(train: Train) -> None:
    world = train(workers={"nodes": 2})
    job = world.job(owner_name="run")
    world.fail(job, 1, error=Error(code=1, reason="Crashed", message="rank 0 ended with exit code 1"))
    for pod in world.pods(job["metadata"]["name"])[1:]:
        pod["metadata"] |= {"deletionTimestamp": stamp(world.now), "deletionGracePeriodSeconds": 0}
    world.lose_pods(job)
    world.settle()
    assert (world.fold("run")["reason"], world.fold("run")["restarts"], world.fold("run")["disruptions"]) == ("Crashed", 1, 0)


def test_a_permanent_error_of_a_pod_that_was_deleted_stays_permanent(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.fail(job, 65, error=Error(code=65, reason="InvalidCases", message="case_003 holds the label 7"))
    for pod in world.pods(job["metadata"]["name"]):
        pod["metadata"] |= {"deletionTimestamp": stamp(world.now), "deletionGracePeriodSeconds": 0}
    world.lose_pods(job)
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["reason"]) == ("Failed", "InvalidCases")
    assert "case_003 holds the label 7" in world.fold("run")["message"]


def test_a_pod_that_vanished_while_it_ran_was_deleted(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    (pod,) = world.run(job)
    world.settle()
    pod["metadata"] |= {"deletionTimestamp": stamp(world.now), "deletionGracePeriodSeconds": 0}
    world.lose_pods(job)
    world._conclude(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    world.wait(seconds=11)
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["disruptions"], fold.get("restarts", 0)) == ("Starting", 1, 0)
