"""Why an attempt failed, in words."""

from __future__ import annotations

from collections.abc import Callable

from nnunet_operator.reconcile.observed.failures import STOPPED_BY_SHELL
from nnunet_trainer.contract.report import Error
from support.world import MemoryWorld

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
