"""A report counts when it answers the order that was given, and nothing that a pod says makes an invalid status."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.observed.report_checks import is_below
from nnunet_operator.reconcile.view import Heard
from nnunet_trainer.contract import progress
from nnunet_trainer.contract.report import Report, encode
from support.objects import dataset, plans, run, valid_status
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]


@pytest.mark.parametrize(
    ("place", "storage", "below"),
    [
        ("s3://bucket/a", "s3://bucket", True),
        ("s3://bucket/a/b", "s3://bucket/a/", True),
        ("s3://bucket/a", "s3://bucket/a", False),
        ("s3://bucket", "s3://bucket", False),
        ("s3://bucket/ab", "s3://bucket/a", False),
        ("s3://bucket-2/a", "s3://bucket", False),
        ("s3://other/a/b", "s3://bucket/a", False),
        ("s3://bucket/a/../b", "s3://bucket/a", False),
        ("pvc://bucket/a", "s3://bucket", False),
        ("pvc://claim/a/b", "pvc://claim/a", True),
        ("pvc://claim/a/../../b", "pvc://claim/a", False),
        ("file:///data/a", "file:///data", True),
        ("file:///data/a", "file:///", True),
        ("file:///database/a", "file:///data", False),
        ("file:///data/../etc", "file:///data", False),
        ("https://bucket/a", "s3://bucket", False),
        ("", "s3://bucket", False),
        ("s3://bucket/a\udcff", "s3://bucket", False),
        ("s3://bucket/a\n", "s3://bucket", False),
    ],
)
def test_what_lies_below_a_storage(place: str, storage: str, below: bool) -> None:
    assert is_below(place, storage) is below


WRONG: dict[str, tuple[Callable[[Report], Report], str]] = {
    "of another step": (lambda report: replace(report, step="plan"), "it is of step 'plan'"),
    "no artifact": (lambda report: replace(report, artifacts=[]), "names no artifact of kind"),
    "an artifact of another kind": (
        lambda report: replace(report, artifacts=[replace(report.artifacts[0], kind="plans")]),
        "names no artifact of kind",
    ),
    "in another bucket": (
        lambda report: replace(report, artifacts=[replace(report.artifacts[0], uri="s3://elsewhere/x")]),
        "is not below the storage of its order, s3://nnunet",
    ),
    "out of the bucket": (
        lambda report: replace(report, artifacts=[replace(report.artifacts[0], uri="s3://nnunet/../x")]),
        "is not below the storage of its order, s3://nnunet",
    ),
    "of another store": (
        lambda report: replace(report, artifacts=[replace(report.artifacts[0], uri="file:///etc/passwd")]),
        "is not below the storage of its order, s3://nnunet",
    ),
    "without a digest": (
        lambda report: replace(report, artifacts=[replace(report.artifacts[0], digest="")]),
        "the digest of its artifact",
    ),
    "with an odd digest": (
        lambda report: replace(report, artifacts=[replace(report.artifacts[0], digest="a b\n" * 100)]),
        "the digest of its artifact",
    ),
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
@pytest.mark.parametrize("kind", ["Dataset", "TrainingRun"])
def test_a_report_that_is_no_answer_to_its_order_is_told_and_not_asked_for_for_ever(train: Train, kind: str, wrong: str) -> None:
    world = train() if kind == "TrainingRun" else MemoryWorld()
    name, labels = ("run", {"owner_name": "run"}) if kind == "TrainingRun" else ("data", {})
    if kind == "Dataset":
        world.put(dataset())
        world.settle()
    change, told = WRONG[wrong]
    for _ in range(10):
        if not (jobs := [job for job in world.jobs(**labels) if not job.get("status")]):
            break
        world.finish(jobs[0], change(report_of(jobs[0])))
        world.settle()
        world.wait(minutes=1)
        world.settle()
    assert world.condition(kind, name)[1] == "ReportMissing"
    assert told in world.condition(kind, name)[2]
    assert world.condition(kind, name, "Stalled")[0] == "True"
    assert len([job for job in world.created if job.startswith(name)]) == 4


def test_an_order_of_before_its_storage_was_written_down_is_believed(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    del job["metadata"]["annotations"][names.STORAGE_URI]
    report = report_of(job)
    world.finish(job, replace(report, artifacts=[replace(report.artifacts[0], uri="s3://of-then/x")]))
    world.settle()
    assert world.fold("run")["artifact"]["uri"] == "s3://of-then/x"


def test_places_elsewhere_are_not_told(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=1, epochs=2, checkpoint_uri="s3://elsewhere/checkpoint.pth", checkpoint_epoch=1)
    world.settle()
    assert world.fold("run")["epoch"] == 1
    assert "checkpoint" not in world.fold("run")
    world.wait(minutes=2)
    world.say(job, phase="training", epoch=2, epochs=2, checkpoint_uri="s3://nnunet/checkpoint.pth", checkpoint_epoch=2)
    world.settle()
    assert world.fold("run")["checkpoint"] == {"uri": "s3://nnunet/checkpoint.pth", "epoch": 2}
    report = report_of(job)
    said = dict.fromkeys(("folderUri", "checkpointUri", "bestUri"), "s3://elsewhere/x")
    world.finish(job, replace(report, summary=report.summary | said, detail="https://elsewhere/x"))
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
    assert "elsewhere" not in str(world.status("TrainingRun", "run"))


def test_what_a_pod_of_another_step_says_is_not_heard(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    pod = world.run(job)[0]
    world.heard[pod["metadata"]["uid"]] = Heard(progress=progress.Progress(step="plan", epoch=7, epochs=9), at=world.now)
    world.settle()
    assert "epoch" not in world.fold("run")


TEXT = st.text(st.characters(codec=None) | st.characters(categories=["Cs", "Cc"]), max_size=12) | st.just("x" * 3000)
SCALAR = st.none() | st.booleans() | st.integers() | st.just(10**30) | st.just(2**62) | st.floats() | TEXT
HOSTILE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=9) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
) | st.dictionaries(st.integers(0, 2000).map(str), st.just("x"), min_size=100, max_size=600)


def hostile(report: Report, said: dict[str, Any]) -> str:
    """A termination message with a hostile summary, not cut."""
    plain = json.loads(encode(replace(report, summary={})))
    return json.dumps(plain | {"summary": report.summary | said})


PLANNED = {"configurations": {f"c{i}": {"patchSize": [1], "batchSize": 1} for i in range(70)} | {"\udcff": {}, "x" * 64: {}}}
LINES = {"compatibility": [{"field": "x" * 200 + str(i), "source": 10**40, "verdict": [1]} for i in range(3)]}


@pytest.mark.parametrize("step", ["dataset", "plan", "preprocess", "train"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_hostile_summary_never_makes_an_invalid_status(step: str, data: st.DataObject) -> None:
    world = MemoryWorld()
    for manifest in (dataset(), plans(), run()):
        world.put(manifest)
    for before in ("dataset", "plan", "preprocess", "train"):
        world.settle()
        job = world.job(step=before)
        report = report_of(job)
        if before != step:
            world.finish(job, report)
            continue
        said = {
            key: data.draw(HOSTILE, label=key)
            for key in data.draw(st.lists(st.sampled_from([*sorted(report.summary), "warnings"])))
        }
        said |= data.draw(st.sampled_from([{}, PLANNED, LINES])) if step == "plan" else {}
        world.finish(job, hostile(report, said))
        break
    for _ in range(3):
        world.settle()
        world.wait(minutes=1)
    for kind, name in (("Dataset", "data"), ("Plans", "plans"), ("TrainingRun", "run")):
        valid_status(world, kind, name)


@pytest.mark.parametrize("code", [1, 65, 137, 143])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    said=st.dictionaries(st.sampled_from(["reason", "message", "hint"]), TEXT), epoch=HOSTILE, detail=TEXT, garbage=TEXT | st.none()
)
def test_a_hostile_error_never_makes_an_invalid_status(
    code: int, said: dict[str, str], epoch: object, detail: str, garbage: str | None
) -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.settle()
    error = {"code": code, "reason": "Failed", "message": "failed", **said}
    document = json.dumps({"step": "dataset", "version": 1, "error": error, "summary": {"epoch": epoch}, "detail": detail})
    world.fail(world.job(), code, document if garbage is None else garbage)
    world.settle()
    valid_status(world, "Dataset", "data")
    for _, event in world.events:
        event.message.encode()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(said=st.dictionaries(st.sampled_from(sorted(progress.Progress.__slots__)), HOSTILE))
def test_hostile_progress_never_makes_an_invalid_status(train: Train, said: dict[str, Any]) -> None:
    world = train()
    job = world.job(owner_name="run")
    uid = world.run(job)[0]["metadata"]["uid"]
    camel = {
        "".join([head, *(part.title() for part in rest)]): value for key, value in said.items() for head, *rest in [key.split("_")]
    }
    heard = progress.decode(json.dumps({"step": "train", "epoch": 1, "epochs": 2} | camel | {"step": "train"}))
    world.wait(minutes=2)
    world.heard.clear()
    if heard is not None:
        world.heard[uid] = Heard(progress=heard, at=world.now)
    world.settle()
    valid_status(world, "TrainingRun", "run")


@pytest.mark.parametrize("value", [1e300, -1e300, 1.5, -0.5])
def test_a_dice_that_is_none_is_not_shown(train: Train, value: float) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=1, epochs=2, ema_pseudo_dice=value, train_loss=value)
    world.settle()
    valid_status(world, "TrainingRun", "run")
    assert "pseudoDice" not in world.fold("run")
    assert world.status("TrainingRun", "run")["dice"] == "-"


def test_a_file_name_that_is_no_utf8_is_told_in_a_status_that_can_be_written(train: Train) -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.settle()
    error = {"code": 65, "reason": "InvalidFile", "message": "imagesTr/a\udcff.nii.gz cannot be read"}
    world.fail(world.job(), 65, json.dumps({"step": "dataset", "version": 1, "error": error}))
    world.settle()
    assert "imagesTr/a\\xff.nii.gz cannot be read" in world.condition("Dataset", "data")[2]
    valid_status(world, "Dataset", "data")
