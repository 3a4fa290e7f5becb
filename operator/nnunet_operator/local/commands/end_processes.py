"""After what is wanted was changed: see to it that the processes that are in its way end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nnunet_trainer.contract.faults import Temporary

from ..machine.scheduler import Machine
from ..object_store.store import Store

if TYPE_CHECKING:
    from ..session.session import Session

PATIENCE_SECONDS = 600.0
"""How long another process is waited for that works on the store and ends what runs."""


def end_processes(store: Store, done: Callable[[], bool], session: Session | None = None) -> None:
    """Wait until it is done: by the process that works on the store, or, when there is none, by this one.

    Args:
        store: the objects.
        done: whether it is.
        session: what this one works with; absent: a session that starts nothing.
    """
    from ..session import session as sessions

    try:
        with store.working():
            if session is None:
                session = sessions.Session(store, Machine(cores=0, memory=0))
                session.node.starts = False
            session.run(lambda _: None, done=done)
    except Temporary:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done() and time.monotonic() < deadline:
            time.sleep(0.1)
