"""What `kubectl get` shows, as the real API server prints it."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.api.resources import PLURALS
from support.controlplane import ControlPlane

from .api_manifests import VERSION, dataset, plans, run, transfer

pytestmark = pytest.mark.controlplane

Manifest = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def ready(status: str, reason: str) -> list[Manifest]:
    return [{"type": "Ready", "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-01-02T03:04:05Z"}]


ROWS: dict[str, tuple[Manifest, Manifest, dict[str, Any]]] = {
    "dataset": (
        dataset(),
        {"cases": 20, "conditions": ready("True", "Fingerprinted")},
        {"Dataset": "Dataset004_Hippocampus", "Cases": 20, "Ready": "True", "Reason": "Fingerprinted"},
    ),
    "plans": (
        plans(),
        {"plansName": "nnUNetPlans", "cases": "20/20", "conditions": ready("True", "Preprocessed")},
        {"Dataset": "hippocampus", "Plans": "nnUNetPlans", "Cases": "20/20", "Ready": "True", "Reason": "Preprocessed"},
    ),
    "transfer": (
        transfer(),
        {"conditions": ready("False", "WaitingForPlans")},
        {"From": "hippocampus", "To": "source", "Plans": "nnUNetPlans_hippocampus", "Ready": "False", "Reason": "WaitingForPlans"},
    ),
    "run": (
        run(),
        {"foldsDone": "0/1", "epoch": "37/250", "dice": "0.871", "eta": "5h12m", "conditions": ready("False", "Training")},
        {
            "Config": "3d_fullres",
            "Folds": "0/1",
            "Epoch": "37/250",
            "Dice": "0.871",
            "ETA": "5h12m",
            "Ready": "False",
            "Reason": "Training",
        },
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_columns_show_what_a_person_waits_for(name: str, control_plane: ControlPlane, namespace: str) -> None:
    manifest, status, expected = ROWS[name]
    api, manifest = control_plane.admin, {**manifest, "metadata": {"name": "x", "namespace": namespace}}
    api.apply(manifest)
    shell = {"apiVersion": VERSION, "kind": manifest["kind"], "metadata": manifest["metadata"], "status": status}
    api.apply(shell, sub="status")
    table = api.request("GET", f"/apis/{VERSION}/namespaces/{namespace}/{PLURALS[manifest['kind']]}/x", accept=TABLE)
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Name", *expected, "Age"]
    cells = dict(zip((column["name"] for column in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    assert {name: cells[name] for name in expected} == expected
    assert cells["Message"] == "m"
