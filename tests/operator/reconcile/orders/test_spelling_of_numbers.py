"""Integers and strings of a spec are the same: what is made of it is the same to the byte."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from support.world import MemoryWorld

Spec = dict[str, Any]

CASES: dict[str, tuple[Spec, Spec]] = {
    "cpu": (
        {"template": {"resources": {"requests": {"cpu": 4}, "limits": {"cpu": 8}}}},
        {"template": {"resources": {"requests": {"cpu": "4"}, "limits": {"cpu": "8"}}}},
    ),
    "gpu": (
        {"template": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        {"template": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    ),
    "gpu-of-another-name": (
        {"workers": {"gpusPerNode": 0}, "template": {"resources": {"limits": {"amd.com/gpu": 2, "memory": 1073741824}}}},
        {"workers": {"gpusPerNode": 0}, "template": {"resources": {"limits": {"amd.com/gpu": "2", "memory": "1073741824"}}}},
    ),
    "sizes": (
        {"template": {"scratch": {"size": 1073741824}, "sharedMemory": {"size": 1073741824}}},
        {"template": {"scratch": {"size": "1073741824"}, "sharedMemory": {"size": "1073741824"}}},
    ),
    "folds": ({"folds": [0, 1]}, {"folds": ["0", "1"]}),
    "folds-mixed": ({"folds": [0, "1"]}, {"folds": ["0", 1]}),
    "minutes": ({"checkpoint": {"everyMinutes": 5}}, {"checkpoint": {"everyMinutes": "5"}}),
    "minutes-stored-as-a-fraction": ({"checkpoint": {"everyMinutes": 0.5}}, {"checkpoint": {"everyMinutes": "0.5"}}),
}


@pytest.mark.parametrize("name", CASES)
def test_jobs_and_work_orders_are_the_same_bytes(name: str, prepared: MemoryWorld) -> None:
    one, other = (_children(copy.deepcopy(prepared), spec) for spec in CASES[name])
    assert one == other
    assert sum(text.startswith('{"apiVersion": "batch/v1"') for text in one) == len(CASES[name][0].get("folds", ["0"]))


def _children(world: MemoryWorld, spec: Spec) -> list[str]:
    """Jobs and work orders of a run, as they are sent."""
    spec = {"plansRef": {"name": "plans"}, "folds": ["0"], **spec}
    world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": {"name": "run"}, "spec": spec})
    world.settle()
    mine = [o for o in world.objects.values() if o["metadata"].get("labels", {}).get("nnunet.dev/owner-name") == "run"]
    return sorted(json.dumps(o, sort_keys=True) for o in mine if o["kind"] in ("Job", "ConfigMap"))
