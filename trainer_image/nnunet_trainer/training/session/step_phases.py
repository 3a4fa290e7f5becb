"""Where the time of training steps goes: each step passes through phases, one after the other."""

from __future__ import annotations

import time
from typing import Any

import torch

WAITING, PREPARATION, FORWARD, BACKWARD, EXCHANGE, OPTIMIZER, AGREEMENT, CHECKPOINT = PHASES = (
    "waiting for data",
    "upload and augmentation",
    "forward and loss",
    "backward",
    "exchange of gradients",
    "optimizer",
    "agreement of the ranks",
    "checkpoint",
)
"""In their order within a step. The exchange is what of it does not overlap with backward."""


class StepPhases:
    """Adds up how long each phase took: on a GPU by its own clock, which is read late, so that no step waits for it.

    Args:
        device: that trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str | None, Any]] = []
        self._seconds = dict.fromkeys(PHASES, 0.0)

    def enter(self, phase: str | None) -> None:
        """A phase begins, and the one before ends; None: what follows is none of a step."""
        if not self._cuda:
            self._marks.append((phase, time.perf_counter()))
            self.look()
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((phase, event))

    def look(self) -> None:
        """Read the device's clock, as far as it has come: of an event that it has not passed yet, torch raises an error."""
        read = 0
        for (phase, begun), (_, ended) in zip(self._marks, self._marks[1:], strict=False):
            if self._cuda and not ended.query():
                break
            if phase is not None:
                self._seconds[phase] += begun.elapsed_time(ended) / 1000 if self._cuda else ended - begun
            read += 1
        del self._marks[:read]

    def take(self) -> dict[str, float]:
        """Seconds of each phase since the last call, which may wait for the device."""
        if self._cuda and self._marks:
            self._marks[-1][1].synchronize()
        self.look()
        taken, self._seconds = self._seconds, dict.fromkeys(PHASES, 0.0)
        return taken
