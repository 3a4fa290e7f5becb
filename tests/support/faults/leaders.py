"""Two replicas with a Lease: the leader is killed, stopped, or frozen and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_trainer.contract.faults import ExitCode

from ..apiclient import wait_until
from ..controlplane import ControlPlane
from ..operator import OperatorProcess
from .trial import Count, Trial

KILLED_WITHIN = 15.0
STOPPED_WITHIN = 2.0
"""Seconds within which the other replica acts, on a machine that has time for it."""


@contextmanager
def replicas(trial: Trial) -> Iterator[Callable[[], OperatorProcess]]:
    """Starts replicas that share a Lease; all are ended."""
    started: list[OperatorProcess] = []

    def start() -> OperatorProcess:
        flags = ("--leader-election", "--lease-namespace", trial.namespace)
        operator = trial.operator(*flags, POD_NAME=f"replica-{len(started)}").start()
        started.append(operator)
        return operator

    try:
        yield start
    finally:
        for operator in started:
            if operator.process.poll() is None:
                operator.process.send_signal(signal.SIGCONT)
                operator.kill()


def leads(operator: OperatorProcess) -> bool:
    """Whether it says so."""
    return operator.metric("nnunet_operator_leading") == 1


def acted(trial: Trial, number: int) -> bool:
    """Whether anybody has answered the creation of a run."""
    found = trial.api.get("nnunet.dev/v1alpha1", "TrainingRun", trial.namespace, f"run-{number:03}")
    return bool((found or {}).get("status"))


def leader_lost(plane: ControlPlane, folder: Path, *, by: signal.Signals, times: int, runs: int, seed: int) -> Count:
    """The leader gets a signal in the middle of the work, and a run is created at that moment: how long until it is answered?

    A leader that was frozen (SIGSTOP) goes on once the other has acted, and has to end without having written anything more.
    """
    names = {signal.SIGKILL: "leader killed -9", signal.SIGTERM: "leader stopped", signal.SIGSTOP: "leader frozen, then continued"}
    count = Count(names[by])
    with Trial(plane, folder, seed=seed) as trial, replicas(trial) as start:
        trial.prepare()
        leader, number = start(), 0
        for _ in range(times):
            wait_until(lambda: leads(leader), what="it to lead")  # noqa: B023
            other = start()
            for _ in range(runs):
                trial.run(number)
                number += 1
            trial.pace(trial.random.randint(1, 4 * runs))
            process = leader.process
            os.kill(process.pid, by)
            began = time.monotonic()
            trial.run(number)
            wait_until(lambda: leads(other) and acted(trial, number), what="the other to act")  # noqa: B023
            count.seconds = max(count.seconds or 0.0, time.monotonic() - began)
            count.tried += 1
            number += 1
            if by == signal.SIGSTOP:
                process.send_signal(signal.SIGCONT)
                if (status := process.wait(60)) != ExitCode.TRY_AGAIN:
                    count.doubled.append(f"the leader that was frozen went on, and ended with {status}")
            process.wait(60)
            leader = other
        return trial.settle(count)
