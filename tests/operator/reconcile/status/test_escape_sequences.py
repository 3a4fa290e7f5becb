"""What others say, in a kubelet's, a scheduler's, a queue's or a server's words, is no command to the terminal that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from nnunet_operator.controller.object_client import Rejected
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.status.child_refused import refused
from nnunet_operator.reconcile.view import Key, Manifest
from nnunet_operator.reconcile.view_builder import build_view
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]

EVIL = "evil\x1b[2J\x07\x9b31m\x7f"
SHOWN = r"evil\x1b[2J\x07\x9b31m\x7f"


def a_kubelet(world: MemoryWorld, job: Manifest) -> None:
    world.hold(job, "InvalidImageName", f'Failed to apply default image tag "{EVIL}"')


def a_scheduler(world: MemoryWorld, job: Manifest) -> None:
    (pod,) = world.schedule(job, node=None)
    pod["status"]["conditions"][0]["message"] = EVIL


def a_job(world: MemoryWorld, job: Manifest) -> None:
    world.fail(job, 1)
    world.drop_pods(job)
    job["status"]["conditions"][0]["message"] = EVIL


def last_log_lines(world: MemoryWorld, job: Manifest) -> None:
    world.fail(job, 1, EVIL)


def a_queue(world: MemoryWorld, job: Manifest) -> None:
    job["spec"]["suspend"] = True
    job["metadata"]["labels"][names.QUEUE] = "gpus"
    condition = {"type": "QuotaReserved", "status": "False", "message": EVIL}
    world.workloads[job["metadata"]["uid"]] = {"status": {"conditions": [condition]}}


@pytest.mark.parametrize("says", [a_kubelet, a_scheduler, a_job, last_log_lines, a_queue])
def test_control_characters_are_shown_and_not_obeyed(train: Train, says: Callable[[MemoryWorld, Manifest], None]) -> None:
    world = train(failurePolicy={"maxRestarts": 0})
    says(world, world.job(owner_name="run"))
    world.settle()
    world.wait(minutes=1)
    world.settle()
    assert SHOWN in world.condition("TrainingRun", "run")[2]
    assert SHOWN in world.fold("run")["message"]
    told = [json.dumps(world.status("TrainingRun", "run"), ensure_ascii=False), *(event.message for _, event in world.events)]
    assert not any(character in text for text in told for character in "\x1b\x07\x9b\x7f")


def test_nor_are_those_of_who_refuses_a_child(train: Train) -> None:
    world = train()
    key = Key("TrainingRun", "default", "run")
    view, outcome, job = build_view(world, key, world.now, world.settings), world.outcome(*key[::2]), world.job(owner_name="run")
    assert view is not None
    assert outcome is not None
    said = refused(view, job, Rejected("Invalid", EVIL).message, outcome)
    ready = next(condition for condition in said.status["conditions"] if condition["type"] == "Ready")
    assert SHOWN in ready["message"]
    assert all(SHOWN in event.message for event in said.events if "evil" in event.message)
