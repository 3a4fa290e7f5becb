"""What a running step answers on `/progress`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .json_text import additions, codec, untrusted_json

MAX_BYTES = 16_384

EPOCH_PHASES = ("training", "validating patches")
"""Values of `phase` that follow each other within an epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a running step is. Losses and Dice are of the last finished epoch; `updated_at` is Unix seconds."""

    step: str
    phase: str = ""  # for people: staging, fingerprinting, training, validating, uploading …
    done: int = 0  # cases, epochs or validation cases, by phase
    total: int = 0
    epoch: int | None = None  # finished epochs
    epochs: int | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    pseudo_dice: float | None = None
    ema_pseudo_dice: float | None = None
    learning_rate: float | None = None
    seconds_per_epoch: float | None = None
    eta_seconds: float | None = None
    resumed_from_epoch: int | None = None
    checkpoint_epoch: int | None = None
    checkpoint_uri: str | None = None
    checkpoint_sha256: str | None = None
    gpu: str | None = None
    updated_at: float | None = None
    warnings: list[str] | None = None
    continued: str | None = additions.added("0.2.0", default=None, skippable=True)  # from which training it goes on, and how
    # Of the last epoch, over all ranks: for people where the time of a step goes, and how fast it is
    speed: str | None = additions.added("0.2.0", default=None, skippable=True)
    patches_per_second: float | None = additions.added("0.2.0", default=None, skippable=True)
    peak_memory_bytes: int | None = additions.added("0.2.0", default=None, skippable=True)


ProgressHook = Callable[[Progress], None]
"""Called with how far a running step is."""


def decode(text: str | bytes) -> Progress | None:
    """A progress answer, its texts printable; None when it is not one: too long, no JSON, not finite, out of any sensible range."""
    try:
        progress = codec.from_plain(Progress, untrusted_json.parse(text, MAX_BYTES))
    except ValueError:
        return None
    numbers = [getattr(progress, name) for name in progress.__slots__]
    if any(isinstance(n, float) and not math.isfinite(n) for n in numbers):
        return None
    told = (progress.epoch, progress.epochs, progress.resumed_from_epoch, progress.checkpoint_epoch)
    counts = (progress.done, progress.total, *(count or 0 for count in told))
    return progress if all(0 <= n < 10**8 for n in counts) else None
