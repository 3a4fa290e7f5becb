"""At most one of several replicas acts, and another takes its place in time."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.controlplane import ControlPlane
from support.faults.leaders import KILLED_WITHIN, STOPPED_WITHIN, leader_lost

pytestmark = pytest.mark.controlplane

TRIES = 3
"""A machine that is busy with something else may be late once."""


def lose(plane: ControlPlane, folder: Path, by: signal.Signals, limit: float) -> None:
    """Have a leader lost; fail if something was lost or done twice, or if another is late every time."""
    took = []
    for number in range(TRIES):
        place = folder / f"{by.name}-{number}"
        place.mkdir()
        count = leader_lost(plane, place, by=by, times=1, runs=1, seed=number)
        assert (count.tried, count.lost, count.doubled) == (1, [], []), count.fault
        assert count.seconds is not None
        took.append(count.seconds)
        if count.seconds < limit:
            return
    raise AssertionError(f"{count.fault}: the other acted after {took} s, not within {limit:g} s")


def test_another_acts_within_2_s_of_a_stop(control_plane: ControlPlane, tmp_path: Path) -> None:
    assert STOPPED_WITHIN == 2
    lose(control_plane, tmp_path, signal.SIGTERM, STOPPED_WITHIN)


def test_another_acts_within_15_s_of_a_death_and_a_frozen_leader_never_acts_again(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    assert KILLED_WITHIN == 15
    with ThreadPoolExecutor() as both:  # both wait for a Lease to run out: they may do it at the same time
        dead, frozen = (both.submit(lose, control_plane, tmp_path, by, KILLED_WITHIN) for by in (signal.SIGKILL, signal.SIGSTOP))
        dead.result()
        frozen.result()
