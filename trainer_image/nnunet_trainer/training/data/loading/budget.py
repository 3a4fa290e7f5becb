"""How much memory decoded cases may take: what the container's limit leaves beside the training itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_trainer.contract.control_groups import groups, memory_limit

from ..case_memory import CACHE_BYTES

FILLED = 0.85
"""Share of the limit that is used at most."""

KEPT = 0.5
"""Share of the limit that decoded cases take at most."""

WORKER_BYTES = 128 * 2**20
"""Of a worker's own."""

STEPS = 3
"""Before so many batches are taken nobody knows what a step takes."""


@dataclass(slots=True)
class MemoryBudget:
    """Of one rank.

    Args:
        limit: bytes of all ranks of this node.
        ranks: of this node.
        beside: bytes of slots and workers.
        counted: whether decoded cases count as this process's own memory, because it reads them itself.
    """

    limit: int
    ranks: int
    beside: int = 0
    counted: bool = False
    taken: int = 0

    @classmethod
    def of(cls, ranks: int) -> MemoryBudget:
        """Of each of some ranks in this container."""
        return cls(memory_limit(), ranks)

    @property
    def most(self) -> int:
        """Bytes that decoded cases may ever take."""
        return max(CACHE_BYTES, int(KEPT * self.limit / self.ranks))

    def allowed(self, used: int) -> int:
        """Bytes that decoded cases may take now.

        Args:
            used: what they take already.
        """
        if self.taken < STEPS:
            return min(CACHE_BYTES, self.most)
        own = _peak() - (used if self.counted else 0)
        left = int(FILLED * self.limit / self.ranks) - own - self.beside
        # Other processes of the container use some too, and others of the machine.
        free = min(int(FILLED * self.limit) - _in_use(), _available() // 2)
        left = min(left, used + free // self.ranks, self.most)
        return max(left, used, min(CACHE_BYTES, self.most))


def _peak() -> int:
    """The most memory that this process had so far."""
    return _kilobytes(Path("/proc/self/status"), "VmHWM:") or 0


def _in_use() -> int:
    """What all processes of this one's control group have now, without what the kernel could give back at once."""
    for group in groups("memory"):
        try:
            fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        # Version 2, then 1.
        return sum(int(fields.get(name, 0)) for name in (("anon", "shmem") if "anon" in fields else ("total_rss", "total_shmem")))
    return 0


def _available() -> int:
    """What the machine could give."""
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable:") or 2**62


def _kilobytes(file: Path, field: str) -> int | None:
    try:
        return next((int(line.split()[1]) * 1024 for line in file.read_text().splitlines() if line.startswith(field)), None)
    except (OSError, ValueError, IndexError):
        return None
