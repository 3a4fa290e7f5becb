"""How a rank ends from another thread than its main one, which may be in a collective for ever: with a report, without waiting."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

from ..contract.faults import Fault

_reporting = threading.Lock()
_report: Callable[[Fault], None] | None = None


def report_with(report: Callable[[Fault], None]) -> None:
    """What leaves this process's report; by hand there is none, and the fault is printed."""
    global _report
    _report = report


def begin_report() -> bool:
    """Whether the caller is the first that reports this process's end, and so the only one."""
    return _reporting.acquire(blocking=False)


def abort(fault: Fault) -> None:
    """End this process now, as `fault` says. It returns where the main thread is on its way out already."""
    if not begin_report():
        return
    try:
        if _report is not None:
            _report(fault)
        else:
            print(f"{fault.reason}: {fault}", file=sys.stderr)
    finally:  # the main thread waits for this end, so that it must come
        leave(int(fault.exit_code))


def leave(code: int) -> None:
    """Without what Python does at its end: that could wait for other ranks, which wait for this one."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
