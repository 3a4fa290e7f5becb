"""What a running pod says about itself, and that it says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.view import Heard, Key
from nnunet_operator.reconcile.view_builder import build_view
from nnunet_trainer.contract.progress import Progress
from support.objects import resource
from support.world import CHAIN, MemoryWorld

Train = Callable[..., MemoryWorld]


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
    world.settle()
    world.fail(second, 74)
    world.settle()
    assert "nothing heard" in world.condition("TrainingRun", "run")[2]
    told = [event.message for about, event in world.events if about == key]
    assert told
    assert not [text for text in told if "nothing heard" in text]


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


@pytest.mark.parametrize(("folds", "most"), [(1, 16), (20, 16), (40, 8), (100, 3)])
def test_what_many_folds_warn_of_fits_into_an_object(train: Train, folds: int, most: int) -> None:
    """And what is beyond the first ones is not told as over."""
    world = train(folds=[str(number) for number in range(folds)], maxParallelFolds=folds)
    warnings = [f"{number:02} {'x' * 950}" for number in range(20)]
    jobs = world.jobs(owner_name="run")
    assert len(jobs) == folds
    for second, said in ((0, warnings), (60, ["new", *warnings])):
        world.wait(seconds=second)
        for job in jobs:
            if not second:
                world.run(job)
            world.say(job, phase="training", epoch=second, epochs=100, warnings=said, speed="x" * 512, continued="x" * 1024)
        world.settle()
        status = world.status("TrainingRun", "run")
        assert [fold["warnings"] for fold in status["folds"]] == [said[:most]] * folds
        assert len(json.dumps(status)) < 1_000_000, "etcd takes 1.5 MB, of which the spec and who wrote what take some"
    told = [event.reason for _, event in world.events if "Warning" in event.reason]
    assert told == ["TrainingWarning"] * (most + 1) * folds, "one more is told, and none as over"


@pytest.mark.parametrize(
    ("kind", "name", "step", "before"),
    [
        ("Dataset", "data", "dataset", []),
        ("Plans", "plans", "plan", ["dataset"]),
        ("Plans", "plans", "preprocess", ["dataset", "plan"]),
        ("TrainingRun", "run", "train", ["dataset", "plan", "preprocess"]),
    ],
)
def test_what_any_step_warns_of_is_in_the_message_while_it_lasts(kind: str, name: str, step: str, before: list[str]) -> None:
    """Such as a plug-in's function that does not end: also before a training's first epoch, and of a pod that is not the first."""
    world = MemoryWorld()
    world.put(CHAIN.replace("[3d_fullres]", "[3d_fullres], shards: 2"))
    world.put(resource("TrainingRun", "run", plansRef={"name": "plans"}, folds=["0"]))
    for done in before:
        world.settle()
        world.finish(world.job(step=done))
    world.settle()
    job = world.job(step=step)
    last = world.run(job)[-1]["metadata"]["uid"]
    slow, more = "Case a: The step Smooth (a.py:3) has not ended for 5 minutes; it is at a.py, line 4: f(x).", "Another."
    for warnings in (None, [slow], [slow, more], None):
        world.wait(minutes=1)
        said = Progress(step=step, phase="working", warnings=warnings)
        world.heard[last] = Heard(progress=said, at=world.now)
        world.settle()
        message = world.condition(kind, name)[2]
        assert (f"; warning: {slow.rstrip('.')}" in message) == (slow in (warnings or []))
        assert ("(and 1 more in " in message) == (len(warnings or []) == 2)


def test_how_fast_a_training_is_stands_in_its_fold(train: Train) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    told = "41.2 patches/s: backward 44%, forward and loss 36%; peak GPU memory 7.9 GiB"
    for speed, shown in ((None, None), (told, told), (None, told), ("x" * 2000, "x" * 512)):
        world.wait(seconds=15)
        world.say(job, phase="training", epoch=1, epochs=10, speed=speed)
        world.wait(seconds=90)
        world.settle()
        assert world.fold("run").get("speed") == shown


@pytest.mark.parametrize("how", ["fails", "is disrupted", "is suspended"])
def test_no_time_is_left_where_nothing_runs(train: Train, how: str) -> None:
    world = train()
    job = world.job(owner_name="run")
    world.run(job)
    world.say(job, phase="training", epoch=3, epochs=10, eta_seconds=600)
    world.settle()
    assert world.fold("run")["eta"] == "10m"
    match how:
        case "fails":
            world.fail(job, 78)
        case "is disrupted":
            world.disrupt(job)
        case _:
            world.edit("TrainingRun", "run", suspend=True)
    world.turn()
    assert "eta" not in world.fold("run")
    assert world.status("TrainingRun", "run")["eta"] == "-"
