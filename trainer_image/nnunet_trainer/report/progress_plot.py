"""progress.png: losses and pseudo Dice, seconds per epoch, learning rate, as nnU-Net draws them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_trainer.contract.keys import PROGRESS_PLOT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Logging = Mapping[str, Sequence[float]]

SERIES = ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "epoch_start_timestamps", "epoch_end_timestamps", "lrs")


def progress_figure(logging: Logging) -> Figure:
    """The figure. Epochs that are not complete in every series are left out.

    Args:
        logging: one number per epoch under each of `SERIES`: a checkpoint's `logging`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = min(len(logging[name]) for name in SERIES)
    shown = {name: list(logging[name][:epochs]) for name in SERIES}
    seconds = [end - start for start, end in zip(shown["epoch_start_timestamps"], shown["epoch_end_timestamps"], strict=True)]
    # No pyplot: its global figures are neither thread-safe nor freed.
    figure = Figure(figsize=(15, 27), layout="constrained")
    FigureCanvasAgg(figure)
    losses, durations, rates = figure.subplots(3, 1)
    x = range(epochs)
    dice = losses.twinx()
    losses.plot(x, shown["train_losses"], color="b", label="loss_tr", linewidth=2)
    losses.plot(x, shown["val_losses"], color="r", label="loss_val", linewidth=2)
    dice.plot(x, shown["mean_fg_dice"], color="g", linestyle="dotted", label="pseudo dice", linewidth=1.5)
    dice.plot(x, shown["ema_fg_dice"], color="g", label="pseudo dice (mov. avg.)", linewidth=2)
    losses.set(xlabel="epoch", ylabel="loss")
    dice.set_ylabel("pseudo dice")
    losses.legend(loc="lower left", bbox_to_anchor=(0, 1))
    dice.legend(loc="lower left", bbox_to_anchor=(0.2, 1))
    durations.plot(x, seconds, color="b", label="epoch duration", linewidth=2)
    durations.set(xlabel="epoch", ylabel="time [s]")
    durations.set_ylim(bottom=0)
    rates.plot(x, shown["lrs"], color="b", label="learning rate", linewidth=2)
    rates.set(xlabel="epoch", ylabel="learning rate")
    for axes in (losses, durations, rates):
        axes.grid(visible=True, alpha=0.3)
    for axes in (durations, rates):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def draw(logging: Logging, folder: Path) -> Path:
    """Write `progress.png` into a fold's folder, at once or not at all; returns its path."""
    target = Path(folder) / PROGRESS_PLOT
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    progress_figure(logging).savefig(beside, format="png", dpi=60)
    os.replace(beside, target)
    return target


def progress_plot(logging: Logging, folder: Path) -> Path:
    """`draw` by a process of its own: in a thread matplotlib would keep the interpreter from a training's steps for a second.

    Raises:
        OSError: the plot could not be drawn; the message says why.
    """
    from nnunet_trainer.dataset.parallel import THREADS

    command = [sys.executable, "-P", "-m", __name__, str(folder)]
    numbers = json.dumps({name: logging[name] for name in SERIES})
    one_thread = {**os.environ, **dict.fromkeys(THREADS, "1"), "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, input=numbers, capture_output=True, text=True, check=False, env=one_thread)
    target = Path(folder) / PROGRESS_PLOT
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"its process ended with {run.returncode}"]
        raise OSError(f"{target} could not be drawn: {said[-1]}")
    return target


if __name__ == "__main__":
    draw(json.load(sys.stdin), Path(sys.argv[1]))
