"""`spec.rerun`: a new value tries again what has failed, and reads a dataset again."""

from __future__ import annotations

from collections.abc import Callable

from support.objects import API, dataset, events, finish, finish_open
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


def test_rerun_ends_a_terminal_failure_once(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    world.fail(world.job(attempt="0"), 1)
    world.settle()
    world.edit("TrainingRun", "run", rerun="again")
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["state"]) == (1, "Starting")
    world.fail(world.job(attempt="1"), 1)
    world.settle()
    assert world.fold("run")["state"] == "Failed", "the same value is not acted upon twice"
    assert world.status("TrainingRun", "run")["rerunObserved"] == "again"


def test_rerun_leaves_what_is_well_alone(train: Train) -> None:
    world = train(folds=["0", "1"])
    world.finish(world.job(fold="0"))
    world.fail(world.job(fold="1"), 78)
    world.settle()
    world.edit("TrainingRun", "run", rerun="2")
    world.settle()
    assert (world.fold("run", "0")["state"], world.fold("run", "1")["attempt"]) == ("Succeeded", 1)


def test_rerun_of_a_dataset_reads_it_again_and_the_chain_follows(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    world.settle()
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    assert world.condition("Plans", "plans")[0] == "True", "plans stand until the dataset has really changed"
    for step in ("dataset", "plan", "preprocess"):
        job = world.job(step=step)
        world.finish(job, report_of(job, version="2"))
        world.settle()
    assert world.status("Plans", "plans")["artifact"]["digest"] == "p-plans-2"
    assert world.status("Plans", "plans")["configurations"][1]["preprocessed"]["digest"] == "x-plans-3d_fullres-2"
    status, _, message = world.condition("TrainingRun", "run")
    assert status == "True"
    assert "have changed since" in message
    world.edit("TrainingRun", "run", rerun="2")
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run").get("validationDice")) == (1, None)
    assert world.order(world.job(owner_name="run"))["plans"]["digest"] == "p-plans-2"


def test_a_changed_dataset_is_said_at_each_step(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
    begun = len(world.events)
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "dataset", "2")
    finish(world, "plan", "2")
    finish(world, "preprocess", "2")
    dataset, plans, run = (
        events(world, *key, since=begun) for key in (("Dataset", "data"), ("Plans", "plans"), ("TrainingRun", "run"))
    )
    assert ("Rerun", "spec.rerun is '2': the source is read again") in dataset
    changed = "The data is another than before (d-data-1 → d-data-2). Plans of this dataset are planned and preprocessed anew."
    assert ("DatasetChanged", changed) in dataset
    assert "Dataset data is another than before: planning for data begins anew" in dict(plans)["DatasetChanged"]
    assert "preprocessed anew" in dict(plans)["PlansChanged"]
    assert [reason for reason, _ in run] == ["ReferenceChanged"], "said once, and nothing is done"
    assert world.condition("TrainingRun", "run")[0] == "True"
    assert "set spec.rerun to a new value to train anew" in world.condition("TrainingRun", "run")[2]
    world.edit("TrainingRun", "run", rerun="2")
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Starting"
    assert ("Rerun", "spec.rerun is '2': fold 0: tried again") in events(world, "TrainingRun", "run")
    assert "changedInput" not in world.status("TrainingRun", "run")


def test_a_dataset_that_is_read_again_and_is_the_same(train: Train) -> None:
    world = train()
    begun = len(world.events)
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "dataset", "1")
    assert ("DatasetUnchanged", "The source was read again: the data is what it was.") in events(world, "Dataset", "data", begun)
    assert not events(world, "Plans", "plans", begun)
    assert not world.jobs(step="plan", attempt="1")


def test_a_rerun_of_what_is_well_says_that_it_does_nothing(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    world.settle()
    for kind, name in (("TrainingRun", "run"), ("Plans", "plans")):
        world.edit(kind, name, rerun="again")
        world.settle()
        said = "spec.rerun is 'again': nothing had failed, and nothing has changed: all stays as it is"
        assert events(world, kind, name)[-1] == ("Rerun", said)
        assert world.condition(kind, name)[0] == "True"


def test_a_rerun_of_a_transfer_is_passed_on() -> None:
    world = MemoryWorld()
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    world.put({"apiVersion": API, "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    world.settle()
    world.edit("PlanTransfer", "moved", rerun="1")
    world.settle()
    assert ("Rerun", "spec.rerun is '1': passed on to Plans moved") in events(world, "PlanTransfer", "moved")
    assert world.status("Plans", "moved")["rerunObserved"] == "1"


def test_a_dataset_that_is_to_be_read_again_while_it_is_read() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.settle()
    first = world.job(step="dataset")
    world.run(first)
    world.settle()
    world.edit("Dataset", "data", rerun="again")
    world.settle()
    assert [job["metadata"]["name"] for job in world.jobs(step="dataset")] == [], "the first is asked to go"
    assert len(world.created) == 1, "and is waited for"
    world.wait(seconds=2)
    world.end_deletions()
    world.settle()
    assert world.job(step="dataset", attempt="1")
    finish_open(world, step="dataset")
    assert world.condition("Dataset", "data")[0] == "True"
    assert world.status("Dataset", "data")["work"]["restarts"] == 0


def test_a_rerun_while_the_next_attempt_is_waited_for(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 3})
    world.fail(world.job(owner_name="run"), 1)
    world.settle()
    assert world.fold("run")["state"] == "BackingOff"
    world.edit("TrainingRun", "run", rerun="now")
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["attempt"], world.fold("run")["restarts"]) == ("Starting", 1, 0)


def test_a_rerun_of_a_suspended_run_waits_for_it_to_be_resumed(train: Train) -> None:
    world = train()
    world.fail(world.job(owner_name="run"), 78)
    world.settle()
    world.edit("TrainingRun", "run", rerun="1", suspend=True)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspended"
    assert len(world.created) == len(set(world.created)) == 4
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert (world.fold("run")["state"], world.fold("run")["attempt"]) == ("Starting", 1)
