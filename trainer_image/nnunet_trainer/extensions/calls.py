"""Calling what a plug-in has registered."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, Fault, means_gpu_failure, means_gpu_out_of_memory

from . import slow_calls


def guarded(what: str, function: Callable[..., Any], /, *arguments: Any, **parameters: Any) -> Any:
    """`guarded_as`, with the reason PluginFailed; where it does not end for long, it is said where it is (`slow_calls`).

    What is called in each step of a training is called by `guarded_as`: there the ranks watch each other.
    """
    with slow_calls.watched(what, function):
        return guarded_as("PluginFailed", what, function, *arguments, **parameters)


def guarded_as(reason: str, what: str, function: Callable[..., Any], /, *arguments: Any, **parameters: Any) -> Any:
    """What a plug-in's function answers.

    Args:
        reason: of the fault.
        what: the function is, for the message.
        function: to call with the arguments and parameters.

    Raises:
        BadConfiguration: the function fails; the message has the file, the line and what stands there.
    """
    try:
        return function(*arguments, **parameters)
    except (Fault, MemoryError):
        raise
    except Exception as error:
        if means_gpu_out_of_memory(error) or means_gpu_failure(error):
            raise
        message = f"{what} fails: {type(error).__name__}: {error} ({_place(error, function)})."
        raise BadConfiguration(reason, message, hint="Mend the plug-in.") from error


def require_answer(fits: bool, what: str, found: Any, expected: str) -> None:
    """That a plug-in's function has answered what it should.

    Args:
        fits: whether it has.
        what: the function is, for the message.
        found: the answer, or a text that says what it is.
        expected: in its place.

    Raises:
        BadConfiguration: it has not.
    """
    if not fits:
        shown = found if isinstance(found, str) else repr(found)
        shown = shown if len(shown) <= 200 else f"{shown[:200]} …"
        raise BadConfiguration("PluginResult", f"{what} answers {shown}; {expected} was expected.", hint="Mend the plug-in.")


def _place(error: Exception, function: Callable[..., Any]) -> str:
    """The last line of the plug-in's own files that was run: of a library that it calls its author knows no line."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    source = slow_calls.source_of(function)
    own = [frame for frame in frames if source and Path(frame.filename).parent == Path(source).parent]
    if not (own or frames):  # the call itself: other arguments than it takes
        return source or repr(function)
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}: {frame.line}"
