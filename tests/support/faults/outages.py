"""What dies around the operator, or under it: itself, the API server, etcd."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..apiclient import wait_until
from ..controlplane import ControlPlane
from .supervisor import Supervisor
from .trial import Count, Trial


@contextmanager
def in_background(trial: Trial, runs: int) -> Iterator[threading.Thread]:
    """Create runs meanwhile, one after the other."""
    thread = threading.Thread(target=lambda: [trial.run(number) for number in range(runs)], daemon=True)
    trial.prepare()
    thread.start()
    try:
        yield thread
    finally:
        thread.join(300)


def operator_killed(plane: ControlPlane, folder: Path, *, runs: int, kills: int, seed: int) -> Count:
    """SIGKILL to the operator at random points of the work, a new one at once."""
    count = Count("operator killed -9")
    with Trial(plane, folder, seed=seed) as trial, Supervisor(trial.operator()) as supervisor:
        pace = max(2, 8 * runs // kills)  # a run is about ten changes of its Job and its pod
        with in_background(trial, runs) as creating:
            while count.tried < kills and (trial.pace(trial.random.randint(1, pace)) or creating.is_alive()):
                supervisor.kill()
                count.tried += 1
                wait_until(lambda: len(supervisor.ended) == count.tried, what="the next operator")
        return trial.settle(count)


def api_server_killed(plane: ControlPlane, folder: Path, *, runs: int, kills: int, seed: int) -> Count:
    """SIGKILL to the API server while runs are created and do their work, then while they are deleted."""
    count = Count("API server killed -9 during creation and deletion")
    with Trial(plane, folder, seed=seed) as trial, Supervisor(trial.operator()):

        def kill() -> None:
            plane.kill_apiserver()
            plane.start_apiserver()
            count.tried += 1

        with in_background(trial, runs):
            for _ in range(kills):
                trial.pace(trial.random.randint(1, max(2, 5 * runs // kills)))
                kill()
        trial.settle(count)
        trial.hold = True
        names = range(runs, 2 * runs)
        for number in names:
            trial.run(number)
        wait_until(lambda: len(trial.kubelet.orders) >= 2 * runs, timeout=120, what="the pods of the second half to run")
        deleting = threading.Thread(target=trial.delete_runs, daemon=True)
        deleting.start()
        for _ in range(kills):
            trial.pace(trial.random.randint(1, max(2, runs // kills)))
            kill()
        deleting.join(300)
        return trial.settle(count)


def etcd_away(plane: ControlPlane, folder: Path, *, runs: int, seconds: float, seed: int) -> Count:
    """etcd is away for so many seconds in the middle of the work."""
    count = Count(f"etcd away for {seconds:g} s")
    with Trial(plane, folder, seed=seed) as trial, Supervisor(trial.operator()):
        with in_background(trial, runs):
            trial.pace(4 * runs)
            plane.kill_etcd()
            threading.Event().wait(seconds)
            plane.start_etcd()
            count.tried += 1
        return trial.settle(count)
