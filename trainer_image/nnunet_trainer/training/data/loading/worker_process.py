"""A worker process as its parent sees it: how it is started and ended, what it says, and where it stands when it says nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from multiprocessing.connection import Connection
from typing import Self

from nnunet_trainer.contract.control_groups import memory_limit
from nnunet_trainer.dataset.parallel import THREADS

from ..shared_memory import unnamed_file
from . import worker

ONE_THREAD = dict.fromkeys((*THREADS, "BLOSC_NTHREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS"), "1")
"""What workers' libraries would start threads for; also no worker may open a GPU."""

STACK_SECONDS, KILL_SECONDS = 2.0, 10.0
LOOK_SECONDS = 0.02
log = logging.getLogger(__name__)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """What is started now inherits that these signals are blocked: they do not end it before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, worker.IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(slots=True)
class WorkerProcess:
    """One that makes batches."""

    process: subprocess.Popen[bytes]
    connection: Connection
    stack: FileIO
    """A file in which it leaves where it stands."""
    tasks: deque[int] = field(default_factory=deque)
    """Numbers of the batches that it was told to make, and has not."""
    since: float = field(default_factory=time.monotonic)
    """It said something, or was told something when it had nothing to do (`time.monotonic`)."""

    @classmethod
    def start(cls, fds: Sequence[int]) -> Self:
        """Start one that inherits these descriptors under the same numbers."""
        ours, theirs = socket.socketpair()
        stack = FileIO(unnamed_file())
        with ours, theirs, _blocked():
            process = subprocess.Popen(
                worker.command(theirs.fileno(), stack.fileno()),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), stack.fileno(), *fds],
                env={**os.environ, **ONE_THREAD, "CUDA_VISIBLE_DEVICES": ""},
                start_new_session=True,
            )
            return cls(process, Connection(ours.detach()), stack)

    def write(self, message: bytes) -> None:
        """Tell it something. One that is dead is found out when it is listened to."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(message)

    def kill(self) -> None:
        """Let it end, without waiting for that."""
        self.connection.close()
        self.process.kill()

    def end(self) -> None:
        """Kill it, and wait until it is gone. One that waits for a disk that does not answer cannot be killed, and is left."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(KILL_SECONDS)
        self.stack.close()

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self.process.poll() is not None

    def ended_by(self, out_of_memory: bool) -> str:
        """How it ended, as the end of a sentence about it.

        Args:
            out_of_memory: the kernel has ended a process for want of memory.
        """
        code = self.process.returncode
        if out_of_memory:
            return f"was killed by the kernel for want of memory (the limit is {memory_limit() / 2**30:.1f} GiB)"
        if code is None:
            return "does not end, though it was killed: it waits for a disk that does not answer"
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def where(self) -> str:
        """In which function it stands; its whole stack goes into the log."""
        text, before, until = "", "", time.monotonic() + STACK_SECONDS
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)
        while not (text.endswith("\n") and text == before) and time.monotonic() < until:  # it is written line by line
            time.sleep(LOOK_SECONDS)
            before, text = text, os.pread(self.stack.fileno(), 1 << 16, 0).decode(errors="replace")
        log.warning("The stacks of the worker process %d, which hangs:\n%s", self.process.pid, text or "(it does not say)")
        frame = re.search(r'File "(?:.*/)?([^"]+)", line (\d+) in (\S+)', text.rpartition("Current thread")[2])
        return f"in {frame[3]} ({frame[1]}, line {frame[2]})" if frame else "and does not say where"
