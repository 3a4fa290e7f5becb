"""Where the prediction of an image stands, in lines for people."""

from __future__ import annotations

import time
from collections.abc import Callable

from nnunet_trainer.contract.command_line import duration

from .sliding_window import TilesHook

CaseTilesHook = Callable[[str, int, int], None]
"""A `TilesHook` that is called with the case, too."""
EVERY_SECONDS = 60.0


class TileProgress:
    """A line a minute; an image that takes less time is not spoken of.

    Args:
        say: takes a line.
        clock: seconds, whose differences count.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._case: str | None = None
        self._begun = self._said = 0.0

    def __call__(self, case: str, done: int, total: int) -> None:
        """Take how many tiles of a case are predicted, in ascending order."""
        now = self._clock()
        if case != self._case:
            self._case, self._begun, self._said = case, now, now
        if not 0 < done < total or now - self._said < EVERY_SECONDS:
            return
        self._said = now
        left = duration((now - self._begun) / done * (total - done))
        self._say(f"{case}: {done:,} of {total:,} tiles, about {left} left")


def summed(hook: TilesHook | None, networks: int) -> list[TilesHook | None]:
    """One hook a network, that together tell of the tiles of all; whether the networks take turns or follow each other."""
    if hook is None or networks == 1:
        return [hook] * networks
    tiles = [0] * networks

    def of(network: int) -> TilesHook:
        def tell(done: int, total: int) -> None:
            tiles[network] = done
            hook(sum(tiles), networks * total)

        return tell

    return [of(network) for network in range(networks)]
