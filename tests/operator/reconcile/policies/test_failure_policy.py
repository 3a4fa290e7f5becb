"""`spec.failurePolicy`: what follows from a failed attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.reconcile.observed.failures import STOPPED_BY_SHELL
from nnunet_operator.reconcile.view import Heard
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Error
from support import objects
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def failing(code: int, reason: str, hint: str = "") -> dict[str, Any]:
    return {"code": code, "error": Error(code=code, reason=reason, message=f"{reason} happened", hint=hint)}


PERMANENT = [
    (failing(65, "InvalidCases", "Repair the files."), "InvalidCases", "Repair the files."),
    (failing(78, "UnknownTrainer"), "UnknownTrainer", "UnknownTrainer happened"),
    (failing(64, "ContractMismatch"), "ContractMismatch", "trainer image"),
    (failing(71, "OutOfGPUMemory"), "OutOfGPUMemory", "gpuMemoryGB"),
    ({"code": 78}, "BadConfiguration", "exit code 78"),
    ({"code": 65, "text": "Traceback\nKeyError: 'x'"}, "BadData", "KeyError: 'x'"),
]


@pytest.mark.parametrize(("how", "reason", "said"), PERMANENT)
@pytest.mark.parametrize("gone", [False, True])
def test_a_permanent_failure_is_final(train: Train, how: dict[str, Any], reason: str, said: str, gone: bool) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.fail(job, **how)
    if gone:
        world.drop_pods(job)
        world.wait(seconds=11)
    world.settle()
    status, why, message = world.condition("TrainingRun", "run")
    assert (status, world.fold("run")["state"]) == ("False", "Failed")
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"
    assert "spec.rerun" in message
    assert "fold 0 (attempt 1)" in message
    if not gone:
        assert why == reason
        assert said in message
    world.wait(days=3)
    world.settle()
    assert [job["metadata"]["name"] for job in world.jobs()] == [job["metadata"]["name"]], "its logs stay, nothing is tried again"
    assert world.condition("TrainingRun", "run")[1] == why


@pytest.mark.parametrize("begins", ["was", "ended", "failed", "did", "has", "gave", "Case", "fold", ""])
def test_what_a_trainer_says_stands_as_it_is_however_it_begins(train: Train, begins: str) -> None:
    world = train()
    said = f"{begins} no channel 3 in labelsTr"
    error = Error(code=65, reason="InvalidCases", message=said)
    world.fail(world.job(owner_name="run"), code=65, error=error)
    world.settle()
    assert f"fold 0 (attempt 1): {said.strip()}. " in world.condition("TrainingRun", "run")[2]


@pytest.mark.parametrize(
    ("reason", "another"),
    [("InvalidParameter", True), ("UnknownParameter", True), ("UnknownLoss", True), ("PluginFailed", False)],
)
def test_what_the_spec_names_wrongly_asks_for_another_object(train: Train, reason: str, another: bool) -> None:
    world = train()
    world.fail(world.job(owner_name="run"), **failing(78, reason))
    world.settle()
    message = world.condition("TrainingRun", "run")[2]
    assert ("create another TrainingRun" in message) == another
    assert "et spec.rerun to a new value to try again." in message


@pytest.mark.parametrize(
    "how", [{"code": 1}, {"code": 74}, {"code": 75}, {"code": 139}, failing(75, "Killed"), failing(74, "StorageUnavailable")]
)
def test_other_failures_are_tried_again_after_a_while(train: Train, how: dict[str, Any]) -> None:
    world = train(failurePolicy={"maxRestarts": 2})
    for attempt, pause in enumerate((10, 20)):
        job = world.job(attempt=str(attempt))
        world.fail(job, **how)
        world.settle()
        fold = world.fold("run")
        assert (fold["state"], fold["restarts"]) == ("BackingOff", attempt + 1)
        assert f"Restart {attempt + 1} of 2." in fold["message"]
        world.wait(seconds=pause - 1)
        world.settle()
        assert not world.jobs(attempt=str(attempt + 1)), "not before its time"
        world.wait(seconds=1)
        world.settle()
        assert not world.jobs(attempt=str(attempt)), "what stands in the status is tidied"
    world.fail(world.job(attempt="2"), **how)
    world.settle()
    assert world.fold("run")["state"] == "Failed"
    assert "3 attempts" in world.fold("run")["message"]


def test_without_restarts_the_first_failure_is_final(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    world.fail(world.job(owner_name="run"), 1)
    world.settle()
    assert world.fold("run")["state"] == "Failed"


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("reason", ["PreemptionByScheduler", "EvictionByEvictionAPI", "DeletionByTaintManager", "DeletionByPodGC"])
def test_disruptions_do_not_count(train: Train, reason: str, gone: bool) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=412, epochs=1000)
    world.settle()
    world.disrupt(job, reason, gone=gone)
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.status["folds"][0]["reason"] == "Disrupted"
    assert "at epoch 412" in outcome.status["folds"][0]["message"]
    assert "Not counted as a restart." in outcome.status["folds"][0]["message"]
    assert [event.reason for event in outcome.events if event.type == "Warning"] == ["Disrupted"]
    world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["restarts"], fold["disruptions"], fold["attempt"]) == ("Starting", 0, 1, 1)


def test_stops_of_the_local_shell_are_never_too_many(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    for attempt in range(15):
        world.run(world.job(owner_name="run", attempt=str(attempt)))
        world.settle()
        world.disrupt(world.job(owner_name="run", attempt=str(attempt)), STOPPED_BY_SHELL)
        world.settle()
    fold = world.fold("run")
    assert (fold["state"], fold["attempt"], fold["disruptions"], fold["restarts"]) == ("Starting", 15, 0, 0)


def test_ten_disruptions_without_progress_are_too_many_and_an_epoch_refills(train: Train) -> None:
    world = train()
    for epoch in [None] * 9 + [1] + [None] * 8:
        world.wait(minutes=10)
        world.settle()
        job = world.job(owner_name="run", attempt=str(world.fold("run")["attempt"]))
        world.run(job)
        if epoch is not None:
            world.say(job, phase="training", epoch=epoch, epochs=10)
        world.settle()
        world.disrupt(job)
        world.settle()
        assert world.fold("run")["state"] != "Failed"
    assert world.fold("run")["disruptions"] == 18
    world.wait(minutes=10)
    world.settle()
    world.disrupt(world.job(owner_name="run", attempt="18"))
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "TooManyDisruptions"


@pytest.fixture
def preprocessing() -> MemoryWorld:
    """Plans in three shards that are about to be preprocessed; no case is done."""
    world = MemoryWorld()
    world.put(objects.dataset())
    world.put(objects.plans(preprocessing={"configurations": ["3d_fullres"], "shards": 3}))
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    return world


def lose(world: MemoryWorld, number: int, done: int, **how: Any) -> dict[str, Any]:
    """End an attempt at preprocessing in which `done` cases of 12 were heard to be done; the row of its configuration."""
    world.wait(minutes=6)
    world.settle()
    job = world.job(step="preprocess", attempt=str(number))
    pods = world.run(job)
    for i, pod in enumerate(pods):
        share = done // 3 + (i < done % 3)
        world.heard[pod["metadata"]["uid"]] = Heard(progress=Progress(step="preprocess", done=share, total=4), at=world.now)
    world.settle()
    world.fail(job, **how) if how else world.disrupt(job)
    world.settle()
    return configuration(world)


def configuration(world: MemoryWorld) -> dict[str, Any]:
    return next(row for row in world.status("Plans", "plans")["configurations"] if row["name"] == "3d_fullres")


def test_cases_that_are_done_refill_the_budget_of_disruptions(preprocessing: MemoryWorld) -> None:
    for attempt in range(12):
        assert lose(preprocessing, attempt, done=min(attempt, 3))["state"] in ("BackingOff", "Starting"), attempt
    row = configuration(preprocessing)
    assert (row["casesDone"], row["disruptions"], row["disruptionsWithoutProgress"]) == (3, 12, 9)
    row = lose(preprocessing, 12, done=1)  # another shard's pod was not heard: no case is undone
    assert (row["state"], row["reason"], row["casesDone"]) == ("Failed", "TooManyDisruptions", 3)
    assert "without a further case" in row["message"]


def test_cases_that_are_done_refill_the_budget_of_restarts(preprocessing: MemoryWorld) -> None:
    for attempt in range(6):
        assert lose(preprocessing, attempt, done=attempt + 1, code=1)["restarts"] == 1
    for attempt, restarts in ((6, 2), (7, 3)):
        assert lose(preprocessing, attempt, done=6, code=1)["restarts"] == restarts
    assert lose(preprocessing, 8, done=6, code=1)["state"] == "Failed"


def test_an_advanced_epoch_refills_the_restarts(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 1})
    for epoch in (3, 5, 5):
        job = world.job(attempt=str(world.fold("run")["attempt"]))
        world.run(job)
        world.say(job, phase="training", epoch=epoch, epochs=10)
        world.settle()
        world.fail(job, 1)
        world.settle()
        assert (world.fold("run")["state"], world.fold("run")["restarts"]) == ("BackingOff", 1) if epoch != 5 else True
        world.wait(minutes=10)
        world.settle()
    assert world.fold("run")["state"] == "Failed", "twice at epoch 5"


@pytest.mark.parametrize("how", [{"code": 137, "oom": True}, failing(75, "OutOfMemory"), failing(137, "OOMKilled")])
def test_want_of_memory_is_tried_once_more(train: Train, how: dict[str, Any]) -> None:
    world = train()
    for attempt, state in enumerate(("BackingOff", "Failed")):
        world.fail(world.job(attempt=str(attempt)), **how)
        world.settle()
        assert (world.fold("run")["state"], world.fold("run")["reason"]) == (state, "OutOfMemory")
        assert "limits.memory" in world.fold("run")["message"]
        world.wait(minutes=1)
        world.settle()


@pytest.mark.parametrize("text", ["", "x" * 64_000, '{"step": "train"}', '{"step":"train","version":99}', "\ufffd\ufffd"])
def test_a_success_without_a_report_is_run_once_more(train: Train, text: str) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    world.finish(world.job(attempt="0"), text)
    world.wait(seconds=11)
    world.settle()
    assert world.fold("run")["attempt"] == 1
    world.finish(world.job(attempt="1"))
    world.settle()
    assert world.condition("TrainingRun", "run")[0] == "True"
    assert world.fold("run")["reportsMissed"] == 1


def test_a_report_that_never_comes_is_said_in_the_end(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 1})
    for attempt in ("0", "1"):
        world.finish(world.job(attempt=attempt), "")
        world.wait(seconds=11)
        world.settle()
    assert world.condition("TrainingRun", "run")[1] == "ReportMissing"


def test_a_job_deleted_by_hand_is_another_disruption(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.settle()
    world.remove("Job", job["metadata"]["name"])
    world.settle()
    fold = world.fold("run")
    assert (fold["attempt"], fold["disruptions"], fold["restarts"]) == (1, 1, 0)
