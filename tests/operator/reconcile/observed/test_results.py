"""What a report says, as status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.api.resources import parse
from nnunet_operator.reconcile.observed import results
from nnunet_operator.reconcile.view import Key
from nnunet_trainer.contract.report import Report
from support.objects import dataset, finish, plans, run
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


@pytest.mark.parametrize("garbage", [-1, "many", None, 1e300, 10**40, [], {"a": {"b": {}}}])
def test_garbage_in_a_report_never_makes_an_invalid_status(garbage: Any) -> None:
    world = MemoryWorld()
    for manifest in (dataset(), plans(), run()):
        world.put(manifest)
    for step in ("dataset", "plan", "preprocess", "train"):
        world.settle()
        job = world.job(step=step)
        report = report_of(job)
        for key in list(report.summary):
            if key != "configurations":
                report.summary[key] = garbage
        for shape in report.summary.get("configurations", {}).values():
            for key in list(shape):
                if key != "preprocessable":
                    shape[key] = garbage
        pod = world.run(job)[0]
        world.finish(job, report)
        assert pod["status"]["phase"] == "Succeeded"
    world.settle()
    for kind, name in (("Dataset", "data"), ("Plans", "plans"), ("TrainingRun", "run")):
        assert world.condition(kind, name)[0] == "True"
        assert parse(world.objects[Key(kind, "default", name)]).status.to_json() == world.status(kind, name)


SAID = {
    "source": "s3://nnunet/source/checkpoint_final.pth",
    "loaded": 84,
    "adapted": 1,
    "skipped": 4,
    "mismatched": 2,
    "missing": 0,
    "unused": 3,
    "message": "84 tensors loaded, 1 adapted, 4 of the segmentation layers begin anew",
}


FILE = {"uri": "s3://nnunet/source/checkpoint_final.pth"}


def finished(train: Train, said: Any) -> MemoryWorld:
    world = train(pretrained=FILE)
    job = world.job(owner_name="run")
    report = report_of(job)
    world.finish(job, Report(step="train", artifacts=report.artifacts, summary={**report.summary, "pretrained": said}))
    world.settle()
    return world


def test_the_load_report_stands_in_the_status_and_its_message(train: Train) -> None:
    world = finished(train, SAID)
    fold = world.get("TrainingRun", "default", "run")["status"]["folds"][0]  # type: ignore[index]
    assert fold["pretrained"] == SAID
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("True", "Completed")
    assert "from pretrained weights (84 tensors loaded, 1 adapted" in message


@pytest.mark.parametrize("said", [None, [], {"loaded": 3}, {"source": "s3://b/c.pth", "loaded": "many", "skipped": -1}])
def test_a_load_report_of_another_trainer_is_read_as_far_as_it_can_be(train: Train, said: Any) -> None:
    world = finished(train, said)
    fold = world.get("TrainingRun", "default", "run")["status"]["folds"][0]  # type: ignore[index]
    assert fold["state"] == "Succeeded"
    if isinstance(said, dict) and "source" in said:
        assert fold["pretrained"] == {"source": "s3://b/c.pth", **dict.fromkeys(results.PRETRAINED_COUNTS, 0)}
    else:
        assert "pretrained" not in fold


def test_what_is_not_planned_any_more_is_not_shown(prepared: MemoryWorld) -> None:
    world = prepared
    world.edit("Dataset", "data", rerun="2")
    world.settle()
    finish(world, "dataset", "2")
    job = world.job(step="plan", attempt="1")
    report = report_of(job, "2")
    kept: dict[str, Any] = {"3d_fullres": report.summary["configurations"]["3d_fullres"]}
    world.finish(job, Report(step="plan", artifacts=report.artifacts, summary={**report.summary, "configurations": kept}))
    world.settle()
    rows = {row["name"]: row for row in world.status("Plans", "plans")["configurations"]}
    assert "patchSize" not in rows["2d"]
    assert rows["3d_fullres"]["patchSize"] == [40, 56, 40]
