"""After what is wanted was changed: see to it that the processes that are in its way end."""

from __future__ import annotations

import time
from collections.abc import Callable

from nnunet_trainer.contract.faults import Temporary

from ..machine.scheduler import Machine
from ..object_store.store import Store

PATIENCE_SECONDS = 600.0
"""How long another process is waited for that works on the store and ends what runs."""


def end_processes(store: Store, done: Callable[[], bool]) -> None:
    """Wait until it is done: by the process that works on the store, or, when there is none, by this one."""
    from ..session.session import Session

    try:
        with store.working():
            session = Session(store, Machine(cores=0, memory=0))
            session.node.starts = False
            session.run(lambda _: None, done=done)
    except Temporary:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done() and time.monotonic() < deadline:
            time.sleep(0.1)
