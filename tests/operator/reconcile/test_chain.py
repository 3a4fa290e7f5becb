"""The whole chain, from manifests to Ready, in a world in memory."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from nnunet_operator.api.schema import crds
from support.world import KINDS, MemoryWorld

QUICKSTART = sorted((Path(__file__).parents[3] / "examples/quickstart").glob("[0-9]*.yaml"))
DOCUMENTS = [document for file in QUICKSTART for document in yaml.safe_load_all(file.read_text())]


def finish_all(world: MemoryWorld) -> None:
    """Let everything that is asked for be done."""
    for _ in range(30):
        world.settle()
        open_ = [job for job in world.jobs() if not job.get("status", {}).get("conditions")]
        if not open_:
            return
        for job in open_:
            world.finish(job)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("seed", range(4))
def test_the_quickstart_applied_in_any_order_becomes_ready(seed: int) -> None:
    world, documents = MemoryWorld(), list(DOCUMENTS)
    random.Random(seed).shuffle(documents)
    for document in documents:
        world.put(document)
        world.turn()
    finish_all(world)
    for document in documents:
        assert world.condition(document["kind"], document["metadata"]["name"])[0] == "True", document
    assert len(world.created) == len(set(world.created)) == 2 + 2 + 2 + 3
    assert not world.jobs(), "results stand in the status, so the Jobs are gone"
    assert not [key for key in world.objects if key.kind == "ConfigMap"]


def test_a_run_waits_for_the_one_fold_that_it_is_pretrained_from() -> None:
    world = MemoryWorld()
    for document in DOCUMENTS:
        world.put(document)
    while not world.jobs(step="train", owner_name="pretrain"):
        world.settle()
        for job in world.jobs():
            if job["metadata"]["labels"]["nnunet.dev/step"] != "train":
                world.finish(job)
    status, reason, message = world.condition("TrainingRun", "finetune")
    assert (status, reason) == ("False", "WaitingForTrainingRun")
    assert "TrainingRun pretrain" in message
    world.finish(world.job(owner_name="pretrain"))
    world.settle()
    order = world.order(world.job(owner_name="finetune"))
    assert order["pretrained"]["location"]["uri"].endswith("fold_all/checkpoint_final.pth")
    assert order["pretrained"]["location"]["secretName"] == "s3"
    assert order["pretrained"]["sha256"] == "ab" * 32


def test_every_wait_says_for_what() -> None:
    world = MemoryWorld()
    for document in DOCUMENTS:
        world.put(document)
    world.settle()
    expected = {
        ("Plans", "hippocampus"): "WaitingForDataset",
        ("PlanTransfer", "hippocampus-to-source"): "WaitingForDataset",
        ("TrainingRun", "pretrain"): "WaitingForPlans",
        ("TrainingRun", "scratch"): "WaitingForPlans",
        ("TrainingRun", "finetune"): "WaitingForPlans",
    }
    for (kind, name), reason in expected.items():
        assert world.condition(kind, name)[:2] == ("False", reason)
        assert world.condition(kind, name, "Reconciling")[0] == "True"
        assert "waits for" in world.condition(kind, name)[2]


def test_nothing_is_written_when_nothing_has_changed() -> None:
    world = MemoryWorld()
    for document in DOCUMENTS:
        world.put(document)
    for _ in itertools.repeat(None, 12):
        world.settle()
        before = world.writes
        world.wait(seconds=3)
        assert not world.turn(), "time alone changes nothing"
        assert world.writes == before
        for job in world.jobs()[:1]:
            world.run(job)
            world.settle()
            world.finish(job)


def test_every_status_is_one_that_the_api_server_takes() -> None:
    schemas = {
        manifest["spec"]["names"]["kind"]: manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for manifest in crds.generate().values()
    }
    validators = {kind: jsonschema.Draft202012Validator(schema["properties"]["status"]) for kind, schema in schemas.items()}
    world = MemoryWorld()
    for document in DOCUMENTS:
        world.put(document)
    for turn in range(14):
        world.settle()
        for key, found in world.objects.items():
            if key.kind in KINDS:
                assert not list(validators[key.kind].iter_errors(found["status"]))
                unknown = _unknown(found["status"], schemas[key.kind]["properties"]["status"])
                assert not unknown, "what the schema does not name is dropped by the server"
        for job in world.jobs()[:2]:
            world.run(job)
            world.say(job, phase="training", epoch=1, epochs=10, done=1, total=12, train_loss=-0.1, eta_seconds=60.0)
            world.settle()
            world.finish(job) if turn % 3 else world.fail(job, 74)
        world.wait(minutes=5)


def _unknown(data: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    if isinstance(data, list):
        return [name for item in data for name in _unknown(item, schema.get("items", {}), where)]
    if not isinstance(data, dict) or "properties" not in schema:
        return []
    found = [f"{where}.{name}" for name in data if name not in schema["properties"]]
    return found + [n for k, v in data.items() for n in _unknown(v, schema["properties"].get(k, {}), f"{where}.{k}")]
