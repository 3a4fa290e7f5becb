"""Ending a plug-in's function that comes to no end, in whichever thread it is called."""

from __future__ import annotations

import contextvars
import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

THREAD = "plug-in"
"""The name of the threads."""


class TookTooLong(Exception):
    """A function has not ended in time. `file` and `line` are where it was; None where that is not known."""

    def __init__(self, file: str | None, line: int | None) -> None:
        super().__init__(f"{file}, line {line}")
        self.file, self.line = file, line


class _Abandoned(BaseException):
    """Nobody waits for what this thread does any more."""


def within(seconds: float, function: Callable[[], Any], *, of: str = "") -> Any:
    """What a function answers, if it does in time. It runs in a thread of its own, so nothing that it does can hold up its caller.

    One that is late is ended too, at its next line; one that is within a call of native code ends with that, or with the process.

    Args:
        seconds: of wall clock.
        function: without arguments.
        of: the file that it is of; where it is late, the line that it has got to of this file, or one beside it, is told.

    Raises:
        TookTooLong: it has not ended.
        BaseException: whatever the function raises.
    """
    ended, outcome = threading.Event(), _Outcome()

    def run() -> None:
        try:
            outcome.answer = function()
        except BaseException as error:  # it is the caller's
            outcome.error = error
        finally:
            ended.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name=THREAD, daemon=True)
    thread.start()
    try:
        in_time = ended.wait(seconds)
    except BaseException:  # such as a signal's
        _abandon(thread)
        raise
    if not in_time:
        late = TookTooLong(*_place(thread, of))
        _abandon(thread)
        raise late
    thread.join()
    if outcome.error is not None:
        raise outcome.error
    return outcome.answer


def stack_of(thread: int | None) -> list[FrameType]:
    """The frames of a thread, by its identifier, the outermost first; none where it has ended."""
    frame = sys._current_frames().get(thread or 0)
    return [] if frame is None else [each for each, _ in traceback.walk_stack(frame)][::-1]


def frame_of(stack: Sequence[FrameType], file: str) -> FrameType | None:
    """The innermost frame of a plug-in's own files, else the innermost of all: of a library its author knows no line.

    Args:
        stack: of `stack_of`.
        file: of the plug-in; "" if not known.
    """
    own = [frame for frame in stack if file and os.path.dirname(frame.f_code.co_filename) == os.path.dirname(file)]
    return (own or stack or [None])[-1]


class _Outcome:
    answer: Any = None
    error: BaseException | None = None


def _place(thread: threading.Thread, file: str) -> tuple[str | None, int | None]:
    found = frame_of(stack_of(thread.ident), file)
    return (found.f_code.co_filename, found.f_lineno) if found is not None else (None, None)


def _abandon(thread: threading.Thread) -> None:
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Abandoned))
