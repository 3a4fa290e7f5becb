"""Worlds in which a run is about to train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from support.world import MemoryWorld

CHAIN = """
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: data}
spec: {name: Dataset004_Hippocampus, source: {uri: "s3://nnunet/raw/Dataset004_Hippocampus"}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Plans
metadata: {name: plans}
spec: {datasetRef: {name: data}, preprocessing: {configurations: [3d_fullres]}}
"""


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


def document(text: str) -> Any:
    """One manifest from YAML."""
    return yaml.safe_load(text)
