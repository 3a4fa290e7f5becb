"""Whose fault an error is that nobody expected: a plug-in's, where one of its lines was being run."""

from __future__ import annotations

import errno
import traceback
from types import FrameType

from nnunet_trainer.contract.faults import BadConfiguration, Fault, means_gpu_failure, means_gpu_out_of_memory

from .plugins import loaded_from
from .registry import Plugin

FULL = (errno.ENOSPC, errno.EDQUOT)


def plugins_fault(error: BaseException) -> BadConfiguration | None:
    """The fault of an error that comes of a plug-in's line, with the innermost one; None where it comes of none.

    Most of what plug-ins do is called by `calls.guarded`, which knows what it calls. This is for the rest: what torch calls of them
    (a backward pass, a hook), a network's layers when it trains, methods that nobody asks for but their own base class.

    Memory or a disk that is full is no plug-in's fault, nor is a GPU that fails.
    """
    if not isinstance(error, Exception) or isinstance(error, Fault | MemoryError):
        return None
    if means_gpu_out_of_memory(error) or means_gpu_failure(error):
        return None
    if isinstance(error, OSError) and error.errno in FULL:
        return None
    frames = list(traceback.walk_tb(error.__traceback__))
    plugin, at = next(((plugin, at) for at in reversed(frames) if (plugin := _plugin(at[0])) is not None), (None, None))
    if plugin is None or at is None:
        return None
    place = traceback.StackSummary.extract([at])[0]
    message = f"The plug-in {plugin.name} fails in {place.name}: {type(error).__name__}: {error}"
    return BadConfiguration(
        "PluginFailed", f"{message} ({place.filename}, line {place.lineno}: {place.line}).", hint="Mend the plug-in."
    )


def _plugin(frame: FrameType) -> Plugin | None:
    return loaded_from(frame.f_globals.get("__name__") or "", frame.f_code.co_filename)
