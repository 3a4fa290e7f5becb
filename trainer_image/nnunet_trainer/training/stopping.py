"""SIGTERM: a flag that every rank learns of at the next step, so that all stop at the same one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from . import distributed


@contextmanager
def on_sigterm(stop: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event that SIGTERM sets, for as long as the block runs. Only the main thread can do this."""
    event = stop or threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)


def requested(stop: threading.Event) -> bool:
    """Whether any rank was told to stop. Every rank must ask equally often."""
    return distributed.total([float(stop.is_set())])[0] > 0
