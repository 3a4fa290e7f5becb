"""What is logged, one value an epoch, under nnU-Net's names and as plain Python numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

KEYS = (
    "mean_fg_dice",
    "ema_fg_dice",
    "dice_per_class_or_region",
    "train_losses",
    "val_losses",
    "lrs",
    "epoch_start_timestamps",
    "epoch_end_timestamps",
)
EMA = 0.9


class History:
    """The lists of finished epochs.

    Args:
        content: a checkpoint's `logging`; numpy scalars become Python's, and what an unfinished epoch logged is dropped.
        epochs: finished ones.
    """

    def __init__(self, content: Mapping[str, Sequence[Any]] | None = None, epochs: int = 0) -> None:
        self.lists: dict[str, list[Any]] = {key: _plain(list((content or {}).get(key, ()))[:epochs]) for key in KEYS}

    def __len__(self) -> int:
        return len(self.lists["train_losses"])

    def copied(self) -> dict[str, list[Any]]:
        """The lists as they are now; what they hold never changes."""
        return {key: list(values) for key, values in self.lists.items()}

    def last(self, key: str) -> Any:
        """The newest value, None before the first epoch."""
        return self.lists[key][-1] if self.lists[key] else None

    def add(
        self, *, train_loss: float, val_loss: float, dice: Sequence[float], learning_rate: float, started: float, ended: float
    ) -> None:
        """One finished epoch.

        Args:
            train_loss: mean over its iterations.
            val_loss: mean over its validation iterations.
            dice: pseudo-Dice of each foreground class; NaN where it neither is nor was predicted.
            learning_rate: of the optimizer's first group.
            started: Unix seconds.
            ended: Unix seconds.
        """
        present = [d for d in dice if not math.isnan(d)]
        mean = sum(present) / len(present) if present else math.nan
        before = self.last("ema_fg_dice")
        ema = mean if before is None or math.isnan(before) else EMA * before + (1 - EMA) * mean
        if math.isnan(mean) and before is not None:
            # An epoch in which no patch shows foreground says nothing; one NaN would stay for ever.
            ema = before
        values = (mean, ema, [float(d) for d in dice], train_loss, val_loss, learning_rate, started, ended)
        for key, value in zip(KEYS, values, strict=True):
            self.lists[key].append(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return float(value)
