"""Threads and kernels of a process while it trains."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from nnunet_trainer.contract.faults import means_gpu_out_of_memory

from ..ranks.distributed import Ranks
from ..session.setup import TrainingSetup
from .determinism import NondeterministicKernels, deterministic
from .gpu_memory import out_of_memory

MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 2**25), (-1, 2**29)
"""Parameters of glibc's `mallopt` and their values in bytes, the first one the largest that it takes."""


@contextmanager
def limited(setup: TrainingSetup, ranks: Ranks) -> Iterator[NondeterministicKernels]:
    """Keep to the container's cores and to the kernels that were asked for, as long as the block runs.

    Yields:
        The kernels that are not deterministic although that was asked for, as they run.

    Raises:
        GpuOutOfMemory: in place of torch's error.
    """
    _limit_compilation(ranks.cores)
    if ranks.device.type == "cpu":
        torch.set_num_threads(min(torch.get_num_threads(), ranks.cores))
        _keep_freed_memory()
    try:
        with deterministic(setup.deterministic) as kernels:
            yield kernels
    except RuntimeError as error:
        if not means_gpu_out_of_memory(error):
            raise
        raise out_of_memory(setup, ranks, str(error)) from error


def _keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one: as new memory its pages cost a twentieth of a step on a CPU."""
    with suppress(AttributeError):  # another library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            mallopt(parameter, value)


def _limit_compilation(cores: int) -> None:
    """torch.compile would start a process for each core of the machine, whatever the container's quota is."""
    if "TORCHINDUCTOR_COMPILE_THREADS" in os.environ:
        return
    if "torch._inductor.config" in sys.modules:  # it reads the variable when it is imported
        sys.modules["torch._inductor.config"].compile_threads = cores  # type: ignore[attr-defined]
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = str(cores)
