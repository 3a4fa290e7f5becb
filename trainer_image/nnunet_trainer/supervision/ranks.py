"""Starting a step's processes, one a GPU, and seeing them to their end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from ..contract import pod
from ..contract.faults import BadUsage, ExitCode
from ..contract.work_order import TrainOrder, WorkOrder
from .worker import ENV_PROGRESS, ENV_SUPERVISOR


@dataclass(slots=True)
class End:
    """How a rank ended; `status` is negative for a signal."""

    rank: int
    status: int


@dataclass(slots=True)
class Ends:
    """All of a pod's ranks, in the order in which they ended. `stopping` says that SIGTERM came."""

    ends: list[End] = field(default_factory=list)
    stopping: bool = False

    @property
    def first_failure(self) -> End | None:
        """The rank that failed first; where none did by itself, the first one that was stopped."""
        failed = [end for end in self.ends if end.status != 0]
        return next((end for end in failed if not self.was_stopped(end)), failed[0] if failed else None)

    def was_stopped(self, end: End) -> bool:
        """Whether a rank ended because it was told to, here or by another rank: no failure of its own."""
        killed = self.stopping and end.status in (-signal.SIGTERM, -signal.SIGKILL)
        return killed or end.status == int(ExitCode.STOPPED)


def environments(order: WorkOrder, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """torchrun's variables for each process of this pod; none where one process is all there is.

    Raises:
        BadUsage: several nodes and no MASTER_ADDR, or no completion index.
    """
    if not isinstance(order, TrainOrder) or order.nodes * max(1, order.gpus_per_node) == 1:
        return [{}]
    local = max(1, order.gpus_per_node)
    node = int(environment.get(pod.ENV_SHARD, "0"))
    address, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if order.nodes == 1:
        address, port = address or "127.0.0.1", port or str(_free_port())
    if not address or not 0 <= node < order.nodes:
        message = f"A training on {order.nodes} nodes needs MASTER_ADDR and {pod.ENV_SHARD} (found {address!r} and {node})."
        raise BadUsage("InvalidWorkOrder", message)
    world = order.nodes * local
    return [
        {
            "RANK": str(node * local + i),
            "LOCAL_RANK": str(i),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(local),
            "GROUP_RANK": str(node),
            "MASTER_ADDR": address,
            "MASTER_PORT": port or str(pod.RENDEZVOUS_PORT),
            pod.ENV_RENDEZVOUS_SECONDS: str(order.rendezvous_deadline_seconds),
        }
        for i in range(local)
    ]


def run(environments: list[dict[str, str]], order_file: Path, reports: Path, hear: Callable[[str], None]) -> Ends:
    """Start the ranks, forward SIGTERM to them, end the others when one fails, reap whatever else ends here.

    Args:
        environments: a rank's own variables; rank 0 of the list is heard.
        order_file: the work order.
        reports: folder for `report-<i>.json`.
        hear: called with each line of progress, from a thread.
    """
    result = Ends()
    running: dict[int, int] = {}  # pid → index
    read, write = os.pipe()

    def forward(number: int, frame: FrameType | None) -> None:
        result.stopping = True
        _stop(running)

    def kill(number: int, frame: FrameType | None) -> None:
        _signal(running, signal.SIGKILL)

    before = {s: signal.signal(s, h) for s, h in ((signal.SIGTERM, forward), (signal.SIGINT, forward), (signal.SIGALRM, kill))}
    ears = threading.Thread(target=_listen, args=(read, hear), name="progress-pipe", daemon=True)
    ears.start()
    try:
        for i, own in enumerate(environments):
            heard = {ENV_PROGRESS: str(write)} if i == 0 else {}
            process = subprocess.Popen(
                [sys.executable, "-m", "nnunet_trainer.supervision.worker", str(order_file), str(reports / f"report-{i}.json")],
                env={**os.environ, **own, **heard, ENV_SUPERVISOR: str(os.getpid()), pod.ENV_SHARED: str(reports)},
                pass_fds=[write] if i == 0 else [],
            )
            running[process.pid] = i
        os.close(write)
        if result.stopping:  # it came while they were being started
            _signal(running, signal.SIGTERM)
        _wait(running, result, environments)
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    ears.join(timeout=5)
    return result


def _wait(running: dict[int, int], result: Ends, environments: list[dict[str, str]]) -> None:
    while running:
        pid, raw = os.waitpid(-1, 0)
        if pid not in running:
            continue  # an orphan that fell to us as PID 1
        i = running.pop(pid)
        status = os.waitstatus_to_exitcode(raw)
        result.ends.append(end := End(int(environments[i].get("RANK", i)), status))
        # A rank that heard of a SIGTERM elsewhere ends with 143: the first rank is saving the checkpoint now, and needs its time.
        if status != 0 and not result.was_stopped(end) and not result.stopping and running:
            _stop(running)


def _stop(running: Mapping[int, int]) -> None:
    """Ask the ranks to end. They know how long they have (`pod.leaving_seconds`); one that hangs would take the report with it."""
    _signal(running, signal.SIGTERM)
    before = signal.alarm(seconds := pod.ranks_seconds())
    if 0 < before < seconds:
        signal.alarm(before)


def _signal(running: Mapping[int, int], number: int) -> None:
    for pid in list(running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _listen(descriptor: int, hear: Callable[[str], None]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            hear(line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
