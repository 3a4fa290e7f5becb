"""A worker process: makes the batches that it is told to, until its parent is gone.

It imports torch only where it augments. SIGTERM and Ctrl-C are its parent's: that finishes a step and saves a checkpoint, and needs
batches for it.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection

IGNORED = (signal.SIGTERM, signal.SIGINT)
LOOK_SECONDS = 2.0
"""Between two looks whether the parent is still there."""


def command(fd: int, stack: int) -> list[str]:
    """What starts a worker that talks through a socket, and on SIGUSR1 leaves its stacks in a file; with this import path."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main({fd}, {stack})"
    return [sys.executable, "-c", code]


def main(fd: int, stack: int) -> None:
    """Make batches."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=True)
    parent, connection = os.getppid(), Connection(fd)
    try:
        plugins, content = pickle.loads(connection.recv_bytes())
        if plugins:  # what makes batches may hold something of theirs
            from nnunet_trainer.extensions import load_again

            load_again(plugins)
        maker, slots = pickle.loads(content)
        while True:
            while not connection.poll(LOOK_SECONDS):
                if os.getppid() != parent:
                    return
            number, slot, place = pickle.loads(connection.recv_bytes())
            writer = slots.writer(slot)
            try:
                good, message = True, writer.message(maker(place, writer.allocate))
            except Exception as error:
                good, message = False, _told(error)
            connection.send_bytes(pickle.dumps((number, good, message)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _told(error: Exception) -> bytes:
    """An error for the parent to raise; one that is no `Fault` says where it came from."""
    from nnunet_trainer.contract.faults import Fault

    if not isinstance(error, Fault):
        error.add_note("In a worker process:\n" + traceback.format_exc())
    try:
        message = pickle.dumps(error)
        pickle.loads(message)
    except Exception:
        return pickle.dumps(RuntimeError("".join(traceback.format_exception(error))))
    return message
