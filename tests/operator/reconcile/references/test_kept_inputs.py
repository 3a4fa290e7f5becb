"""A run that starts from another run's weights goes on when that one has expired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.reconcile.view import Key
from support.objects import dataset, plans, run
from support.world import MemoryWorld

SOURCE, TARGET = Key("TrainingRun", "default", "source"), Key("TrainingRun", "default", "run")
FROM = {"runRef": {"name": "source"}}
WEIGHTS = "s3://nnunet/runs/default/source/1/nnUNet_results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_all"


def source(ttl: int | None = 0) -> dict[str, Any]:
    return run("source", folds=["all"], **({} if ttl is None else {"ttlSecondsAfterFinished": ttl}))


def train_source(world: MemoryWorld, ttl: int | None = 0) -> None:
    world.put(source(ttl))
    world.settle()
    world.finish(world.job(owner_name="source"))
    world.settle()


def expire(world: MemoryWorld) -> None:
    """Until its time is over, and whoever waits has read what it needs."""
    for _ in range(3):
        world.wait(seconds=10)
        world.settle()
    assert not world.exists("TrainingRun", "source")


def order_of(world: MemoryWorld, **labels: str) -> dict[str, Any]:
    weights: dict[str, Any] = world.order(world.job(owner_name="run", **labels))["pretrained"]
    return weights


def disrupt(world: MemoryWorld, attempt: str) -> None:
    """And wait for the back-off."""
    world.disrupt(world.job(owner_name="run", attempt=attempt))
    world.settle()
    world.wait(seconds=300)
    world.settle()


def first_seen_first(world: MemoryWorld) -> None:
    world.put(run(pretrained=FROM))
    world.put(source())


def first_seen_last(world: MemoryWorld) -> None:
    world.put(source())
    world.put(run(pretrained=FROM))


@pytest.mark.parametrize("applied", [first_seen_first, first_seen_last])
@pytest.mark.parametrize("waits", ["for nothing else", "for its plans", "suspended"])
def test_who_waits_for_weights_has_them_before_their_run_expires(
    prepared: MemoryWorld, applied: Callable[[MemoryWorld], None], waits: str
) -> None:
    """`ttlSecondsAfterFinished: 0`: whichever is looked at first."""
    world = prepared
    if waits == "for its plans":
        world.put(dataset("other"))
        world.put(plans("others", datasetRef={"name": "other"}))
    applied(world)
    if waits == "for its plans":
        world.edit("TrainingRun", "run", plansRef={"name": "others"})
    world.edit("TrainingRun", "run", suspend=waits == "suspended")
    world.settle()
    world.finish(world.job(owner_name="source"))
    world.settle()
    expire(world)
    if waits == "for its plans":
        for _ in range(3):
            for job in [job for job in world.jobs() if job["metadata"]["labels"]["nnunet.dev/owner-name"] != "run"]:
                world.finish(job)
            world.settle()
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    weights = order_of(world)
    assert weights["location"]["uri"] == f"{WEIGHTS}/checkpoint_final.pth"
    assert weights["location"]["secretName"] == "s3"
    assert weights["sha256"] == "ab" * 32


def test_the_next_attempt_and_the_next_fold_start_from_the_same(prepared: MemoryWorld) -> None:
    world = prepared
    world.put(run(folds=["0", "1"], maxParallelFolds=1, pretrained=FROM))
    train_source(world)
    expire(world)
    first = order_of(world, fold="0")
    world.disrupt(world.job(owner_name="run"))
    world.settle()
    again = world.job(owner_name="run", fold="0", attempt="1")
    assert world.order(again)["pretrained"] == first
    world.finish(again)
    world.settle()
    assert order_of(world, fold="1") == first
    world.finish(world.job(owner_name="run", fold="1"))
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"


@pytest.mark.parametrize("again", ["is found again", "is trained to other weights", "fails"])
def test_one_that_is_made_anew_changes_nothing_of_what_has_begun(prepared: MemoryWorld, again: str) -> None:
    world = prepared
    world.put(run(pretrained=FROM))
    train_source(world)
    first = order_of(world)
    expire(world)
    world.put(source(None))
    world.settle()
    world.disrupt(world.job(owner_name="run"))
    world.settle()
    assert order_of(world, attempt="1") == first, "while the other one is at work"
    job = world.job(owner_name="source")
    if again == "fails":
        world.fail(job, 65)
    else:
        world.finish(job)
    world.settle()
    if again == "is trained to other weights":
        world.objects[SOURCE]["status"]["folds"][0]["checkpoint"]["sha256"] = "cd" * 32
    disrupt(world, "1")
    if again == "is trained to other weights":
        assert world.condition("TrainingRun", "run")[1] == "ReferenceChanged"
        world.edit("TrainingRun", "run", rerun="2")
        world.settle()
        assert order_of(world, attempt="2")["sha256"] == "cd" * 32, "as it was asked for"
        world.remove("TrainingRun", "source")
        disrupt(world, "2")
        assert order_of(world, attempt="3")["sha256"] == "cd" * 32
    else:
        assert order_of(world, attempt="2") == first


def test_a_run_that_began_before_such_things_were_kept(prepared: MemoryWorld) -> None:
    world = prepared
    world.put(run(pretrained=FROM))
    train_source(world, ttl=3600)
    del world.objects[TARGET]["status"]["pretrained"]  # as version 0.1.0 wrote it
    world.settle()
    world.remove("TrainingRun", "source")
    world.disrupt(world.job(owner_name="run"))
    world.settle()
    assert order_of(world, attempt="1")["sha256"] == "ab" * 32


@pytest.mark.parametrize("checkpoint", ["final", "best"])
def test_who_comes_later_is_told_what_to_write(prepared: MemoryWorld, checkpoint: str) -> None:
    world = prepared
    world.put(run(pretrained={**FROM, "checkpoint": checkpoint}))
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "WaitingForTrainingRun")
    assert world.condition("TrainingRun", "run", "Stalled")[0] != "True", "it may come yet"
    assert "TrainingRun source (spec.pretrained.runRef), which does not exist" in message
    assert "apply it again, and it finds its results in the storage" in message
    folder = "runs/default/source/<digest>/nnUNet_results/<dataset>/<trainer>__<plans>__<configuration>/fold_all"
    assert message.endswith(f"spec.pretrained.uri in place of runRef: s3://nnunet/{folder}/checkpoint_{checkpoint}.pth")


@pytest.mark.parametrize("other", ["is stalled", "has failed", "has trained", "starts from a file", "refers to another"])
def test_a_run_expires_when_nobody_is_about_to_read_it(prepared: MemoryWorld, other: str) -> None:
    world = prepared
    pretrained: dict[str, Any] = {"runRef": {"name": "source", "fold": "3"}} if other == "is stalled" else FROM
    if other == "starts from a file":
        pretrained = {"uri": "s3://nnunet/a.pth"}
    elif other == "refers to another":
        pretrained = {"runRef": {"name": "third"}}
    world.put(run(pretrained=pretrained))
    if other in ("has failed", "has trained"):
        fold = {"name": "0", "state": "Failed" if other == "has failed" else "Succeeded", "attempt": 0, "input": "x"}
        world.objects[TARGET]["status"] = {"observedGeneration": 1, "folds": [fold]}
    train_source(world)
    expire(world)


def test_it_does_not_expire_between_its_end_and_the_look_of_who_waits(prepared: MemoryWorld) -> None:
    """The operator may have been away for longer than the time to live."""
    world = prepared
    world.put(source())
    world.put(run(pretrained=FROM))
    world.settle()
    world.finish(world.job(owner_name="source"))
    for _ in range(2):  # its end is stored; who waits was not looked at since
        outcome = world.outcome("TrainingRun", "source")
        assert outcome is not None
        assert not outcome.delete_self
        world.carry_out(SOURCE, outcome)
        world.wait(seconds=3600)
    assert outcome.look_again is not None
    assert outcome.look_again.total_seconds() <= 5
    expire(world)
    assert order_of(world)["sha256"] == "ab" * 32
