"""A cascade in two TrainingRuns: what the second waits for, what it is given, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.work_order import TrainOrder, decode
from support.world import CHAIN, MemoryWorld, report_of

CASCADE = CHAIN.replace("[3d_fullres]", "[3d_lowres, 3d_fullres, 3d_cascade_fullres]")
LOWRES = {"plansRef": {"name": "plans"}, "configuration": "3d_lowres", "folds": ["0", "1"]}
SECOND = {
    "plansRef": {"name": "plans"},
    "configuration": "3d_cascade_fullres",
    "folds": ["0"],
    "previousStage": {"runRef": {"name": "lowres"}},
}


def run(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": name}, "spec": spec}


def planned(world: MemoryWorld, folds: int | None = None) -> None:
    """Finish the dataset and the planning, whose report tells of a cascade, and of how many folds predict all of its cases."""
    world.settle()
    world.finish(world.job(owner_name="data"))
    world.settle()
    job = world.job(owner_name="plans")
    report = report_of(job)
    known = report.summary["configurations"]
    shape = known["3d_fullres"]
    needs = {"previousStage": "3d_lowres", **({"previousStageFolds": folds} if folds else {})}
    known |= {"3d_lowres": shape, "3d_cascade_fullres": {**shape, **needs}}
    world.finish(job, replace(report, summary={**report.summary, "configurations": known}))
    world.settle()


@pytest.fixture
def world() -> MemoryWorld:
    """Plans of a cascade that are being preprocessed."""
    made = MemoryWorld()
    made.put(CASCADE)
    planned(made)
    return made


def preprocess(world: MemoryWorld) -> None:
    for job in world.jobs(step="preprocess"):
        world.finish(job)
    world.settle()


def ready(world: MemoryWorld, name: str = "second") -> tuple[str, str, str]:
    return world.condition("TrainingRun", name)


def test_plans_tell_of_previous_stages(world: MemoryWorld) -> None:
    rows = {row["name"]: row.get("previousStage") for row in world.status("Plans", "plans")["configurations"]}
    assert rows == {"2d": None, "3d_fullres": None, "3d_lowres": None, "3d_cascade_fullres": "3d_lowres"}


def test_the_second_stage_waits_for_all_folds_and_is_given_their_artifacts(world: MemoryWorld) -> None:
    preprocess(world)
    world.put(run("second", SECOND))
    world.settle()
    assert ready(world)[1:] == (
        "WaitingForTrainingRun",
        "waits for TrainingRun lowres (spec.previousStage.runRef), which does not exist. If it was deleted (by "
        "ttlSecondsAfterFinished, or by hand), apply it again, and it finds its results in the storage",
    )
    world.put(run("lowres", LOWRES))
    world.settle()
    assert ready(world)[1] == "WaitingForTrainingRun"
    world.finish(world.job(owner_name="lowres", fold="1"))
    world.settle()
    assert ready(world)[1:] == ("WaitingForTrainingRun", "waits for TrainingRun lowres to train fold 0 (1 of 2 are trained)")
    assert not world.jobs(owner_name="second")
    world.finish(world.job(owner_name="lowres", fold="0"))
    world.settle()
    order = decode(codec.dumps(world.order(world.job(owner_name="second"))))
    assert isinstance(order, TrainOrder)
    assert order.previous_stage is not None
    assert order.previous_stage.run == "lowres"
    given = order.previous_stage.folds
    assert {fold: place.digest for fold, place in given.items()} == {"0": "r-lowres-1", "1": "r-lowres-1"}
    assert given["1"].location.uri.endswith("nnUNetTrainer__nnUNetPlans__3d_lowres/fold_1")
    assert given["1"].location.secret_name == "s3"


def test_what_a_second_stage_starts_from_is_kept_when_the_first_one_is_deleted(world: MemoryWorld) -> None:
    """Also where it has yet to wait for something else."""
    world.put(run("lowres", {**LOWRES, "ttlSecondsAfterFinished": 0}))
    world.put(run("second", {**SECOND, "folds": ["0", "1"], "maxParallelFolds": 1}))
    for job in world.jobs(step="preprocess", configuration="3d_lowres"):
        world.finish(job)
    world.settle()
    for fold in ("0", "1"):
        world.finish(world.job(owner_name="lowres", fold=fold))
        world.settle()
        world.wait(seconds=10)
        world.settle()
    assert not world.exists("TrainingRun", "lowres")
    assert ready(world)[1] == "WaitingForPlans"
    preprocess(world)
    orders = []
    for _ in range(2):
        job = next(job for job in world.jobs(owner_name="second") if not job.get("status"))
        orders.append(world.order(job)["previousStage"])
        world.finish(job)
        world.settle()
    assert ready(world)[0] == "True", ready(world)
    assert orders[0] == orders[1]
    assert {fold: given["digest"] for fold, given in orders[0]["folds"].items()} == {"0": "r-lowres-1", "1": "r-lowres-1"}


def test_a_fold_that_failed_stalls_the_second_stage_until_it_is_mended(world: MemoryWorld) -> None:
    preprocess(world)
    world.put(run("lowres", LOWRES))
    world.put(run("second", SECOND))
    world.settle()
    world.fail(world.job(owner_name="lowres", fold="0"), 65)
    world.settle()
    status, reason, message = ready(world)
    assert (status, reason) == ("False", "DependencyFailed")
    assert message.startswith("Fold 0 of TrainingRun lowres is stalled")
    world.edit("TrainingRun", "lowres", rerun="2")
    world.settle()
    for fold in ("0", "1"):
        world.finish(world.job(owner_name="lowres", fold=fold))
        world.settle()
    assert world.jobs(owner_name="second")


@pytest.mark.parametrize(
    ("second", "lowres", "reason", "told"),
    [
        ({"previousStage": None}, {}, "NoPreviousStage", "has the predictions of 3d_lowres as an input"),
        ({"configuration": "3d_fullres"}, {}, "PreviousStageMismatch", "3d_fullres of Plans plans has no previous stage"),
        ({}, {"configuration": "3d_fullres"}, "PreviousStageMismatch", "trains 3d_fullres; the previous stage of"),
        ({}, {"validation": "Skip"}, "PreviousStageMismatch", "skips the final validation"),
        ({}, {"folds": ["all"]}, "PreviousStageMismatch", "trains fold all, so it predicts nothing"),
        ({}, {"plansRef": {"name": "others"}}, "PreviousStageMismatch", "is of Plans others, this run is of Plans plans"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_preprocessed(
    world: MemoryWorld, second: dict[str, Any], lowres: dict[str, Any], reason: str, told: str
) -> None:
    world.put(run("lowres", {**LOWRES, **lowres}))
    world.put(run("second", {key: value for key, value in {**SECOND, **second}.items() if value is not None}))
    world.settle()
    status, found, message = ready(world)
    assert (status, found) == ("False", reason)
    assert told in message
    assert world.condition("TrainingRun", "second", "Stalled")[0] == "True"
    assert world.jobs(step="preprocess"), "others go on"


@pytest.mark.parametrize(
    ("folds", "told"),
    [
        (["0", "1"], "trains folds 0, 1 of 3: nobody predicts the cases of fold 2. Add fold 2 to its spec.folds."),
        (["1"], "trains folds 1 of 3: nobody predicts the cases of folds 0, 2. Add folds 0, 2 to its spec.folds."),
        (["0", "1", "7"], "trains folds 0, 1, 7 of 3: nobody predicts the cases of fold 2. Add fold 2 to its spec.folds."),
        (["0", "1", "2"], None),
        (["2", "0", "1", "7"], None),
    ],
)
def test_a_fold_that_nobody_trains_is_named_before_anything_is_trained(folds: list[str], told: str | None) -> None:
    world = MemoryWorld()
    world.put(CASCADE)
    planned(world, folds=3)
    world.put(run("lowres", {**LOWRES, "folds": folds}))
    world.put(run("second", SECOND))
    world.settle()
    _, reason, message = ready(world)
    if told:
        assert (reason, message) == ("PreviousStageMismatch", f"TrainingRun lowres (spec.previousStage.runRef) {told}")
    else:
        assert reason == "WaitingForPlans"
    world.edit("TrainingRun", "lowres", folds=["2", "1", "0", "7"])
    preprocess(world)
    for job in world.jobs(owner_name="lowres"):
        world.finish(job)
    world.settle()
    assert world.jobs(owner_name="second")


def begin_second_stage(world: MemoryWorld) -> None:
    """Of two folds, one after the other, on a first stage whose two are trained."""
    world.put(run("lowres", LOWRES))
    world.put(run("second", {**SECOND, "folds": ["0", "1"], "maxParallelFolds": 1}))
    world.settle()
    for fold in ("0", "1"):
        world.finish(world.job(owner_name="lowres", fold=fold))
    world.settle()


def test_a_begun_run_goes_on_though_the_first_one_is_made_anew_with_fewer_folds() -> None:
    """It keeps what it began with."""
    world = MemoryWorld()
    world.put(CASCADE)
    planned(world, folds=2)
    preprocess(world)
    begin_second_stage(world)
    begun = world.job(owner_name="second", fold="0")
    given = world.order(begun)["previousStage"]
    world.edit("TrainingRun", "lowres", folds=["0"])
    world.finish(begun)
    world.settle()
    assert world.order(world.job(owner_name="second", fold="1"))["previousStage"] == given


def test_other_predictions_are_never_mixed_with_those_that_a_run_began_with(world: MemoryWorld) -> None:
    preprocess(world)
    begin_second_stage(world)
    world.finish(world.job(owner_name="second", fold="0"))
    lowres = world.objects[next(key for key in world.objects if key.name == "lowres")]
    lowres["status"]["folds"][1]["digest"] = "another"
    world.settle()
    assert world.fold("second", "1")["reason"] == "ReferenceChanged"


def test_two_stages_that_wait_for_each_other(world: MemoryWorld) -> None:
    world.put(run("second", SECOND))
    world.put(run("lowres", {**LOWRES, "previousStage": {"runRef": {"name": "second"}}}))
    world.settle()
    assert ready(world)[1] == "ReferenceCycle"
