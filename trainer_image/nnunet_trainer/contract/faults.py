"""Exit codes, and the errors that a person can cause and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of every trainer process (sysexits where one fits). The operator's failure policy reads them."""

    DONE = 0
    BAD_USAGE = 64
    BAD_DATA = 65
    GPU_OUT_OF_MEMORY = 71
    IO_ERROR = 74
    TRY_AGAIN = 75
    BAD_CONFIGURATION = 78
    STOPPED = 143

    @property
    def permanent(self) -> bool:
        """Whether the same work order would fail in the same way again."""
        return self in PERMANENT


PERMANENT = frozenset({ExitCode.BAD_USAGE, ExitCode.BAD_DATA, ExitCode.GPU_OUT_OF_MEMORY, ExitCode.BAD_CONFIGURATION})

MOST_NAMES = 24
"""More names than this are not read."""


class Fault(Exception):
    """Something that a person can mend. It is shown as a message, never as a stack trace.

    Args:
        reason: CamelCase cause; becomes the condition's reason.
        message: what was found, where (case, file, field), and what was expected.
        hint: what to do about it.
        findings: one line for each thing found, when there are several; the message then says how many.
    """

    exit_code = ExitCode.BAD_USAGE

    def __init__(self, reason: str, message: str, *, hint: str = "", findings: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint
        self.findings = tuple(findings)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone: a worker's fault could not come back to its parent.
        return _rebuilt, (type(self), self.reason, self.message, self.hint, self.findings)

    def __str__(self) -> str:
        lines = [self.message, *(f"  {finding}" for finding in self.findings)]
        return "\n".join([*lines, self.hint] if self.hint else lines)


def _rebuilt(kind: type[Fault], reason: str, message: str, hint: str, findings: tuple[str, ...]) -> Fault:
    return kind(reason, message, hint=hint, findings=findings)


class BadUsage(Fault):
    """Wrong arguments."""

    exit_code = ExitCode.BAD_USAGE


class BadData(Fault):
    """Images, labels, dataset.json or an artifact that cannot be worked with."""

    exit_code = ExitCode.BAD_DATA


class BadConfiguration(Fault):
    """Plans, a recipe, a name or pretrained weights that do not fit."""

    exit_code = ExitCode.BAD_CONFIGURATION


class GpuOutOfMemory(Fault):
    """The network and its batch do not fit on this GPU."""

    exit_code = ExitCode.GPU_OUT_OF_MEMORY


GPU_MEMORY_WORDS = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "OutOfMemoryError")
"""How torch, cuDNN (CUDNN_STATUS_ALLOC_FAILED), cuBLAS, cuFFT, CUDA itself (cudaErrorMemoryAllocation: "out of memory"), NCCL
("Cuda failure 2 'out of memory'") and Inductor (an error within another's text) say that a GPU's memory is not enough."""


def means_gpu_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what it came from, says that a GPU's memory is not enough. torch need not be imported."""
    seen: BaseException | None = error
    while seen is not None:
        if any(cls.__name__ == "OutOfMemoryError" for cls in type(seen).__mro__):
            return True
        about_gpu = isinstance(seen, RuntimeError) and any(
            name in str(seen) for name in ("CUDA", "CUDNN", "CUBLAS", "CUFFT", "NCCL", "Cuda")
        )
        if about_gpu and any(words in str(seen) for words in GPU_MEMORY_WORDS):
            return True
        seen = seen.__cause__
    return False


def means_gpu_failure(error: BaseException) -> bool:
    """Whether an error says that a GPU has failed at its work, such as of its memory (ECC) or of a launch.

    It works by itself, so this is told at whatever line comes next, which need not have to do with it. An assertion within a kernel
    is none: a wrong index, or label, does that.
    """
    return isinstance(error, RuntimeError) and "CUDA error:" in str(error) and "device-side assert" not in str(error)


class StorageFault(Fault):
    """A store that refuses or cannot be reached: wrong credentials, missing bucket, no network, no space."""

    exit_code = ExitCode.IO_ERROR


class Temporary(Fault):
    """A failure that another attempt may not meet."""

    exit_code = ExitCode.TRY_AGAIN


class Stopped(Fault):
    """Ended by SIGTERM with a checkpoint saved."""

    exit_code = ExitCode.STOPPED


def of_exit_code(code: int, reason: str, message: str, hint: str = "") -> Fault:
    """A fault that another process told of; one of an unknown code is `Temporary`."""
    kinds = (BadUsage, BadData, GpuOutOfMemory, StorageFault, Temporary, BadConfiguration, Stopped)
    kind = next((kind for kind in kinds if kind.exit_code == code), Temporary)
    return kind(reason, message, hint=hint)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that nothing bears: the nearest names, and the whole list where it can be taken in."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    if len(known) > MOST_NAMES:
        return f"There is no {kind} named {name!r}.{meant} {len(known)} are known, such as {', '.join(known[:3])}."
    return f"There is no {kind} named {name!r}.{meant} Known: {', '.join(known) or 'none'}."
