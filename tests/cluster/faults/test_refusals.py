"""The API server refuses, fails, or loses its answers; its clock jumps."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.faults import refusals

pytestmark = pytest.mark.controlplane


def test_refused_requests_and_lost_answers_cost_nothing_but_time(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = refusals.requests_refused(control_plane, tmp_path, runs=4, share=0.15, seed=1)
    assert (count.lost, count.doubled) == ([], [])
    assert count.tried > 10


def test_a_clock_that_jumps_by_hours_costs_nothing(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = refusals.clock_jumps(control_plane, tmp_path, runs=3, jumps=3, forsaken=False, seed=1)
    assert (count.tried, count.lost, count.doubled) == (3, [], [])
