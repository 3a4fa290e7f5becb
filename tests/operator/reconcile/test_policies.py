"""Suspension, deadlines, reruns, room, queues, time to live: each policy by its field."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.outcome import Outcome
from nnunet_operator.reconcile.status.child_refused import refused
from nnunet_operator.reconcile.view import Heard, Key
from nnunet_operator.reconcile.view_builder import build_view
from nnunet_trainer.contract.progress import Progress
from support.world import CHAIN, MemoryWorld, report_of, stamp

Train = Callable[..., MemoryWorld]


def test_suspend_stops_with_a_checkpoint_and_resume_goes_on_uncounted(train: Train) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=7, epochs=10)
    world.settle()
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Suspending"
    assert not world.jobs(), "the Job is deleted, its pod gets its grace"
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert not world.jobs(), "nothing starts beside a pod that still saves"
    world.end_deletions()
    world.settle()
    fold = world.fold("run")
    assert (fold["attempt"], fold["restarts"], fold["disruptions"]) == (1, 0, 0)
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    world.end_deletions()
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "Suspended")
    assert "epoch 7" in message
    assert world.condition("TrainingRun", "run", "Reconciling")[0] == world.condition("TrainingRun", "run", "Stalled")[0] == "-"


def test_what_ended_before_the_suspension_is_kept(train: Train) -> None:
    world = train(folds=["0", "1"])
    world.finish(world.job(fold="0"))
    world.edit("TrainingRun", "run", suspend=True)
    world.settle()
    assert (world.fold("run", "0")["state"], world.fold("run", "1")["state"]) == ("Succeeded", "Suspended")


def test_a_run_that_is_created_suspended_makes_nothing(train: Train) -> None:
    world = train(suspend=True)
    assert not world.jobs()
    world.edit("TrainingRun", "run", suspend=False)
    world.settle()
    assert len(world.jobs()) == 1


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


def test_the_active_deadline_counts_running_time_alone(train: Train) -> None:
    world = train(activeDeadlineSeconds=3600)
    world.wait(hours=5)
    world.run(world.job(attempt="0"))
    world.settle()
    world.wait(minutes=40)
    world.disrupt(world.job(attempt="0"))
    world.settle()
    world.wait(hours=9)
    world.settle()
    world.run(world.job(attempt="1"))
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    assert outcome.look_again.total_seconds() <= 1200
    world.settle()
    world.wait(minutes=19)
    world.settle()
    assert world.fold("run")["state"] == "Running"
    world.wait(minutes=2)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "DeadlineExceeded"
    world.end_deletions()
    world.settle()
    assert not world.jobs()
    world.edit("TrainingRun", "run", rerun="1")
    world.settle()
    assert world.fold("run")["state"] == "Starting"


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


def test_folds_of_one_run_are_never_mixed(train: Train) -> None:
    world = train(folds=["0", "1"], maxParallelFolds=1)
    world.finish(world.job(fold="0"))
    world.edit("Dataset", "data", rerun="2")
    world.turn()
    running = world.job(step="dataset")
    world.finish(running, report_of(running, version="2"))
    world.settle()
    first = world.job(fold="1")
    world.run(first)
    for step in ("plan", "preprocess"):
        job = world.job(step=step)
        world.finish(job, report_of(job, version="2"))
        world.settle()
    assert world.fold("run", "1")["state"] == "Running", "what runs goes on by its frozen order"
    world.disrupt(first)
    world.settle()
    _status, reason, message = world.condition("TrainingRun", "run")
    assert reason == "ReferenceChanged"
    assert "spec.rerun" in message
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"


def test_so_many_folds_at_a_time(train: Train) -> None:
    world = train(folds=["0", "1", "2"], maxParallelFolds=2)
    assert {job["metadata"]["labels"]["nnunet.dev/fold"] for job in world.jobs()} == {"0", "1"}
    assert "maxParallelFolds is 2" in world.fold("run", "2")["message"]
    world.fail(world.job(fold="0"), 1)
    world.settle()
    assert not world.jobs(fold="2"), "who is about to try again keeps the place"
    world.finish(world.job(fold="1"))
    world.settle()
    assert world.jobs(fold="2")


def test_a_queued_job_is_left_to_its_queue(train: Train) -> None:
    world = train(queueName="gpus")
    job = world.job(owner_name="run")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Queued"
    world.wait(days=30)
    world.settle()
    assert world.fold("run")["attempt"] == 0
    job["spec"]["suspend"] = False
    world.run(job)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Training"
    assert job["spec"]["suspend"] is False


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_a_finished_object_goes_after_its_time(train: Train, end: str) -> None:
    world = train(ttlSecondsAfterFinished=60)
    job = world.job(owner_name="run")
    world.finish(job) if end == "finish" else world.fail(job, 78)
    world.settle()
    world.wait(seconds=59)
    world.settle()
    assert Key("TrainingRun", "default", "run") in world.objects
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    world.wait(seconds=2)
    world.turn()
    assert Key("TrainingRun", "default", "run") not in world.objects
    assert world.events[-1][1].reason == "Deleted"


def test_progress_is_shown_and_silence_is_said(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=37, epochs=250, ema_pseudo_dice=0.8712, eta_seconds=18720.0)
    world.settle()
    status = world.status("TrainingRun", "run")
    assert (status["epoch"], status["dice"], status["eta"], status["foldsDone"]) == ("37/250", "0.871", "5h12m", "0/1")
    assert "epoch 37 of 250" in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=119)
    world.settle()
    assert "nothing heard" not in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=2)
    world.settle()
    assert "nothing heard from its pod since 2026-11-01 12:00:00 UTC" in world.condition("TrainingRun", "run")[2]
    world.say(job, phase="validating", done=3, total=10)
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "Validating"
    assert world.fold("run")["epoch"] == 37


def test_a_pod_is_silent_only_once_it_has_been_asked_and_that_is_no_event(train: Train) -> None:
    world = train(folds=["0", "1"])
    first, second = world.jobs(owner_name="run")
    world.run(first)
    world.settle()
    world.wait(minutes=30)
    key = Key("TrainingRun", "default", "run")

    def message(listening: datetime) -> str:
        view = build_view(world, key, world.now, world.settings, world.heard, listening)
        assert view is not None
        return str(reconcile(view).status["folds"][0]["message"])

    assert "nothing heard" not in message(world.now)
    assert "nothing heard" not in message(world.now - timedelta(seconds=119))
    assert "nothing heard" in message(world.now - timedelta(minutes=2))
    world.settle()
    assert "nothing heard" in world.condition("TrainingRun", "run")[2]
    world.run(second)
    world.say(second, phase="validating", done=1, total=2)
    world.settle()
    world.finish(second)
    world.settle()
    assert "nothing heard" in world.condition("TrainingRun", "run")[2]
    told = [event.message for about, event in world.events if about == key]
    assert told
    assert not [text for text in told if "nothing heard" in text]


@pytest.mark.parametrize("code", [0, 143])
def test_a_pod_that_has_ended_is_still_at_work_until_its_job_says_how_it_ended(train: Train, code: int) -> None:
    world = train()
    job = world.job(owner_name="run")
    pod = world.run(job)[0]
    world.say(job, phase="training", epoch=3, epochs=10)
    world.settle()
    before, said = world.status("TrainingRun", "run"), len(world.events)
    ended = {"exitCode": code, "finishedAt": stamp(world.now)}
    pod["status"] |= {"phase": "Failed" if code else "Succeeded"}
    pod["status"]["containerStatuses"] = [{"name": "trainer", "state": {"terminated": ended}}]
    world.wait(seconds=3)
    world.settle()
    assert world.status("TrainingRun", "run") == before
    assert len(world.events) == said
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again == timedelta(seconds=5)
    world.disrupt(job) if code else world.finish(job)
    world.settle()
    assert world.fold("run")["state"] == ("Starting" if code else "Succeeded")


def test_a_job_is_deleted_only_when_its_result_is_stored(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.status["folds"][0]["state"] == "Succeeded"
    assert not outcome.delete
    assert outcome.look_again is not None
    world.carry_out(Key("TrainingRun", "default", "run"), outcome)
    after = world.outcome("TrainingRun", "run")
    assert after is not None
    assert [delete.kind for delete in after.delete] == ["Job", "ConfigMap"]
    assert after.status == outcome.status


def test_a_job_without_pods_is_explained_after_a_while(train: Train) -> None:
    world = train()
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None
    assert "attempt 1 is being started" in world.condition("TrainingRun", "run")[2]
    world.wait(seconds=61)
    world.settle()
    assert "quota" in world.condition("TrainingRun", "run")[2]


def test_a_slow_start_is_explained_after_a_while(train: Train) -> None:
    world = train()
    world.hold(world.job(owner_name="run"), "ContainerCreating")
    before = world.writes
    world.settle()
    assert world.writes == before, "an ordinary start is not worth a write"
    world.wait(seconds=61)
    world.settle()
    assert "has been starting (image, volumes) since" in world.condition("TrainingRun", "run")[2]


def test_each_retry_is_one_warning(train: Train) -> None:
    world = train()
    world.fail(world.job(owner_name="run"), 74)
    world.settle()
    warnings = [event for key, event in world.events if key.name == "run" and event.type == "Warning"]
    assert [event.reason for event in warnings] == ["StorageUnavailable"]
    assert "StorageUnavailable" not in [event.reason for _, event in world.events if event.type == "Normal"]


def test_a_fold_that_waits_for_its_next_attempt_is_told_once(train: Train) -> None:
    world = train(folds=["0", "1"])
    first, second = world.jobs(owner_name="run")
    world.run(second)
    world.settle()
    world.fail(first, 74)
    world.settle()
    world.finish(second)  # now the other fold is all that there is to say of the run
    world.settle()
    assert world.condition("TrainingRun", "run")[1] == "StorageUnavailable"
    told = [event for key, event in world.events if key.name == "run" and event.reason == "StorageUnavailable"]
    assert [event.type for event in told] == ["Warning"]


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
    refuse(world)
    assert world.fold("run")["state"] == "Succeeded"
    assert first["metadata"]["name"] in [gone.name for gone in refuse(world).delete]
    world.settle()
    world.finish(world.job(fold="1"))
    world.settle()
    assert world.condition("TrainingRun", "run")[:2] == ("True", "Completed")


def test_what_somebody_adds_to_a_transfers_plans_is_left(prepared: MemoryWorld) -> None:
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    prepared.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    prepared.settle()
    prepared.edit("Plans", "moved", rerun="by hand")
    prepared.settle()
    assert prepared.objects[Key("Plans", "default", "moved")]["spec"]["rerun"] == "by hand"


def test_shards_are_one_indexed_job_and_their_cases_add_up() -> None:
    world = MemoryWorld()
    world.put(CHAIN.replace("[3d_fullres]", "[3d_fullres], shards: 3"))
    for step in ("dataset", "plan"):
        world.settle()
        world.finish(world.job(step=step))
    world.settle()
    job = world.job(step="preprocess")
    assert (job["spec"]["completions"], world.order(job)["shards"]) == (3, 3)
    for pod, done in zip(world.run(job), (2, 3, 1), strict=True):
        said = Progress(step="preprocess", phase="preprocessing", done=done, total=4)
        world.heard[pod["metadata"]["name"]] = Heard(progress=said, at=world.now)
    world.settle()
    assert world.status("Plans", "plans")["cases"] == "6/12"
    assert "6 of 12 cases preprocessed" in world.condition("Plans", "plans")[2]
    world.fail(job, 137)
    world.wait(seconds=10)
    world.settle()
    world.finish(world.job(step="preprocess"))
    world.settle()
    assert world.status("Plans", "plans")["cases"] == "12/12"


def test_the_same_epoch_is_not_written_at_every_question(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=3, epochs=10, eta_seconds=700.0)
    world.settle()
    for second, news in ((15, False), (30, False), (45, False), (60, True)):
        world.wait(seconds=15)
        world.say(job, phase="training", epoch=3, epochs=10, eta_seconds=700.0 - second)
        assert world.turn() is news
    world.wait(seconds=1)
    world.say(job, phase="training", epoch=4, epochs=10)
    assert world.turn(), "an epoch is news"


def test_what_a_training_warns_of_is_shown_and_told_once(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    clipped, starving = "The gradients are clipped. Lower it.", "The GPU waits for data."
    for epoch, warnings in enumerate(([], [clipped], [clipped], [clipped, starving], [starving], None)):
        world.wait(seconds=15)
        world.say(job, phase="training", epoch=epoch, epochs=10, warnings=warnings)
        world.settle()
        assert world.fold("run").get("warnings") == (warnings or None)
        message = world.condition("TrainingRun", "run")[2]
        assert ("warning: The gradients are clipped. Lower it" in message) == (clipped in (warnings or []))
        assert ("and 1 more in status.folds" in message) == (len(warnings or []) == 2)
    told = [(e.type, e.reason, e.message.partition(": ")[2]) for _, e in world.events if "Warning" in e.reason]
    assert told == [
        ("Warning", "TrainingWarning", clipped),
        ("Warning", "TrainingWarning", starving),
        ("Normal", "WarningOver", f"no longer: {clipped}"),
        ("Normal", "WarningOver", f"no longer: {starving}"),
    ]


def test_a_status_write_that_was_lost_makes_nothing_twice(train: Train) -> None:
    world = train(suspend=True)
    world.edit("TrainingRun", "run", suspend=False)
    key = Key("TrainingRun", "default", "run")
    outcome = world.outcome(*key[::2])
    assert outcome is not None
    world.carry_out(key, outcome, steps=2)
    assert world.fold("run").get("attempt") is None, "the operator was killed between the Job and the status"
    world.finish(world.job(owner_name="run"))
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
    assert [name for name in world.created if name.startswith("run-")] == [world.fold("run")["job"]]


def test_an_attempt_that_is_given_up_is_deleted_after_that_is_stored(train: Train) -> None:
    world = train(activeDeadlineSeconds=60)
    world.run(world.job(owner_name="run"))
    world.settle()
    world.wait(seconds=61)
    key = Key("TrainingRun", "default", "run")
    outcome = world.outcome(*key[::2])
    assert outcome is not None
    assert outcome.status["folds"][0]["state"] == "Failed"
    assert not outcome.delete
    world.carry_out(key, outcome)
    after = world.outcome(*key[::2])
    assert after is not None
    assert [delete.kind for delete in after.delete] == ["Job", "ConfigMap"]


def test_a_job_deleted_before_it_was_worth_a_note_is_made_again(train: Train) -> None:
    world = train()
    world.remove("Job", world.job(owner_name="run")["metadata"]["name"])
    world.settle()
    assert (world.fold("run")["attempt"], world.fold("run")["disruptions"]) == (0, 0)
    assert len(world.jobs(owner_name="run")) == 1
