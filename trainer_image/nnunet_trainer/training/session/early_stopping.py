"""Whether a training ends before its last epoch."""

from __future__ import annotations

import math

from ..components.schedules import EpochLog
from ..recipes.recipe import EarlyStopping


def exhausted(stopping: EarlyStopping, history: EpochLog, rate: float) -> bool:
    """Whether training ended early, by what was logged: nothing was gained for `patience` epochs, at a rate that is low enough.

    Args:
        stopping: the rule.
        history: of all finished epochs.
        rate: the learning rate of the next epoch.
    """
    losses, rates = history["train_losses"], [*history["lrs"][1:], rate]
    best, best_epoch, average = math.inf, 0, math.nan
    for epoch, (loss, next_rate) in enumerate(zip(losses, rates, strict=False)):
        average = loss if math.isnan(average) else stopping.smoothing * average + (1 - stopping.smoothing) * loss
        if average < best - stopping.threshold:
            best, best_epoch = average, epoch
        if epoch - best_epoch > stopping.patience:
            if next_rate <= stopping.lowest_rate:
                return True
            best_epoch = epoch - stopping.patience // 2
    return False
