"""A child that the API server does not take is a condition of its owner."""

from __future__ import annotations

from collections.abc import Callable

from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.outcome import Outcome
from nnunet_operator.reconcile.status.child_refused import refused
from nnunet_operator.reconcile.view import Key
from nnunet_operator.reconcile.view_builder import build_view
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


QUOTA = 'exceeded quota: gpus, requested: "nvidia.com/gpu=1"'


RUN = Key("TrainingRun", "default", "run")


def refuse(world: MemoryWorld) -> Outcome:
    """One pass in which the last Job that is asked for is refused, as a shell does it."""
    view = build_view(world, RUN, world.now, world.settings)
    assert view is not None
    decided = reconcile(view)
    job = decided.create[-1]
    outcome = refused(view, job, QUOTA, decided)
    assert not outcome.create
    assert not outcome.apply
    world.carry_out(RUN, outcome)
    return outcome


def test_a_refused_child_is_a_condition(train: Train) -> None:
    world = train(suspend=True)
    world.edit("TrainingRun", "run", suspend=False)
    assert [event.reason for event in refuse(world).events] == ["ChildRefused"]
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "ChildRefused")
    assert QUOTA in message
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"
    world.wait(seconds=60)
    before = world.writes
    again = refuse(world)
    assert world.writes == before, "the same refusal is written once"
    assert not again.events
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Starting"
    assert world.fold("run")["attempt"] == 0
    assert len(world.jobs(owner_name="run")) == 1


def test_what_runs_beside_a_refused_child_goes_on_and_makes_room(train: Train) -> None:
    world = train(folds=["0", "1"], maxParallelFolds=1)
    first = world.job(fold="0")
    world.run(first)
    world.settle()
    world.edit("TrainingRun", "run", maxParallelFolds=2)
    world.say(first, phase="training", epoch=4, epochs=10)
    refuse(world)
    assert world.condition("TrainingRun", "run")[:2] == ("False", "ChildRefused")
    assert world.condition("TrainingRun", "run", "Reconciling")[0] == "True", "it goes on without a person"
    world.finish(first)
    ended = refuse(world)
    assert world.fold("run")["state"] == "Succeeded"
    assert first["metadata"]["name"] in [gone.name for gone in ended.delete_once_stored]
    world.settle()
    world.finish(world.job(fold="1"))
    world.settle()
    assert world.condition("TrainingRun", "run")[:2] == ("True", "Completed")
