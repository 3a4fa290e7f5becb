"""At most one of several replicas acts, and another takes its place in time."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.faults.leaders import KILLED_WITHIN, STOPPED_WITHIN, leader_lost
from support.faults.trial import Count

pytestmark = pytest.mark.controlplane


def test_another_acts_within_2_s_of_a_stop(control_plane: ControlPlane, tmp_path: Path) -> None:
    count = leader_lost(control_plane, tmp_path, by=signal.SIGTERM, times=1, runs=1, seed=1)
    assert (count.tried, count.lost, count.doubled) == (1, [], [])
    assert count.seconds is not None
    assert count.seconds < STOPPED_WITHIN == 2


def test_another_acts_within_15_s_of_a_death_and_a_frozen_leader_never_acts_again(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    def lose(by: signal.Signals) -> Count:
        folder = tmp_path / by.name
        folder.mkdir()
        return leader_lost(control_plane, folder, by=by, times=1, runs=1, seed=1)

    with ThreadPoolExecutor() as both:  # both wait for a Lease to run out: they may do it at the same time
        for count in both.map(lose, (signal.SIGKILL, signal.SIGSTOP)):
            assert (count.tried, count.lost, count.doubled) == (1, [], []), count.fault
            assert count.seconds is not None
            assert count.seconds < KILLED_WITHIN == 15
