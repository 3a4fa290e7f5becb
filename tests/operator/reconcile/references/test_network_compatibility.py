"""Weights of a network that is known to be another."""

from __future__ import annotations

from typing import Any

import pytest
from support.objects import first_pass, planned, recipe, run
from support.world import MemoryWorld

PRETRAINED = {"runRef": {"name": "source", "fold": "0"}}


@pytest.mark.parametrize(
    ("its", "source", "mine", "reason"),
    [
        ("a", {}, {"pretrained": PRETRAINED}, "WaitingForPlans"),
        ("b", {}, {"pretrained": PRETRAINED}, "NetworksDiffer"),
        ("b", {}, {"pretrained": PRETRAINED, **recipe(epochs=3)}, "NetworksDiffer"),
        ("b", {}, {"pretrained": PRETRAINED, **recipe(network={"kernelSize": 3})}, "WaitingForPlans"),
        ("b", {"trainer": {"name": "nnUNetTrainerBN"}}, {"pretrained": PRETRAINED}, "WaitingForPlans"),
        ("b", {}, {"pretrained": {**PRETRAINED, "mismatched": "Skip"}}, "WaitingForPlans"),
        ("b", {}, {"pretrained": {"uri": "s3://nnunet/checkpoint.pth"}}, "WaitingForPlans"),
    ],
)
def test_weights_of_another_network_are_refused_before_they_are_trained(
    its: str, source: dict[str, Any], mine: dict[str, Any], reason: str
) -> None:
    world = MemoryWorld()
    planned(world, "plans", "a")
    planned(world, "others", its)
    world.put(run("source", plansRef={"name": "others"}, **source))
    found, message, standing = first_pass(run(**mine), world)
    assert found == reason, message
    if reason == "NetworksDiffer":
        assert standing == "Stalled"
        assert "Plans plans, 3d_fullres (a) and Plans others, 3d_fullres (b)" in message
