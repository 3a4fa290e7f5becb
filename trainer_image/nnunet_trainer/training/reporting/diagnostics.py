"""Which signs of trouble a training shows: each is said once when it begins, and once when it is over."""

from __future__ import annotations

from .diagnostic_checks import CHECKS, DiagnosticContext, Finding
from .epoch_statistics import EpochStatistics

KEPT_EPOCHS = 100


class Diagnostics:
    """Which signs there are now.

    Args:
        known: what is looked at; its `logging` grows by itself.
    """

    def __init__(self, known: DiagnosticContext) -> None:
        self._known = known
        self._said: dict[str, str] = {}
        self._active: dict[str, Finding] = {}
        known.active = self._active

    @property
    def texts(self) -> list[str]:
        """Of all that is wrong now."""
        return list(self._said.values())

    def look(self, statistics: EpochStatistics) -> tuple[list[str], list[str]]:
        """After each epoch: what has begun, and what is over."""
        self._known.statistics.append(statistics)
        del self._known.statistics[:-KEPT_EPOCHS]
        began, over = [], []
        for name, sign in CHECKS.items():
            found, before = sign(self._known), self._active.get(name)
            if found is not None and before is not None and found.what == before.what:
                continue
            if before is not None:
                del self._active[name]
                over.append(self._said.pop(name))
            if found is not None:
                self._active[name] = found
                self._said[name] = found.text()
                began.append(self._said[name])
        return began, over
