"""How an object stands, as kstatus computes it."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.api import kstatus
from nnunet_operator.api.kstatus import Status

Manifest = dict[str, Any]


def thing(*conditions: tuple[str, str, str], suspend: bool = False, observed: int = 1) -> Manifest:
    held = [{"type": kind, "status": status, "reason": reason} for kind, status, reason in conditions]
    return {
        "metadata": {"generation": 1},
        "spec": {"suspend": suspend},
        "status": {"observedGeneration": observed, "conditions": held},
    }


@pytest.mark.parametrize(
    ("manifest", "wanted"),
    [
        (thing(("Ready", "True", "Completed")), Status.CURRENT),
        (thing(("Ready", "True", "Completed"), observed=0), Status.IN_PROGRESS),
        (thing(("Ready", "False", "Training"), ("Reconciling", "True", "Training")), Status.IN_PROGRESS),
        (thing(("Ready", "False", "InvalidCases"), ("Stalled", "True", "InvalidCases")), Status.FAILED),
        (thing(("Ready", "False", "Suspended"), suspend=True), Status.SUSPENDED),
        (thing(("Ready", "False", "Suspending"), suspend=True), Status.IN_PROGRESS),
        ({"metadata": {"generation": 1}, "spec": {}}, Status.IN_PROGRESS),
    ],
)
def test_where_an_object_stands(manifest: Manifest, wanted: Status) -> None:
    assert kstatus.compute(manifest) is wanted
