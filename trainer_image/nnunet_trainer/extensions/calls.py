"""Calling what a plug-in has registered."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, Fault


def guarded(what: str, function: Callable[..., Any], *arguments: Any, reason: str = "PluginFailed", **parameters: Any) -> Any:
    """What a plug-in's function answers.

    Args:
        what: the function is, for the message.
        function: to call with the arguments.
        reason: of the fault.

    Raises:
        BadConfiguration: the function fails; the message has the file, the line and what stands there.
    """
    try:
        return function(*arguments, **parameters)
    except (Fault, MemoryError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}: {frame.line}"
        message = f"{what} fails: {type(error).__name__}: {error} ({where})."
        raise BadConfiguration(reason, message, hint="Mend the plug-in.") from error
