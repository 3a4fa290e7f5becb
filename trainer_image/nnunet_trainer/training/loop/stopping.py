"""SIGTERM: a flag that every rank learns of at the next step, so that all stop at the same one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..ranks import distributed


class StopRequest(threading.Event):
    """An event that knows how long whoever sets it waits before it kills.

    Args:
        grace: seconds from `set` to the kill.
    """

    def __init__(self, grace: float) -> None:
        super().__init__()
        self._grace = grace
        self._deadline: float | None = None

    def set(self) -> None:
        """Ask to stop; the first time counts."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace
        super().set()

    def seconds_left(self) -> float | None:
        """Until the kill; None as long as nobody asked."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def seconds_left(stop: threading.Event) -> float | None:
    """How long there is to leave in order; None: as long as it takes."""
    return stop.seconds_left() if isinstance(stop, StopRequest) else None


@contextmanager
def on_signals(
    stop: threading.Event | None = None, signals: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)
) -> Iterator[threading.Event]:
    """An event that a signal sets, for as long as the block runs. A second Ctrl-C interrupts at once.

    Only the main thread can do this.
    """
    event = stop or threading.Event()
    before = {number: signal.getsignal(number) for number in signals}

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    for number in signals:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requested(stop: threading.Event, checkpoint_due: bool) -> tuple[bool, bool]:
    """Whether any rank was told to stop, and whether any finds a checkpoint due. Every rank must ask equally often."""
    stops, due = distributed.total([float(stop.is_set()), float(checkpoint_due)])
    return stops > 0, due > 0
