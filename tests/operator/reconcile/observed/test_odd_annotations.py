"""Annotations of Jobs and pods, which anybody may write who may edit those, stop no object and make no invalid status."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key
from support.objects import valid_status
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]

MINE = "a" * 64
TEXTS = {
    "empty": "",
    "no-json": "x",
    "deep-list": "[" * 100_000,
    "deep-object": '{"mine":' * 30_000 + "1" + "}" * 30_000,
    "surrogate": '"\\ud800"',
    "5000-digits": "9" * 5000,
    "above-64-bits": str(2**64),
    "negative": "-1",
    "superscript": "²",
    "arabic": "٣",
    "long": "x" * 200_000,
    "escape": "\x1b[2J",
}


def odd(annotation: str) -> dict[str, str]:
    """By name, values for an annotation; those of JSON also within an object."""
    within = {"a-digest-of-a-surrogate": '{"mine": "\\ud800"}', "a-digest-of-5000-digits": f'{{"mine": {"9" * 5000}}}'}
    long = {"a-long-digest": json.dumps({"mine": "x" * 300}), "many-names": json.dumps({str(i): "x" for i in range(50)})}
    return TEXTS | (within | long if annotation == names.PLUGIN_DIGESTS else {})


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        pytest.param(annotation, value, id=f"{annotation.rpartition('/')[2]}-{name}")
        for annotation in (names.STORAGE_URI, names.SEED, names.PLUGIN_DIGESTS)
        for name, value in odd(annotation).items()
    ],
)
def test_an_odd_annotation_of_a_job(train: Train, annotation: str, value: str) -> None:
    """Read where the status that should have it was never written."""
    world = train(plugins=[{"configMapName": "mine"}])
    world.plugins = {"mine": MINE}
    world.settle()
    job = world.job(owner_name="run")
    del world.objects[Key("TrainingRun", "default", "run")]["status"]
    job["metadata"]["annotations"][annotation] = value
    world.run(job)
    world.say(job, phase="training", epoch=1, epochs=2, checkpoint_uri="s3://nnunet/checkpoint.pth", checkpoint_epoch=1)
    world.settle()
    valid_status(world, "TrainingRun", "run")
    world.finish(job)
    for _ in range(2):
        world.settle()
        world.wait(minutes=5)
    valid_status(world, "TrainingRun", "run")
    told = world.condition("TrainingRun", "run")[2]
    assert "\x1b" not in told
    assert world.fold("run")["state"] == "Succeeded" or annotation == names.STORAGE_URI, told


@pytest.mark.parametrize("where", ["annotations", "labels"])
@pytest.mark.parametrize("name", TEXTS)
def test_an_odd_completion_index_of_a_pod(train: Train, name: str, where: str) -> None:
    world = train()
    job = world.job(owner_name="run")
    for pod in world.run(job):
        del pod["metadata"]["labels"][names.COMPLETION_INDEX]
        pod["metadata"].setdefault(where, {})[names.COMPLETION_INDEX] = TEXTS[name]
    world.settle()
    assert world.fold("run")["state"] == "Running"
    world.finish(job)
    world.settle()
    assert world.fold("run")["state"] == "Succeeded"
    valid_status(world, "TrainingRun", "run")
