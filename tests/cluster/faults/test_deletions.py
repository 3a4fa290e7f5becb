"""What the operator made is deleted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.faults import deletions

pytestmark = pytest.mark.controlplane


def test_jobs_pods_and_work_orders_deleted_by_hand_cost_no_run(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = deletions.deleted_by_hand(control_plane, tmp_path, runs=3, seed=1)
    assert (count.tried, count.lost, count.doubled) == (3, [], [])


def test_a_job_deleted_as_soon_as_it_is_there_is_another_attempt(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = deletions.deleted_at_once(control_plane, tmp_path, runs=6, seed=2)
    assert (count.tried, count.lost, count.doubled, count.left) == (6, [], [], [])
