"""A run that goes on from a finished one: what it waits for, what its Jobs are given, what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.objects import recipe, run
from support.world import MemoryWorld, report_of

CONTINUES = {"runRef": {"name": "base"}, "additionalEpochs": 500, "schedule": "Stretch"}
Ready = Callable[[], tuple[str, str, str]]


@pytest.fixture
def world(prepared: MemoryWorld) -> MemoryWorld:
    """A run of two folds that are being trained."""
    prepared.put(run("base", folds=["0", "1"]))
    prepared.settle()
    return prepared


def finish(world: MemoryWorld, name: str = "base", *folds: str) -> None:
    for fold in folds or ("0", "1"):
        world.finish(world.job(owner_name=name, fold=fold))
    world.settle()


def ready(world: MemoryWorld, name: str = "more") -> tuple[str, str, str]:
    return world.condition("TrainingRun", name)


def ask(world: MemoryWorld, name: str = "more", **spec: Any) -> tuple[str, str, str]:
    world.put(run(name, **{"folds": ["0", "1"], "continues": CONTINUES, **spec}))
    world.settle()
    return ready(world, name)


def test_each_fold_waits_for_its_own_and_is_given_its_final_checkpoint(world: MemoryWorld) -> None:
    assert ask(world)[1:] == (
        "WaitingForTrainingRun",
        "waits for TrainingRun base to train fold 0; it is Starting; waits for TrainingRun base to train fold 1; it is Starting",
    )
    finish(world, "base", "1")
    assert [job["metadata"]["labels"]["nnunet.dev/fold"] for job in world.jobs(owner_name="more")] == ["1"]
    assert world.fold("more", "0")["reason"] == "WaitingForTrainingRun"
    finish(world, "base", "0")
    for fold in ("0", "1"):
        order, row = world.order(world.job(owner_name="more", fold=fold)), world.fold("base", fold)
        assert order["continues"] == {
            "run": "base",
            "location": {**order["storage"], "uri": row["checkpoint"]["uri"]},
            "digest": row["digest"],
            "additionalEpochs": 500,
            "schedule": "Stretch",
            **({"sha256": row["checkpoint"]["sha256"]} if row["checkpoint"].get("sha256") else {}),
        }
        assert order["requires"] == {"continues": "0.2.0"}, "a trainer that does not know it must not train from the beginning"
    assert len({row["input"] for row in world.status("TrainingRun", "more")["folds"]}) == 1, "all folds are of one run"


def test_what_the_learning_rate_does_is_said_while_it_trains_and_when_it_is_done(world: MemoryWorld) -> None:
    finish(world)
    ask(world, folds=["0"])
    job = world.job(owner_name="more")
    world.run(job)
    said = (
        "continues TrainingRun base (fold 0): 500 epochs after its 1000, poly stretched over all 1500, learning rate 2e-05 → 0.0037"
    )
    world.say(job, phase="training", epoch=1001, epochs=1500, continued=said)
    world.settle()
    assert world.fold("more")["continued"] == said
    assert ready(world)[2] == f"fold 0: epoch 1001 of 1500; it {said}"
    assert [event.message for key, event in world.events if event.reason == "Continued"] == [f"fold 0 {said}"]
    report = report_of(job)
    world.finish(job, replace(report, summary={**report.summary, "continued": said}))
    world.settle()
    assert ready(world)[0] == "True"
    assert f"; it {said}" in ready(world)[2]


def test_a_run_that_does_not_exist_is_waited_for(prepared: MemoryWorld) -> None:
    assert ask(prepared)[1] == "WaitingForTrainingRun"
    assert "TrainingRun base (spec.continues.runRef), which does not exist. If it was deleted" in ready(prepared)[2]


def test_a_fold_that_it_does_not_have(world: MemoryWorld) -> None:
    assert ask(world, folds=["2"])[1:] == (
        "UnknownFold",
        "TrainingRun base has no fold 2 (spec.continues.runRef); its folds: 0, 1",
    )


def test_a_fold_that_has_failed(world: MemoryWorld) -> None:
    world.fail(world.job(owner_name="base", fold="0"), 78)
    world.settle()
    ask(world)
    assert world.fold("more", "0")["reason"] == "DependencyFailed"
    assert "Fold 0 of TrainingRun base" in world.fold("more", "0")["message"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (recipe(epochs=1500), ["recipe.epochs: 1000 there, 1500 here", "spec.continues.additionalEpochs says"]),
        (recipe(optimizer={"momentum": 0.5}), ["recipe.optimizer.momentum: ", "0.5 here"]),
        ({"trainer": {"name": "nnUNetTrainerNoMirroring"}}, ["recipe.augmentation.name: "]),
    ],
    ids=["epochs", "optimizer", "trainer"],
)
def test_what_differs_is_named_before_it_has_waited(world: MemoryWorld, spec: dict[str, Any], said: list[str]) -> None:
    status, reason, message = ask(world, **spec)
    assert (status, reason) == ("False", "ContinuationMismatch"), message
    assert world.condition("TrainingRun", "more", "Stalled")[0] == "True"
    for text in said:
        assert text in message
    assert not world.jobs(owner_name="more")


def test_another_configuration(prepared: MemoryWorld) -> None:
    prepared.put(run("base", configuration="2d"))
    _, reason, message = ask(prepared)
    assert reason == "ContinuationMismatch"
    assert "spec.configuration: '2d' there, '3d_fullres' here" in message


def test_the_same_recipe_under_another_name_is_the_same(world: MemoryWorld) -> None:
    finish(world)
    ask(world, **recipe(epochs=1000))
    assert len(world.jobs(owner_name="more")) == 2


def test_other_plans_are_refused_with_both_digests(world: MemoryWorld) -> None:
    finish(world)
    trained_on = world.status("TrainingRun", "base")["plans"]
    world.edit("Dataset", "data", rerun="2")
    for step in ("dataset", "plan", "preprocess"):
        world.settle()
        for job in world.jobs(step=step):
            world.finish(job, report_of(job, version="2"))
    world.settle()
    _, reason, message = ask(world)
    assert reason == "ContinuationMismatch"
    assert f"was trained on the plans {trained_on}; those of Plans plans are p-plans-2 now" in message


def test_it_goes_on_when_that_run_has_expired(world: MemoryWorld) -> None:
    finish(world)
    ask(world, folds=["0"])
    order = world.order(world.job(owner_name="more"))
    world.remove("TrainingRun", "base")
    world.fail(world.job(owner_name="more"), 1)
    world.wait(minutes=10)
    world.settle()
    world.wait(minutes=10)
    world.settle()
    assert world.order(world.job(owner_name="more", attempt="1"))["continues"] == order["continues"]
    world.edit("TrainingRun", "more", folds=["0", "1"])
    world.settle()
    added = world.order(world.job(owner_name="more", fold="1"))["continues"]
    assert added == {**order["continues"], "location": added["location"]}
    assert "fold_1" in added["location"]["uri"], "folds may be added later"


def test_that_run_is_kept_until_it_has_been_read(prepared: MemoryWorld) -> None:
    world = prepared
    world.put(run("base", ttlSecondsAfterFinished=0))
    world.put(run("more", continues=CONTINUES))
    world.settle()
    world.finish(world.job(owner_name="base"))
    world.settle()
    world.wait(seconds=10)
    world.settle()
    assert not world.exists("TrainingRun", "base")
    assert set(world.status("TrainingRun", "more")["continues"]) == {"0"}
    assert world.jobs(owner_name="more")


def test_its_results_are_not_deleted_while_they_are_gone_on_from(prepared: MemoryWorld) -> None:
    world = prepared
    world.put(run("base", retention="Delete"))
    world.settle()
    world.finish(world.job(owner_name="base"))
    world.settle()
    ask(world, folds=["0"])
    world.delete("TrainingRun", "base", "")
    world.settle()
    assert ready(world, "base")[1] == "ResultsInUse"
    assert "TrainingRun more trains from its results" in ready(world, "base")[2]


def test_two_that_go_on_from_each_other_never_start(prepared: MemoryWorld) -> None:
    prepared.put(run("base", continues={**CONTINUES, "runRef": {"name": "more"}}))
    assert ask(prepared, folds=["0"])[1] == "ReferenceCycle"


def test_a_continuation_is_gone_on_from(world: MemoryWorld) -> None:
    finish(world)
    ask(world)
    finish(world, "more")
    ask(world, "third", continues={**CONTINUES, "runRef": {"name": "more"}})
    assert len(world.jobs(owner_name="third")) == 2
