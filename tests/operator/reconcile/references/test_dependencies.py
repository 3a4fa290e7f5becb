"""Which objects an object refers to, and whom a change concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nnunet_operator.api.resources import Resource, parse
from nnunet_operator.reconcile.references.dependencies import key_of, needed_by, owner_of, wanted_by
from nnunet_operator.reconcile.view import Key
from support.objects import dataset, plans, run, transfer
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


def test_runs_that_wait_for_each_other_are_told(prepared: MemoryWorld) -> None:
    prepared.put(run("one", pretrained={"runRef": {"name": "two", "fold": "0"}}))
    prepared.put(run("two", pretrained={"runRef": {"name": "one", "fold": "0"}}))
    prepared.settle()
    assert prepared.condition("TrainingRun", "one")[1] == prepared.condition("TrainingRun", "two")[1] == "ReferenceCycle"
    assert "TrainingRun two → TrainingRun one → TrainingRun two" in prepared.condition("TrainingRun", "two")[2]


def concerns(changed: Key, resources: Iterable[Resource]) -> list[Key]:
    return [key_of(resource) for resource in resources if changed in (*needed_by(resource), *wanted_by(resource))]


def test_whom_a_change_concerns() -> None:
    manifests = [dataset(), plans(), transfer(), run(pretrained={"runRef": {"name": "other", "fold": "all"}})]
    resources = [
        parse(manifest | {"metadata": {"name": manifest["metadata"]["name"], "namespace": "ns"}}) for manifest in manifests
    ]
    assert needed_by(resources[3]) == [Key("Plans", "ns", "plans"), Key("TrainingRun", "ns", "other")]
    assert concerns(Key("Dataset", "ns", "data"), resources) == [
        Key("Plans", "ns", "plans"),
        Key("PlanTransfer", "ns", "moved"),
    ]
    assert concerns(Key("Plans", "ns", "moved"), resources) == [Key("PlanTransfer", "ns", "moved")]
    assert concerns(Key("TrainingRun", "ns", "other"), resources) == [Key("TrainingRun", "ns", "run")]
    assert concerns(Key("Plans", "elsewhere", "plans"), resources) == []


def test_a_child_names_its_owner(train: Train) -> None:
    job = train().job(owner_name="run")
    assert owner_of(job) == Key("TrainingRun", "default", "run")
    assert owner_of({"metadata": {"name": "somebody's"}}) is None
