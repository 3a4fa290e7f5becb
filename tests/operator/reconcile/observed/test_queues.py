"""A Job that its queue has suspended says what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.world import CHAIN, MemoryWorld

Manifest = dict[str, Any]
Train = Callable[..., MemoryWorld]


def workload(*, active: bool | None = None, checks: list[Manifest] | None = None, **conditions: tuple[bool, str]) -> Manifest:
    found = [{"type": kind, "status": str(status), "message": said} for kind, (status, said) in conditions.items()]
    return {"spec": {"active": active}, "status": {"conditions": found, "admissionChecks": checks}}


FULL = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor a100, 1 more needed"
SAID = {
    "no-workload": (None, "waits in queue gpus"),
    "no-word": (workload(), "waits in queue gpus"),
    "no-quota": (workload(QuotaReserved=(False, FULL)), f"waits in queue gpus: {FULL}"),
    "lines": (workload(QuotaReserved=(False, "a\n  b")), "waits in queue gpus: a b"),
    "very-long": (workload(QuotaReserved=(False, "x" * 10_000)), f"waits in queue gpus: {'x' * 600}"),
    "evicted": (workload(Evicted=(True, "Preempted for a workload of higher priority")), "waits in queue gpus: Preempted for a"),
    "evicted-and-queued-again": (
        workload(Evicted=(True, "Preempted"), QuotaReserved=(False, FULL)),
        f"waits in queue gpus: {FULL}",
    ),
    "reserved": (workload(QuotaReserved=(True, "")), "waits in queue gpus: its quota is reserved"),
    "check": (
        workload(
            QuotaReserved=(True, ""),
            checks=[
                {"name": "quota", "state": "Ready", "message": "done"},
                {"name": "provision", "state": "Pending", "message": "2 nodes are being made"},
                {"name": "budget", "state": "Retry", "message": ""},
            ],
        ),
        "it waits for the admission check provision (2 nodes are being made); the admission check budget (Retry)",
    ),
    "deactivated": (
        workload(active=False, Evicted=(True, "exceeded the maximum number of re-queuing retries")),
        "waits in queue gpus: its Workload is deactivated. exceeded the maximum number",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_of_a_training(train: Train, case: str) -> None:
    found, expected = SAID[case]
    world = train(queueName="gpus")
    if found is not None:
        world.workloads[world.job(owner_name="run")["metadata"]["uid"]] = found
    world.settle()
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("False", "Queued")
    assert expected in message
    assert (world.fold("run")["state"], world.fold("run")["reason"]) == ("Queued", "Queued")


def test_a_job_that_a_person_has_suspended_is_in_no_queue(train: Train) -> None:
    world = train()
    world.job(owner_name="run")["spec"]["suspend"] = True
    world.settle()
    assert "somebody has suspended its Job" in world.condition("TrainingRun", "run")[2]


def test_every_kind_waits_in_its_own_queue() -> None:
    world = MemoryWorld()
    world.put(CHAIN)
    for kind, name in (("Dataset", "data"), ("Plans", "plans")):
        world.edit(kind, name, queueName=f"{kind.lower()}-queue")
    world.put(
        {
            "apiVersion": "nnunet.dev/v1alpha1",
            "kind": "PlanTransfer",
            "metadata": {"name": "moved"},
            "spec": {
                "from": {"plansRef": {"name": "plans"}},
                "to": {"datasetRef": {"name": "data"}},
                "plansName": "nnUNetPlans_moved",
                "queueName": "transfer-queue",
                "managedBy": "example.com/a",
            },
        }
    )
    queues: dict[str, set[str]] = {}
    for _ in range(5):
        world.settle()
        for job in world.jobs():
            labels, spec = job["metadata"]["labels"], job["spec"]
            owner = labels["nnunet.dev/owner-name"]
            assert (
                f"waits in queue {labels['kueue.x-k8s.io/queue-name']}"
                in world.condition(labels["nnunet.dev/owner-kind"], owner)[2]
            )
            assert spec.get("managedBy") == ("example.com/a" if owner == "moved" else None)
            queues.setdefault(labels["nnunet.dev/step"], set()).add(labels["kueue.x-k8s.io/queue-name"])
            spec["suspend"] = False
            world.finish(job)
    world.settle()
    assert queues == {
        "dataset": {"dataset-queue"},
        "plan": {"plans-queue"},
        "preprocess": {"plans-queue", "transfer-queue"},
        "transfer": {"transfer-queue"},
    }
    assert world.condition("PlanTransfer", "moved")[0] == "True"


def test_a_job_of_another_controller_says_who_is_to_make_its_pods(train: Train) -> None:
    world = train(managedBy="example.com/elsewhere")
    world.wait(seconds=120)
    world.settle()
    assert "example.com/elsewhere is to make them, in this namespace" in world.condition("TrainingRun", "run")[2]
