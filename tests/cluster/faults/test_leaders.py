"""At most one of several replicas acts, and another takes its place. How soon is measured by benchmarks/operator_faults.py."""

from __future__ import annotations

import inspect
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from nnunet_operator.cluster.lease import Lease
from support.controlplane import ControlPlane
from support.faults.leaders import KILLED_WITHIN, STOPPED_WITHIN, leader_lost

pytestmark = pytest.mark.controlplane


def lose(plane: ControlPlane, folder: Path, by: signal.Signals) -> None:
    """Have a leader lost; fail if something was lost or done twice, or if no other acts."""
    place = folder / by.name
    place.mkdir()
    count = leader_lost(plane, place, by=by, times=1, runs=1, seed=1)
    assert (count.tried, count.lost, count.doubled) == (1, [], []), count.fault


def test_another_acts_after_a_stop_without_waiting_for_the_lease_to_run_out(control_plane: ControlPlane, tmp_path: Path) -> None:
    lose(control_plane, tmp_path, signal.SIGTERM)
    assert not [log for log in tmp_path.rglob("*.log") if "the lease could not be released" in log.read_text()]


def test_another_acts_after_a_death_and_a_frozen_leader_never_acts_again(control_plane: ControlPlane, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as both:  # both wait for a Lease to run out: they may do it at the same time
        dead, frozen = (both.submit(lose, control_plane, tmp_path, by) for by in (signal.SIGKILL, signal.SIGSTOP))
        dead.result()
        frozen.result()


def test_the_leases_times_leave_room_within_the_limits() -> None:
    times = {name: parameter.default for name, parameter in inspect.signature(Lease).parameters.items()}
    assert times["look"] < STOPPED_WITHIN / 2
    assert times["duration"] + times["look"] < KILLED_WITHIN
    assert times["deadline"] < times["duration"], "who leads stops writing before another may begin"
