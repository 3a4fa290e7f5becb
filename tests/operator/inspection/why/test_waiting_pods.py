"""`why`: down to the pod, the node or the queue that an object waits for in the end, and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ..conftest import WorldReader
from .conftest import PREPARATION, Advance, subjects, waiting_pod, why


def test_from_the_last_run_down_to_the_scheduler(chain_: WorldReader, advance: Advance) -> None:
    world = chain_.world
    advance(chain_, "dataset")
    job = world.job(step="plan")
    (pod,) = world.schedule(job, node=None)
    world.settle()
    chain_.say(pod, "FailedScheduling", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", count=7)
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert subjects(steps) == ["trainingrun/finetune", "plans/target", "planning", "job/target", "pod/target", "event"]
    assert [len(step) - len(step.lstrip()) for step in steps] == [0, 2, 4, 6, 8, 10]
    assert "WaitingForPlans" in steps[0]
    assert "waits for a node: 0/3 nodes are available" in steps[4]
    assert steps[5].strip() == "event: FailedScheduling 0s ago, 7 times: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    assert len(todo) == 1
    assert todo[0].startswith("Unschedulable: Free or add nodes")


def test_a_missing_secret_is_named(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    pod = waiting_pod(chain_, reason="ContainerCreating")
    chain_.missing.add(("Secret", "s3"))
    chain_.say(pod, "FailedMount", 'MountVolume.SetUp failed for volume "s3" : secret "s3" not found', count=3)
    chain_.say(pod, "Scheduled", "Successfully assigned", warning=False)
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert subjects(steps)[-3:] == ["pod/pretrain", "secret/s3", "event"]
    assert "ContainerCreating" in steps[-3]
    assert "FailedMount" in steps[-1]
    assert todo == ["Create the Secret s3 in namespace default, or correct the name where it is referred to."]


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "nowhere/trainer:1"', "ImagePullFailed: Correct the image"),
        ("ErrImagePull", "not found", "ImagePullFailed: Correct the image"),
        ("CreateContainerConfigError", 'secret "s3" not found', "ContainerConfigError: Create it"),
    ],
)
def test_what_the_kubelet_says_of_the_container(
    chain_: WorldReader, advance: Advance, reason: str, message: str, advice: str
) -> None:
    advance(chain_, *PREPARATION)
    waiting_pod(chain_, reason=reason, message=message)
    steps, todo = why(chain_, "TrainingRun", "pretrain")
    assert steps[-1].endswith(f"does not run yet, {reason}: {message}")
    assert todo[0].startswith(advice)


def test_a_claim_without_a_volume(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    pod = waiting_pod(chain_, reason="ContainerCreating")
    pod["spec"]["volumes"].append({"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}})
    chain_.others["PersistentVolumeClaim", "cache"] = {"status": {"phase": "Pending"}}
    steps, todo = why(chain_, "TrainingRun", "pretrain")
    assert steps[-1].strip() == "persistentvolumeclaim/cache: is Pending: no volume is bound to it"
    assert todo == ["See why the claim has no volume: kubectl -n default describe pvc cache"]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Secret", {"imagePullSecrets": [{"name": "missing"}]}),
        ("Secret", {"containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "a"}}}]}]}),
        ("ConfigMap", {"containers": [{"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "missing"}}}]}]}),
        ("ConfigMap", {"volumes": [{"name": "plugin", "configMap": {"name": "missing"}}]}),
        ("PersistentVolumeClaim", {"volumes": [{"name": "raw", "persistentVolumeClaim": {"claimName": "missing"}}]}),
    ],
)
def test_whatever_a_pod_needs_is_looked_for(chain_: WorldReader, advance: Advance, kind: str, spec: dict[str, Any]) -> None:
    advance(chain_, *PREPARATION)
    pod = waiting_pod(chain_, reason="ContainerCreating")
    pod["spec"].update(spec)
    chain_.missing.add((kind, "missing"))
    steps, todo = why(chain_, "TrainingRun", "pretrain")
    assert f"{kind.lower()}/missing: is not there, in namespace default" in steps[-1]
    assert todo[0].startswith(f"Create the {kind} missing in namespace default")


def test_what_is_optional_is_not_missed(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    pod = waiting_pod(chain_, reason="ContainerCreating")
    pod["spec"]["volumes"] = [{"name": "a", "secret": {"secretName": "missing", "optional": True}}]
    chain_.missing.add(("Secret", "missing"))
    assert "missing" not in "".join(why(chain_, "TrainingRun", "pretrain")[0])


def test_a_queue(chain_: WorldReader, advance: Advance) -> None:
    chain_.of("TrainingRun", "pretrain")["spec"]["queueName"] = "gpus"
    advance(chain_, *PREPARATION)
    job = chain_.world.job(step="train")
    assert job["spec"]["suspend"]
    chain_.world.workloads[job["metadata"]["uid"]] = {
        "status": {"conditions": [{"type": "QuotaReserved", "status": "False", "message": "insufficient unused quota"}]}
    }
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert steps[-1].endswith("waits in queue gpus: insufficient unused quota")
    assert todo[0].startswith("Queued: Look at its Workload")


def test_a_job_that_gets_no_pod(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.wait(minutes=3)
    chain_.world.settle()
    chain_.say(chain_.world.job(step="train"), "FailedCreate", 'pods "x" is forbidden: exceeded quota: gpus')
    steps, _ = why(chain_, "TrainingRun", "pretrain")
    assert "was made 3m ago, and has no pod" in steps[-2]
    assert 'FailedCreate 0s ago: pods "x" is forbidden: exceeded quota: gpus' in steps[-1]


def test_a_node_that_is_lost(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.run(chain_.world.job(step="train"))
    chain_.world.settle()
    ready = {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status."}
    chain_.others["Node", "node-a"] = {"status": {"conditions": [ready]}}
    steps, todo = why(chain_, "TrainingRun", "pretrain")
    assert steps[-1].strip() == "node/node-a: is not Ready: Kubelet stopped posting node status."
    assert todo == ["Bring node node-a back, or delete it: kubectl get node node-a"]


@pytest.mark.parametrize("ends", ["finish", "fail", "disrupt"])
def test_a_job_whose_end_no_operator_tells(chain_: WorldReader, advance: Advance, ends: str) -> None:
    advance(chain_, *PREPARATION)
    world = chain_.world
    job = world.job(step="train")
    world.run(job)
    world.settle()
    getattr(world, ends)(job)
    world.wait(seconds=30)
    assert why(chain_, "TrainingRun", "pretrain")[1] == []
    world.wait(minutes=3)
    steps, todo = why(chain_, "TrainingRun", "pretrain")
    assert re.search(r"job/.*: (Complete|Failed) \d+[ms]\S* ago: ", steps[-1])
    assert todo == ["Does an operator run, and does it work in namespace default? nnunet-operator diagnose"]
    world.settle()
    assert "Does an operator run" not in " ".join(why(chain_, "TrainingRun", "pretrain")[1])
