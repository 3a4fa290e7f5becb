"""Ranks of a training as processes of their own, forked from a server that has torch: each begins in a tenth of a second."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ..ports import free_port

STACKS_SECONDS = 2.0
_servers = multiprocessing.get_context("forkserver")
_servers.set_forkserver_preload(["nnunet_trainer.steps.train", "nnunet_trainer.supervision.worker", "torch.distributed"])


def start(
    world: int, body: Callable[..., int], arguments: Sequence[Any], folder: Path, environment: Mapping[str, str] | None = None
) -> list[BaseProcess]:
    """Start `world` processes that call `body(*arguments)` with torchrun's variables, and end with what it returns.

    Args:
        world: ranks; one has no variables of ranks.
        body: of a module that can be imported.
        arguments: plain values.
        folder: takes `rank-<N>.log`, what each process writes.
        environment: more variables.
    """
    shared = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **(environment or {})}
    if world > 1:
        shared |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
        shared |= {"MASTER_PORT": str(free_port())}
    processes = []
    for rank in range(world):
        own = shared | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {})
        processes.append(_servers.Process(target=_run, args=(own, folder / f"rank-{rank}.log", sys.path, body, arguments)))
        processes[-1].start()
    return processes


def warm() -> None:
    """Let the server read its modules: what begins after this begins at once."""
    first = _servers.Process(target=_nothing)
    first.start()
    first.join()


def ends(processes: Sequence[BaseProcess], seconds: float = 180, *, stacks: bool = False) -> list[int | None]:
    """Exit codes, negative for a signal; what has not ended by then is killed, and has None.

    Args:
        processes: of `start`.
        seconds: for all of them together.
        stacks: one that has not ended leaves the stacks of its threads in its log first.
    """
    until = time.monotonic() + seconds
    codes = []
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        codes.append(process.exitcode)
    for process in processes:
        if process.exitcode is None:
            if stacks and process.pid is not None:
                os.kill(process.pid, signal.SIGUSR1)
                process.join(STACKS_SECONDS)
            process.kill()
            process.join()
    return codes


def _nothing() -> None:
    pass


def _run(environment: dict[str, str], log: Path, path: list[str], body: Callable[..., int], arguments: Sequence[Any]) -> None:
    os.environ.update(environment)
    sys.path[:] = path
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    import torch

    torch.set_num_threads(1)
    code = body(*arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
