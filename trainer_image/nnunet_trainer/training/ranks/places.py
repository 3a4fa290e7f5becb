"""Where each rank stands in the training, who is behind, and whether anything moves."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

STALL_SECONDS, STALL_STEPS, FIRST_STEP_SECONDS = 300.0, 10, 1800.0
"""A training stands still after so many seconds, and so many times a usual step; the first step may take longer (torch.compile)."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a rank stands; the lesser one is behind."""

    epoch: int
    iteration: int
    order: int
    """Of the phase within a step; negative: not within a step, which may take any time."""
    phase: str

    def __str__(self) -> str:
        return f"epoch {self.epoch}, iteration {self.iteration}, {self.phase}"


class Places:
    """What one rank knows of all: the first one hears of each, another knows its own and the first one's.

    Args:
        rank: that knows it.
        world_size: ranks.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self.nodes = {rank: socket.gethostname()}
        self._known: dict[int, tuple[Place, float]] = {}
        self._step_seconds: float | None = None
        self._step_began = 0.0

    @property
    def own(self) -> tuple[Place, float] | None:
        """Where this rank stands, and since when (`time.monotonic`)."""
        return self._known.get(self.rank)

    def come(self, place: Place) -> None:
        """This rank has come there."""
        before, now = self.own, time.monotonic()
        if before is None or (before[0].epoch, before[0].iteration) != (place.epoch, place.iteration):
            if before is not None and place.order >= 0 and before[0].order >= 0:
                took = now - self._step_began
                self._step_seconds = took if self._step_seconds is None else 0.9 * self._step_seconds + 0.1 * took
            self._step_began = now
        self._known[self.rank] = place, now

    def hear(self, rank: int, place: Place) -> None:
        """Another rank says where it is."""
        self._known[rank] = place, time.monotonic()

    def standstill(self, now: float) -> float | None:
        """Seconds since this rank's last phase of a step began, where that is too long ago; else None."""
        if self.own is None or self.own[0].order < 0:
            return None
        limit = FIRST_STEP_SECONDS if self._step_seconds is None else max(STALL_SECONDS, STALL_STEPS * self._step_seconds)
        since = now - self.own[1]
        return since if since > limit else None

    def name(self, rank: int) -> str:
        """`rank 1 on node-b`."""
        return f"rank {rank}" + (f" on {self.nodes[rank]}" if rank in self.nodes else "")

    def last(self, rank: int) -> str:
        """` at epoch …`, or nothing where that is not known."""
        return f" at {self._known[rank][0]}" if rank in self._known else ""

    def slowest(self) -> str:
        """Who is behind, and where; as far as this rank knows."""
        now, known = time.monotonic(), dict(self._known)
        if self.rank or len(known) < self.world_size:
            own = f"{self.name(self.rank)} stands at {known[self.rank][0]}" if self.rank in known else "the training begins"
            silent = [] if self.rank else [self.name(rank) for rank in range(self.world_size) if rank not in known]
            return own + (f"; not heard of: {', '.join(silent)}" if silent else "")
        least = min(place for place, _ in known.values())
        behind = [rank for rank, (place, _) in sorted(known.items()) if place == least]
        if len(behind) == self.world_size:
            return f"all ranks stand at {least}" if self.world_size > 1 else f"the training stands at {least}"
        since = now - max(known[rank][1] for rank in behind)
        who = ", ".join(map(self.name, behind))
        return f"{who} {'are' if len(behind) > 1 else 'is'} behind, at {least} (since {since:.0f} s)"
