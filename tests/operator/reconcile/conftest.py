"""Worlds in which a run is about to train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.world import CHAIN, MemoryWorld


@pytest.fixture
def prepared() -> MemoryWorld:
    """A dataset and its plans, all Ready."""
    world = MemoryWorld()
    world.put(CHAIN)
    for _ in range(3):
        world.settle()
        for job in world.jobs():
            world.finish(job)
    world.settle()
    assert world.condition("Plans", "plans")[0] == "True"
    return world


@pytest.fixture
def train(prepared: MemoryWorld) -> Callable[..., MemoryWorld]:
    """A TrainingRun named `run` whose Jobs have been asked for."""

    def make(**spec: Any) -> MemoryWorld:
        spec = {"plansRef": {"name": "plans"}, "folds": ["0"], **spec}
        prepared.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}, "spec": spec})
        prepared.settle()
        return prepared

    return make
