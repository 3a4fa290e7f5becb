"""Deterministic kernels, where they are asked for; those that torch has none of are named."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import torch

_MARK = " does not have a deterministic implementation"


class NondeterministicKernels:
    """Names of the kernels that ran although torch has no deterministic one for them."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._told = 0

    def found(self, kernel: str) -> None:
        """One ran."""
        if kernel not in self._found:
            self._found.append(kernel)

    def news(self) -> list[str]:
        """A text for each that was found since the last call."""
        kernels, self._told = self._found[self._told :], len(self._found)
        return [
            "Not deterministic, although the training was asked to be: torch has no deterministic kernel for "
            f"{kernel} on this device. The same training again may differ from the last digits on. Change what the "
            "recipe needs it for, or train on a CPU."
            for kernel in kernels
        ]


@contextmanager
def deterministic(asked: bool) -> Iterator[NondeterministicKernels]:
    """Let torch choose deterministic kernels while the block runs, if that was asked for; else cuDNN the fastest ones.

    torch warns of those that it has none of. They are not refused: a network that needs one could not be trained at all.
    """
    kernels = NondeterministicKernels()
    torch.backends.cudnn.benchmark = not asked
    if not asked:
        yield kernels
        return
    # cuBLAS reads it when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    show = warnings.showwarning

    def listen(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: Any = None
    ) -> None:
        name, mark, _ = str(message).partition(_MARK)
        if mark:
            kernels.found(name)
        else:
            show(message, category, filename, lineno, file, line)

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=f".*{_MARK}")
        warnings.showwarning = listen
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield kernels
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
