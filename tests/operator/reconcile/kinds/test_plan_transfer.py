"""A PlanTransfer: it makes a Plans of its own name, keeps it, and says what that says."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.reconcile.view import Key
from support.objects import API, dataset, finish_open, first_pass, plans, resource, transfer
from support.world import MemoryWorld


def test_what_somebody_adds_to_a_transfers_plans_is_left(prepared: MemoryWorld) -> None:
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    prepared.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    prepared.settle()
    prepared.edit("Plans", "moved", rerun="by hand")
    prepared.settle()
    assert prepared.objects[Key("Plans", "default", "moved")]["spec"]["rerun"] == "by hand"


def test_a_plans_of_the_transfers_name_is_left_alone(prepared: MemoryWorld) -> None:
    prepared.put(plans("moved"))
    prepared.put(transfer())
    prepared.settle()
    status, reason, message = prepared.condition("PlanTransfer", "moved")
    assert (status, reason) == ("False", "PlansNameTaken")
    assert "delete that one" in message
    assert "ownerReferences" not in prepared.objects[Key("Plans", "default", "moved")]["metadata"]
    prepared.remove("Plans", "moved")
    prepared.settle()
    assert prepared.condition("PlanTransfer", "moved")[1] == "Starting"


def test_a_transfer_mirrors_and_keeps_its_plans(prepared: MemoryWorld) -> None:
    prepared.put(transfer())
    prepared.settle()
    made = prepared.objects[Key("Plans", "default", "moved")]
    assert made["metadata"]["ownerReferences"][0]["kind"] == "PlanTransfer"
    order = prepared.order(prepared.job(step="transfer"))
    assert (order["plansName"], order["fromPlans"]["digest"]) == ("nnUNetPlans_moved", "p-plans-1")
    assert "onMismatch" not in order, "Warn is the default"
    for step in ("transfer", "preprocess"):
        prepared.finish(prepared.job(step=step))
        prepared.settle()
    assert prepared.condition("PlanTransfer", "moved")[0] == "True"
    assert prepared.condition("PlanTransfer", "moved", "Compatible")[:2] == ("False", "Mismatch")
    assert prepared.status("PlanTransfer", "moved")["artifact"]["digest"] == "p-moved-1"
    prepared.edit("PlanTransfer", "moved", preprocessing={"configurations": ["3d_fullres", "2d"]})
    prepared.settle()
    assert made["spec"]["preprocessing"]["configurations"] == ["3d_fullres", "2d"]
    prepared.remove("Plans", "moved")
    prepared.settle()
    assert Key("Plans", "default", "moved") in prepared.objects


def test_a_transfer_of_its_own_plans_is_refused(prepared: MemoryWorld) -> None:
    prepared.put(transfer("moved", source="moved"))
    prepared.settle()
    assert prepared.condition("PlanTransfer", "moved")[1] == "ReferenceCycle"
    assert Key("Plans", "default", "moved") not in prepared.objects


def test_the_plans_of_a_transfer_that_somebody_deletes_come_back() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.put(resource("Plans", "plans", datasetRef={"name": "data"}))
    spec = {"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}, "plansName": "nnUNetPlans_moved"}
    world.put({"apiVersion": API, "kind": "PlanTransfer", "metadata": {"name": "moved"}, "spec": spec})
    world.settle()
    for step in ("dataset", "plan", "transfer", "preprocess", "preprocess"):
        finish_open(world, step=step)
    assert world.condition("PlanTransfer", "moved")[0] == "True"
    world.remove("Plans", "moved")
    world.settle()
    assert world.condition("PlanTransfer", "moved")[:2] == ("False", "Starting")
    finish_open(world, step="transfer")
    finish_open(world, step="preprocess")
    assert world.condition("PlanTransfer", "moved")[0] == "True"


@pytest.mark.parametrize(
    ("configuration", "patch", "reason"),
    [("3d_fulres", {}, "UnknownConfiguration"), ("small", {"small": {}}, "Starting"), ("3d_fullres", {}, "Starting")],
)
def test_a_transfer_of_a_configuration_that_the_other_plans_do_not_have(
    prepared: MemoryWorld, configuration: str, patch: dict[str, Any], reason: str
) -> None:
    source = {"plansRef": {"name": "plans"}}
    moved = plans("moved", transferFrom=source, preprocessing={"configurations": [configuration]}, patch={"configurations": patch})
    found, message, _ = first_pass(moved, prepared)
    assert found == reason, message
    if reason == "UnknownConfiguration":
        assert "configuration of Plans plans named '3d_fulres'. Did you mean 3d_fullres?" in message
