"""Any end of a step but success, as an `Error` of the report."""

from __future__ import annotations

import errno
import signal
import traceback
from concurrent.futures.process import BrokenProcessPool

from ..contract.control_groups import memory_limit, oom_kills
from ..contract.faults import ExitCode, Fault, GpuOutOfMemory, StorageFault, Temporary, means_gpu_out_of_memory
from ..contract.report import Error

SHOWN_FINDINGS = 5
KILLED = 128 + signal.SIGKILL


def as_fault(error: BaseException, kills_before: int = 0) -> Fault:
    """What a person can use of an exception. The stack trace is the log's, not theirs."""
    if isinstance(error, Fault):
        return error
    if means_gpu_out_of_memory(error):
        hint = "Plan for less (spec.planner.gpuMemoryGB) or ask for a larger GPU (spec.template.nodeSelector)."
        return GpuOutOfMemory("OutOfGPUMemory", _last_line(error), hint=hint)
    if isinstance(error, MemoryError) or (isinstance(error, BrokenProcessPool) and oom_kills() > kills_before):
        return Temporary("OutOfMemory", f"{out_of_memory()} {_last_line(error)}", hint="Raise spec.template.resources' memory.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" for {error.filename}" if error.filename else ""
        return StorageFault(
            "ScratchFull", f"No space is left{place}.", hint="Give the pod more scratch space (spec.template.scratch)."
        )
    return Temporary("InternalError", _last_line(error), hint="The whole stack trace is in the pod's log. Please report it.")


def as_error(fault: Fault) -> Error:
    """A fault as it goes into a report: the first findings in the message, all of them in report.json."""
    shown = [*fault.findings[:SHOWN_FINDINGS]]
    if left := len(fault.findings) - len(shown):
        shown.append(f"and {left} more")
    message = f"{fault.message.rstrip('.')}: {'; '.join(shown)}." if shown else fault.message
    return Error(code=int(fault.exit_code), reason=fault.reason, message=message, hint=fault.hint)


def of_status(status: int, who: str, *, stopping: bool, oom: bool) -> Error | None:
    """The error of a process that left no report, from its exit status (negative: a signal); None when it ended well."""
    if status == 0:
        return None
    if stopping and status in (-signal.SIGTERM, -signal.SIGKILL, int(ExitCode.STOPPED)):
        return Error(code=int(ExitCode.STOPPED), reason="Stopped", message=f"{who} was stopped.")
    if status < 0:
        name = signal.Signals(-status).name
        if oom and -status == signal.SIGKILL:
            hint = "Raise spec.template.resources' memory."
            return Error(code=KILLED, reason="OOMKilled", message=f"{who}: {out_of_memory()}", hint=hint)
        return Error(code=int(ExitCode.TRY_AGAIN), reason="Killed", message=f"{who} was ended by {name} (signal {-status}).")
    return Error(
        code=status, reason="Crashed", message=f"{who} ended with exit code {status} and left no report.", hint="See the pod's log."
    )


def out_of_memory() -> str:
    limit = memory_limit()
    size = f"{limit / 2**30:.1f} GiB" if limit >= 2**30 else f"{limit / 2**20:.0f} MiB"
    return f"the kernel ended a process for want of memory; the container's limit of {size} was reached."


def _last_line(error: BaseException) -> str:
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    last = frames[-1]
    return f"{text} ({last.filename.rpartition('/')[2]}, line {last.lineno}, in {last.name})"
