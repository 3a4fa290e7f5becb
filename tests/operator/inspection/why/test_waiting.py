"""`why`: down to what an object waits for in the end, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.inspection.terminal import Terminal
from nnunet_operator.inspection.why import explanation, waiting
from nnunet_operator.reconcile.view import Manifest
from support.objects import resource
from support.world import stamp

from ..conftest import WorldReader

Advance = Callable[..., None]
PREPARATION = ("dataset", "plan", "transfer", "preprocess")


def why(reader: WorldReader, kind: str, name: str) -> tuple[list[str], list[str]]:
    """The steps, indented by their depth, and what to do."""
    found = waiting.explain(reader.of(kind, name), reader, reader.world.now, "kubectl nnunet")
    return [f"{'  ' * step.depth}{step.subject}: {step.says}" for step in found.steps], found.what_to_do()


def subjects(steps: list[str]) -> list[str]:
    return [step.split(": ")[0].strip().split("-0000")[0] for step in steps]


def waiting_pod(reader: WorldReader, **hold: str) -> Manifest:
    """The pod of the first training, which does not start."""
    world = reader.world
    job = world.job(step="train")
    if hold:
        world.hold(job, **hold)
    world.wait(minutes=5)
    world.settle()
    (pod,) = world.pods(job["metadata"]["name"])
    return pod


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


def test_what_works_needs_nothing(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.run(chain_.world.job(step="train"))
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert "runs for" in steps[-1]
    assert todo == []
    found = waiting.explain(chain_.of("TrainingRun", "finetune"), chain_, chain_.world.now, "kubectl nnunet")
    assert explanation.text(found, Terminal()).endswith("Nothing to do: it goes on by itself.")


def test_what_is_ready_waits_for_nothing(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION, "train")
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert len(steps) == 1
    assert "is Ready (Completed" in steps[0]
    assert todo == []


def test_a_failed_dependency_leads_to_what_failed(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.fail(chain_.world.job(step="train"), 71)
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert subjects(steps) == ["trainingrun/finetune", "trainingrun/pretrain", "fold all"]
    assert "Failed, attempt 1" in steps[-1]
    assert todo[0].startswith("OutOfGPUMemory: A larger GPU")
    assert todo[-1] == "When that is mended: kubectl nnunet rerun trainingrun/pretrain"


@pytest.mark.parametrize("transferred", [False, True])
def test_a_plugin_that_was_changed_leads_to_the_plans(chain_: WorldReader, advance: Advance, transferred: bool) -> None:
    advance(chain_, *PREPARATION)
    world, name = chain_.world, "target-to-source" if transferred else "target"
    made_with = [{"name": "mine", "digest": "a" * 64, "needed": True}, {"name": "planning-only", "digest": "c" * 64}]
    world.status("Plans", name)["plugins"] = made_with
    world.plugins = {"mine": "b" * 64}
    world.put(resource("TrainingRun", "new", plansRef={"name": name}, folds=["0"], plugins=[{"configMapName": "mine"}]))
    world.settle()
    steps, todo = why(chain_, "TrainingRun", "new")
    assert "PluginChanged" in steps[0]
    assert steps[1].strip() == f"plans/{name}: was made with the plug-in mine (digest aaaaaaaaaaaa)"
    assert todo == [
        "Put the ConfigMap back; or plan anew with it as it is now: kubectl nnunet rerun plans/target, "
        "then kubectl nnunet rerun trainingrun/new"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "spec", "missing"),
    [
        ("TrainingRun", "run", {"plansRef": {"name": "targets"}, "folds": [0]}, "plans/targets"),
        ("Plans", "plans", {"datasetRef": {"name": "sourcs"}}, "dataset/sourcs"),
        (
            "TrainingRun",
            "run",
            {"plansRef": {"name": "target"}, "folds": [0], "pretrained": {"runRef": {"name": "pretrains"}}},
            "trainingrun/pretrains",
        ),
    ],
)
def test_a_reference_to_nothing_with_the_nearest_names(
    chain_: WorldReader, advance: Advance, kind: str, name: str, spec: dict[str, Any], missing: str
) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    chain_.world.settle()
    steps, todo = why(chain_, kind, name)
    assert steps[-1].strip().startswith(f"{missing}: is not there. There is no")
    assert f"Did you mean {missing.split('/')[1][:-1]}" in steps[-1]
    assert todo[0].startswith("Apply the ")


def test_suspended_and_how_to_go_on(chain_: WorldReader, advance: Advance) -> None:
    chain_.world.edit("TrainingRun", "pretrain", suspend=True)
    chain_.world.settle()
    advance(chain_, *PREPARATION)
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert "is suspended, by its spec.suspend" in steps[-1]
    assert todo == ["Let it go on: kubectl nnunet resume trainingrun/pretrain"]


def test_backing_off(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.fail(chain_.world.job(step="train"), 1)
    chain_.world.settle()
    steps, _ = why(chain_, "TrainingRun", "pretrain")
    assert "the next attempt starts in" in "".join(steps)


def test_an_object_that_nobody_has_looked_at(reader: WorldReader) -> None:
    reader.world.put("{apiVersion: nnunet.dev/v1alpha1, kind: Dataset, metadata: {name: data}, spec: {name: Dataset001_A}}")
    reader.world.wait(minutes=4)
    steps, todo = why(reader, "Dataset", "data")
    assert steps == ["dataset/data: was made 4m ago, and no operator has looked at it"]
    assert todo == ["Does an operator run, and does it work in namespace default? nnunet-operator diagnose"]


def test_what_makes_somebody_look_is_the_shells_to_say(reader: WorldReader) -> None:
    reader.world.put("{apiVersion: nnunet.dev/v1alpha1, kind: Dataset, metadata: {name: data}, spec: {name: Dataset001_A}}")
    found = waiting.explain(reader.of("Dataset", "data"), reader, reader.world.now, "local", work="local run")
    assert found.what_to_do() == ["local run"]


def test_a_changed_spec_that_nobody_has_looked_at(chain_: WorldReader) -> None:
    chain_.world.edit("Dataset", "source", rerun="2")
    steps, todo = why(chain_, "Dataset", "source")
    assert "its spec was changed, and no operator has looked at it since" in steps[0]
    assert todo


def test_an_object_that_is_being_deleted(chain_: WorldReader) -> None:
    meta = chain_.of("TrainingRun", "pretrain")["metadata"]
    meta |= {"finalizers": ["nnunet.dev/results"], "deletionTimestamp": stamp(chain_.world.now)}
    chain_.world.wait(minutes=5)
    steps, _ = why(chain_, "TrainingRun", "pretrain")
    assert "is being deleted for 5m; nnunet.dev/results holds it" in steps[0]


def test_references_in_a_circle_end(reader: WorldReader) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        reader.world.put(
            {
                "apiVersion": "nnunet.dev/v1alpha1",
                "kind": "TrainingRun",
                "metadata": {"name": name},
                "spec": {"plansRef": {"name": "p"}, "folds": [0], "pretrained": {"runRef": {"name": other}}},
            }
        )
    reader.world.settle()
    steps, _ = why(reader, "TrainingRun", "one")
    assert "ReferenceCycle" in steps[0]


def test_an_object_that_cannot_be_read(chain_: WorldReader) -> None:
    chain_.of("TrainingRun", "finetune")["spec"]["folds"] = 7
    chain_.world.edit("TrainingRun", "finetune")
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert "InvalidSpec" in steps[0]
    assert todo[0].startswith("InvalidSpec:")


def test_long_lines_are_folded_below_their_own_beginning(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, "dataset")
    chain_.world.schedule(chain_.world.job(step="plan"), node=None)
    chain_.world.settle()
    found = waiting.explain(chain_.of("TrainingRun", "finetune"), chain_, chain_.world.now, "kubectl nnunet")
    text = explanation.text(found, Terminal(width=70))
    assert max(map(len, text.splitlines())) <= 70
    assert "\033" not in text
    assert "\033[33mplans/target\033[0m" in explanation.text(found, Terminal(width=70, colour=True))
