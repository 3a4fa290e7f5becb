"""`spec.retention: Delete`: held by a finalizer, results deleted by a Job, and never for ever without words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from nnunet_operator.manifests import names
from nnunet_trainer.contract.report import Artifact, Error, Report
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]
HELD = names.RESULTS_FINALIZER


def run(world: MemoryWorld) -> dict[str, Any] | None:
    return world.get("TrainingRun", "default", "run")


def delete(world: MemoryWorld, *, more: tuple[str, ...] = ()) -> None:
    """As `kubectl delete` does."""
    found = run(world)
    assert found is not None
    found["metadata"].setdefault("finalizers", []).extend(more)
    world.delete("TrainingRun", "run", found["metadata"]["uid"])
    world.settle()


def finished(train: Train, **spec: Any) -> MemoryWorld:
    world = train(retention="Delete", **spec)
    for job in world.jobs(owner_name="run"):
        world.finish(job)
    world.settle()
    world.wait(minutes=1)
    world.settle()
    return world


def said(world: MemoryWorld, reason: str) -> list[str]:
    return [event.message for _, event in world.events if event.reason == reason]


def deletion(world: MemoryWorld) -> dict[str, Any]:
    return world.job(step="delete_results")


def test_it_is_held_before_its_first_job_is_made(prepared: MemoryWorld) -> None:
    spec = {"plansRef": {"name": "plans"}, "folds": [0], "retention": "Delete"}
    prepared.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}, "spec": spec})
    made = list(prepared.created)
    prepared.turn()
    found = run(prepared)
    assert found is not None
    assert found["metadata"]["finalizers"] == [HELD]
    assert prepared.created == made
    prepared.settle()
    assert len(prepared.created) == len(made) + 1
    assert found["spec"] == spec, "no operator writes a spec"


def test_others_finalizers_stay_and_a_change_of_mind_counts(train: Train) -> None:
    world = train()
    found = run(world)
    assert found is not None
    assert "finalizers" not in found["metadata"]
    found["metadata"]["finalizers"] = ["example.com/mine"]
    world.edit("TrainingRun", "run", retention="Delete")
    world.settle()
    assert found["metadata"]["finalizers"] == ["example.com/mine", HELD]
    world.edit("TrainingRun", "run", retention="Retain")
    world.settle()
    assert found["metadata"]["finalizers"] == ["example.com/mine"]


def test_a_run_that_retains_is_never_held(train: Train) -> None:
    world = train()
    world.finish(world.job(owner_name="run"))
    world.settle()
    delete(world)
    assert run(world) is None
    assert world.jobs(step="delete_results") == []


def test_its_results_go_before_it_does(train: Train) -> None:
    world = finished(train)
    delete(world)
    assert run(world) is not None
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "Starting")
    assert "set spec.retention to Retain" in message
    order = world.order(deletion(world))
    assert (order["step"], order["namespace"], order["run"], order["owner"]) == (
        "delete_results", "default", "run", run(world)["metadata"]["uid"],
    )  # fmt: skip
    world.run(deletion(world))
    world.settle()
    world.finish(deletion(world))
    world.settle()
    assert run(world) is None
    assert world.jobs() == []
    assert said(world, "ResultsDeleted") == ["12 files deleted below s3://nnunet/runs/default/run"]
    assert said(world, "ResultsKept") == []


def test_its_job_is_small_and_asks_for_no_gpu(train: Train) -> None:
    template = {
        "resources": {"requests": {"cpu": 32}, "limits": {"memory": "256Gi", "example.com/fpga": 1}},
        "scratch": {"size": "1Ti", "storageClassName": "fast"},
        "sharedMemory": {"size": "64Gi"},
        "nodeSelector": {"pool": "a"},
    }
    managed = {"queueName": "gpus", "managedBy": "kueue.x-k8s.io/multikueue"}
    world = finished(train, template=template, workers={"nodes": 2, "gpusPerNode": 1}, **managed)
    delete(world)
    job = deletion(world)
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
    assert pod["nodeSelector"] == {"pool": "a"}
    assert "completions" not in job["spec"]
    assert not {"suspend", "managedBy"} & job["spec"].keys(), "it waits in no queue, and for nobody who serves one"
    assert not any("ephemeral" in volume or volume["name"] == "shm" for volume in pod["volumes"])


def test_what_trains_is_stopped_first(train: Train) -> None:
    world = train(retention="Delete", folds=[0, 1])
    jobs = world.jobs(owner_name="run")
    for job in jobs:
        world.run(job)
    world.settle()
    delete(world)
    assert world.jobs(step="delete_results") == []
    assert "its trainings are being stopped" in world.condition("TrainingRun", "run")[2]
    assert all(pod["metadata"].get("deletionTimestamp") for job in jobs for pod in world.pods(job["metadata"]["name"]))
    world.end_deletions()
    world.settle()
    world.finish(deletion(world))
    world.settle()
    assert run(world) is None


def test_nothing_is_made_for_a_run_that_wrote_nothing(prepared: MemoryWorld) -> None:
    spec = {"plansRef": {"name": "not-there"}, "folds": [0], "retention": "Delete"}
    prepared.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}, "spec": spec})
    prepared.settle()
    made = list(prepared.created)
    delete(prepared)
    assert run(prepared) is None
    assert prepared.created == made


@pytest.mark.parametrize("when", ["before", "while it is deleted"])
def test_in_a_namespace_that_is_being_deleted_it_goes_and_the_results_stay(train: Train, when: str) -> None:
    world = finished(train)
    if when == "while it is deleted":
        delete(world)
        world.run(deletion(world))
        world.settle()
    world.namespace_terminating = True
    if when == "before":
        delete(world)
    world.settle()
    assert run(world) is None
    assert "namespace default is being deleted" in said(world, "ResultsKept")[0]


@pytest.mark.parametrize(
    "stuck",
    ["failed", "no storage", "in use"],
)
def test_nothing_that_is_in_the_way_keeps_a_namespace(train: Train, stuck: str) -> None:
    world = finished(train)
    if stuck == "in use":
        world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "next"}, "spec": {
            "plansRef": {"name": "plans"}, "folds": ["all"], "pretrained": {"runRef": {"name": "run", "fold": "0"}},
        }})  # fmt: skip
    if stuck == "no storage":
        world.settings = replace(world.settings, storage=None)
    delete(world)
    if stuck == "failed":
        world.fail(deletion(world), 78, error=Error(code=78, reason="StorageAccessDenied", message="no"))
        world.settle()
    world.wait(hours=1)
    world.settle()
    found = run(world)
    assert found is not None
    assert "set spec.retention to Retain" in world.condition("TrainingRun", "run")[2]
    outcome = world.outcome("TrainingRun", "run")
    assert outcome is not None
    assert outcome.look_again is not None, "it is asked again"
    world.namespace_terminating = True
    world.settle()
    assert run(world) is None


def test_a_failure_is_told_with_the_ways_out(train: Train) -> None:
    world = finished(train)
    delete(world)
    error = Error(code=78, reason="StorageAccessDenied", message="s3://nnunet refuses to delete.", hint="Allow s3:DeleteObject.")
    world.fail(deletion(world), 78, error=error)
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "StorageAccessDenied")
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "True"
    assert "s3://nnunet refuses to delete" in message
    assert "tried again every 10 minutes, and at once with a new spec.rerun" in message
    assert "To let the object go now and keep its results, set spec.retention to Retain" in message
    writes = world.writes
    world.settle()
    assert world.writes == writes, "nothing is written while nothing changes"

    world.edit("TrainingRun", "run", rerun="2")
    world.settle()
    job = next(job for job in world.jobs(step="delete_results") if job["metadata"]["name"].endswith("-1"))
    world.fail(job, 78, error=error)
    world.settle()
    world.wait(minutes=11)
    world.settle()
    (job,) = (job for job in world.jobs(step="delete_results") if job["metadata"]["name"].endswith("-2"))
    world.finish(job)
    world.settle()
    assert run(world) is None


def test_a_failure_that_may_pass_is_tried_again_by_the_failure_policy(train: Train) -> None:
    world = finished(train)
    delete(world)
    world.fail(deletion(world), 74, error=Error(code=74, reason="StorageUnreachable", message="away"))
    world.settle()
    assert world.condition("TrainingRun", "run", "Stalled")[0] == "-"
    world.wait(minutes=5)
    world.settle()
    world.finish(world.job(step="delete_results", attempt="1"))
    world.settle()
    assert run(world) is None


@pytest.mark.parametrize("when", ["waiting", "running", "failed"])
def test_retain_lets_it_go_at_once(train: Train, when: str) -> None:
    world = finished(train)
    delete(world)
    if when == "running":
        world.run(deletion(world))
    if when == "failed":
        world.fail(deletion(world), 78)
    world.settle()
    world.edit("TrainingRun", "run", retention="Retain")
    world.settle()
    assert run(world) is None


def test_what_stays_in_the_storage_is_told(train: Train) -> None:
    world = finished(train)
    delete(world)
    report = report_of(deletion(world))
    kept = ["s3://nnunet/runs/default/run/0a: its results are those of TrainingRun default/run with uid 7 too"]
    world.finish(deletion(world), replace(report, summary={"deleted": 0, "sizeBytes": 0, "kept": kept}))
    world.settle()
    assert run(world) is None
    (message,) = said(world, "ResultsKept")
    assert kept[0] in message
    assert "Delete it by hand" in message


@pytest.mark.parametrize("summary", [{}, {"deleted": "many", "kept": "all"}, {"deleted": True, "kept": None}, {"kept": [1, None]}])
def test_a_report_with_odd_contents_ends_it_too(train: Train, summary: dict[str, Any]) -> None:
    world = finished(train)
    delete(world)
    world.finish(deletion(world), replace(report_of(deletion(world)), summary=summary))
    world.settle()
    assert run(world) is None


@pytest.mark.parametrize(
    "report",
    [
        Report(step="train", artifacts=[Artifact(kind="deletion", uri="s3://nnunet/runs/default/run", digest="u")]),
        Report(step="delete_results", artifacts=[Artifact(kind="deletion", uri="s3://other/runs", digest="u")]),
        Report(step="delete_results"),
    ],
)
def test_a_report_that_is_no_answer_does_not_count(train: Train, report: Report) -> None:
    world = finished(train)
    delete(world)
    world.finish(deletion(world), report)
    world.settle()
    assert run(world) is not None


def test_who_trains_from_its_results_is_waited_for(train: Train) -> None:
    world = finished(train)
    world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "next"}, "spec": {
        "plansRef": {"name": "plans"}, "folds": ["all"], "pretrained": {"runRef": {"name": "run", "fold": "0"}},
    }})  # fmt: skip
    delete(world)
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "ResultsInUse")
    assert "TrainingRun next trains from its results" in message
    assert world.jobs(step="delete_results") == []
    job = world.job(owner_name="next")  # it has begun: what it refers to is there still
    world.disrupt(job)
    world.settle()
    world.wait(minutes=5)
    world.settle()
    world.finish(world.job(owner_name="next", attempt="1"))
    world.settle()
    assert world.condition("TrainingRun", "next")[0] == "True"
    world.finish(deletion(world))
    world.settle()
    assert run(world) is None


def test_who_comes_when_the_deletion_has_begun_waits_for_another_run(train: Train) -> None:
    world = finished(train)
    delete(world)
    world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "next"}, "spec": {
        "plansRef": {"name": "plans"}, "folds": ["all"], "pretrained": {"runRef": {"name": "run", "fold": "0"}},
    }})  # fmt: skip
    world.settle()
    assert world.condition("TrainingRun", "next")[1] == "WaitingForTrainingRun"
    assert world.jobs(owner_name="next") == []
    world.finish(deletion(world))
    world.settle()
    assert run(world) is None


def test_who_is_being_deleted_too_is_not_waited_for(train: Train) -> None:
    world = finished(train)
    world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "next"}, "spec": {
        "plansRef": {"name": "plans"}, "folds": ["all"], "retention": "Delete",
        "pretrained": {"runRef": {"name": "run", "fold": "0"}},
    }})  # fmt: skip
    world.settle()
    world.delete("TrainingRun", "next", "")
    delete(world)
    world.settle()
    owners = {job["metadata"]["labels"]["nnunet.dev/owner-name"] for job in world.jobs(step="delete_results")}
    assert owners == {"run", "next"}


def test_results_in_another_storage_stay(train: Train) -> None:
    world = finished(train)
    assert world.settings.storage is not None
    world.settings = replace(world.settings, storage=world.settings.storage.model_copy(update={"uri": "s3://elsewhere"}))
    delete(world)
    assert run(world) is None
    assert "does not lie below the run's storage of today, s3://elsewhere" in said(world, "ResultsKept")[0]
    assert world.jobs(step="delete_results") == []


def test_results_of_orphaned_jobs_stay(train: Train) -> None:
    world = finished(train)
    delete(world, more=("orphan",))
    found = run(world)
    assert found is not None
    assert found["metadata"]["finalizers"] == ["orphan"]
    assert "--cascade=orphan" in said(world, "ResultsKept")[0]


def test_an_object_that_cannot_be_read_goes_and_its_results_stay(train: Train) -> None:
    world = finished(train)
    world.edit("TrainingRun", "run", maxParallelFolds="many")
    delete(world)
    assert run(world) is None
    assert "Its results stay" in said(world, "ResultsKept")[0]


def test_a_time_to_live_ends_with_the_results(train: Train) -> None:
    world = finished(train, ttlSecondsAfterFinished=3600)
    world.wait(hours=2)
    world.settle()
    assert "its results go too" in said(world, "Deleted")[0]
    world.finish(deletion(world))
    world.settle()
    assert run(world) is None


@pytest.mark.parametrize("steps", range(6))
def test_an_operator_that_is_killed_goes_on(train: Train, steps: int) -> None:
    world = finished(train)
    found = run(world)
    assert found is not None
    world.delete("TrainingRun", "run", found["metadata"]["uid"])
    key = next(key for key in world.objects if key.kind == "TrainingRun")
    for _ in range(4):
        outcome = world.outcome("TrainingRun", "run")
        if outcome is None:
            break
        world.carry_out(key, outcome, steps=steps)
        world.settle()
        if run(world) is not None and world.jobs(step="delete_results"):
            world.finish(deletion(world))
    world.settle()
    assert run(world) is None
    assert len([name for name in world.created if "-delete-" in name]) == 1
