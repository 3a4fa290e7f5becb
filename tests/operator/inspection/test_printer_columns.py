"""What `kubectl get` would print."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from nnunet_operator.inspection import printer_columns

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (3599, "59m"), (3600, "60m"), (10_800, "3h"), (11_160, "3h6m"),
     (90_000, "25h"), (200_000, "2d7h"), (900_000, "10d")],
)  # fmt: skip
def test_durations_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert printer_columns.duration(seconds) == text


def test_printer_columns_find_conditions_and_say_none() -> None:
    conditions = [{"type": "Verified", "status": "False"}, {"type": "Ready", "status": "True", "reason": "Fingerprinted"}]
    manifest = {
        "kind": "Dataset",
        "metadata": {"name": "d", "creationTimestamp": "2026-11-01T11:51:00Z"},
        "spec": {"name": "Dataset001_X"},
        "status": {"conditions": conditions},
    }
    assert printer_columns.row(manifest, NOW) == ["d", "Dataset001_X", "<none>", "True", "Fingerprinted", "9m"]
    assert printer_columns.row(manifest, NOW, prefixed=True)[0] == "dataset.nnunet.dev/d"
    assert printer_columns.lookup(manifest, '.status.conditions[?(@.type=="Nothing")].status') is None
