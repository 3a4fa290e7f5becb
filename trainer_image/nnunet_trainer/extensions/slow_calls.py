"""Saying that a plug-in's function, or a reader, has not ended for long, and where it is: in the log, and in the pod's progress.

Nothing is ended: how long a large image may take only its owner knows. A process says it in a file of the pod's shared folder, and
the supervisor tells it: the call may be in a worker process, and whoever reports progress may be who waits for it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from nnunet_trainer.contract import pod

from .time_limit import frame_of, stack_of

FIRST_SECONDS = 300.0
"""When it is said first; then after twice as long, four times …"""
log = logging.getLogger(__name__)

_subject: ContextVar[str] = ContextVar("subject", default="")


@contextlib.contextmanager
def concerning(subject: str) -> Iterator[None]:
    """What is worked on in this block, such as `Case liver_1`: named with a call that does not end."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


@contextlib.contextmanager
def watched(what: str, function: Callable[..., Any]) -> Iterator[None]:
    """Say where this thread is if the block has not ended for long; a block that is short takes a tenth of a millisecond longer.

    Args:
        what: is called, the beginning of a sentence.
        function: that is called; where it is, is said by the innermost line of the files beside it.
    """
    subject, ended = _subject.get(), threading.Event()
    given = (ended, threading.get_ident(), f"{subject}: {what}" if subject else what, function)
    thread = threading.Thread(target=_watch, args=given, name="slow-call", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # who forks worker processes has to be the only thread


def source_of(function: Any) -> str:
    """The file that a function or class is of; "" where that is not known."""
    while isinstance(function, functools.partial):
        function = function.func
    try:
        return inspect.getsourcefile(inspect.unwrap(function)) or ""
    except (TypeError, ValueError):
        return source_of(type(function)) if not isinstance(function, type) else ""


def _watch(ended: threading.Event, caller: int, what: str, function: Callable[..., Any]) -> None:
    seconds, waited = FIRST_SECONDS, 0.0
    try:
        while not ended.wait(seconds - waited):
            waited, seconds = seconds, seconds * 2
            _say(f"{what} has not ended for {_duration(waited)}", caller, function)
    finally:
        if waited:
            _withdraw(caller)


def _say(text: str, caller: int, function: Callable[..., Any]) -> None:
    stack, file = stack_of(caller), source_of(function)
    inner = frame_of(stack, file)
    if inner is not None:
        line = traceback.extract_stack(inner, limit=1)[0]
        text += f"; it is at {line.filename}, line {line.lineno}: {line.line}"
        outer = next(i for i, frame in enumerate(stack) if frame is inner or frame.f_code.co_filename == file)
        below = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in stack[outer:])
        log.warning("%s\n%s", text, "".join(below.format()).rstrip())
    else:
        log.warning("%s", text)
    if (folder := pod.shared()) is not None:
        with contextlib.suppress(OSError):  # a full disk; the log has it
            partial = folder / f".{_name(caller)}"
            partial.write_text(f"{text}.", encoding="utf-8")
            partial.replace(folder / _name(caller))


def _withdraw(caller: int) -> None:
    if (folder := pod.shared()) is not None:
        with contextlib.suppress(OSError):
            (folder / _name(caller)).unlink(missing_ok=True)


def _name(caller: int) -> str:
    return f"{pod.SLOW_CALL}{os.getpid()}-{caller}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 60 else f"{seconds:g} seconds"
