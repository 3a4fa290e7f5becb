"""How long a training still takes, by its pace in this session."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

RECENT_EPOCHS = 10


class RemainingTime:
    """Knows the pace of epochs and of validated cases.

    Args:
        clock: seconds, whose differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epochs: deque[tuple[float, float]] = deque(maxlen=RECENT_EPOCHS)
        self._cases: tuple[float, float] | None = None
        self._validated = 0.0

    def epoch_done(self, seconds: float, share: float) -> None:
        """An epoch ended after so many seconds.

        Args:
            share: of its iterations, which this session ran; less than 1 where it went on in the middle of an epoch.
        """
        if share > 0:
            self._epochs.append((seconds, share))

    @property
    def per_epoch(self) -> float | None:
        """Seconds of a whole epoch; None before one has ended."""
        if not self._epochs:
            return None
        return sum(seconds for seconds, _ in self._epochs) / sum(share for _, share in self._epochs)

    def of_epochs(self, count: float) -> float | None:
        """Seconds that so many epochs take; None when the pace is not known."""
        if count <= 0:
            return 0.0
        return None if self.per_epoch is None else self.per_epoch * count

    def of_cases(self, done: float, total: int) -> float | None:
        """Seconds that the other cases of a validation take; None until a part was validated since it was first asked."""
        now = self._clock()
        if self._cases is None or done < self._validated:  # another validation begins
            self._cases = (now, done)
        self._validated = done
        begun, first = self._cases
        if done >= total:
            return 0.0
        return (now - begun) / (done - first) * (total - done) if done > first else None
