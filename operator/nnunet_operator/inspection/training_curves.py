"""A training's curves, read from what it has written: the lines of progress of its pods' logs, nnU-Net's `training_log_….txt`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

EMA = 0.9
"""nnU-Net's moving average of the pseudo-Dice: 0.9 of the one before, 0.1 of the new one."""

_STAMPED = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?: (?P<text>.*)$")
_LINES = {
    "learning_rate": re.compile(r"^Current learning rate: (\S+)$"),
    "train_loss": re.compile(r"^train_loss (\S+)$"),
    "val_loss": re.compile(r"^val_loss (\S+)$"),
    "seconds": re.compile(r"^Epoch time: (\S+) s$"),
    "pseudo_dice": re.compile(r"^Mean Dice ([^\s,]+)"),
}
_EPOCH = re.compile(r"^Epoch (\d+)$")
_PSEUDO_DICE = re.compile(r"^Pseudo dice \[(.*)\]$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """One finished epoch, counted from 0 as nnU-Net does; None for what was not written."""

    train_loss: float | None = None
    val_loss: float | None = None
    pseudo_dice: float | None = None
    ema_pseudo_dice: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None


Curves = Mapping[int, Epoch]
"""Epochs by their number, in their order."""


def of_progress_lines(lines: Iterable[str]) -> dict[int, Epoch]:
    """From a pod's log: the JSON lines that the trainer writes of its progress."""
    found: dict[int, Epoch] = {}
    for line in lines:
        if '"step":"train"' not in line.replace(" ", ""):
            continue
        try:
            said = json.loads(line[line.index("{") :])
        except ValueError:
            continue
        done = said.get("epoch")
        if not isinstance(done, int) or done < 1:
            continue
        values = {
            "train_loss": said.get("trainLoss"),
            "val_loss": said.get("valLoss"),
            "pseudo_dice": said.get("pseudoDice"),
            "ema_pseudo_dice": said.get("emaPseudoDice"),
            "learning_rate": said.get("learningRate"),
            "seconds": said.get("secondsPerEpoch"),
        }
        # What is said of an epoch that was finished before this process began has no numbers.
        if any(_is_number(value) for key, value in values.items() if key.endswith(("loss", "dice"))):
            found[done - 1] = Epoch(**{key: float(value) for key, value in values.items() if _is_number(value)})
    return found


def of_training_log(text: str) -> dict[int, Epoch]:
    """From nnU-Net's text log, or one of ours."""
    found: dict[int, Epoch] = {}
    number: int | None = None
    for line in text.splitlines():
        stamped = _STAMPED.match(line)
        said = (stamped["text"] if stamped else line).strip()
        if epoch := _EPOCH.match(said):
            number = int(epoch[1])
            found[number] = Epoch()
        elif number is not None:
            found[number] = replace(found[number], **_values(said))
    return {number: epoch for number, epoch in found.items() if epoch.train_loss is not None}


def _values(said: str) -> dict[str, float]:
    for name, pattern in _LINES.items():
        if (match := pattern.match(said)) and (value := _number(match[1])) is not None:
            return {name: value}
    if match := _PSEUDO_DICE.match(said):
        # `np.float32(0.81)` is how nnU-Net's own logs have it with NumPy 2.
        numbers = [_number(part) for part in re.sub(r"np\.float\d+\(([^)]*)\)", r"\1", match[1]).split(",")]
        known = [value for value in numbers if value is not None]
        return {"pseudo_dice": sum(known) / len(known)} if known else {}
    return {}


def joined(*curves: Curves) -> dict[int, Epoch]:
    """One curve of several pieces: of an epoch that two have, the later piece counts, where it says anything."""
    found: dict[int, Epoch] = {}
    for piece in curves:
        for number, epoch in piece.items():
            before = found.get(number, Epoch())
            said = {field.name: value for field in fields(Epoch) if (value := getattr(epoch, field.name)) is not None}
            found[number] = replace(before, **said)
    return _with_average(dict(sorted(found.items())))


def _with_average(curves: dict[int, Epoch]) -> dict[int, Epoch]:
    """The moving average of the pseudo-Dice, where the text log leaves it out."""
    average: float | None = None
    for number, epoch in curves.items():
        if epoch.ema_pseudo_dice is not None:
            average = epoch.ema_pseudo_dice
        elif epoch.pseudo_dice is not None:
            average = epoch.pseudo_dice if average is None else EMA * average + (1 - EMA) * epoch.pseudo_dice
            curves[number] = replace(epoch, ema_pseudo_dice=average)
    return curves


def as_logging(curves: Curves) -> dict[str, list[float]]:
    """A checkpoint's `logging`, as nnU-Net names its lists; the times are the epochs' lengths one after another."""
    nan = math.nan
    logging: dict[str, list[float]] = {
        "train_losses": [], "val_losses": [], "mean_fg_dice": [], "ema_fg_dice": [], "lrs": [],
        "epoch_start_timestamps": [], "epoch_end_timestamps": [],
    }  # fmt: skip
    clock = 0.0
    for epoch in curves.values():
        for name, value in (
            ("train_losses", epoch.train_loss),
            ("val_losses", epoch.val_loss),
            ("mean_fg_dice", epoch.pseudo_dice),
            ("ema_fg_dice", epoch.ema_pseudo_dice),
            ("lrs", epoch.learning_rate),
        ):
            logging[name].append(nan if value is None else value)
        logging["epoch_start_timestamps"].append(clock)
        logging["epoch_end_timestamps"].append(clock + (nan if epoch.seconds is None else epoch.seconds))
        clock += epoch.seconds or 0.0
    return logging


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
