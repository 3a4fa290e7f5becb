"""The operator is killed in the middle of things; the next one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.faults import outages

pytestmark = pytest.mark.controlplane


def test_nothing_is_lost_and_nothing_is_made_twice(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = outages.operator_killed(control_plane, tmp_path, runs=8, kills=3, seed=1)
    assert (count.tried, count.lost, count.doubled) == (3, [], [])
