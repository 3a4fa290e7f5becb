"""What `nnunet-trainer train` prints: on a terminal a bar below the log, elsewhere one JSON line an epoch, the log on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from nnunet_trainer.contract.command_line import duration
from nnunet_trainer.contract.progress import EPOCH_PHASES, Progress
from nnunet_trainer.report.progress_log import ProgressLog


@dataclass(frozen=True, slots=True)
class Display:
    """Where a training tells how far it is: `TrainingSetup`'s hooks of the same names."""

    listener: Callable[[Progress], None]
    log: Callable[[str], None]
    on_step: Callable[[int, int], None] | None = None


@contextmanager
def display(out: TextIO | None = None, errors: TextIO | None = None) -> Iterator[Display]:
    """As long as the block runs."""
    out, errors = out or sys.stdout, errors or sys.stderr
    if out.isatty():
        with _bar(out) as shown:
            yield shown
    else:
        yield Display(ProgressLog(out), lambda line: print(line, file=errors, flush=True))


@contextmanager
def _bar(out: TextIO) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[about]}"))
    with Bars(*columns, console=Console(file=out), transient=True) as bars:
        task = bars.add_task("starting", total=None, about="")

        def listener(progress: Progress) -> None:
            within = progress.phase in EPOCH_PHASES and progress.epoch is not None
            name = f"epoch {progress.epoch}/{progress.epochs}" if within else f"{progress.phase} {progress.done}/{progress.total}"
            bars.update(task, description=name, completed=progress.done, total=progress.total or None, about=about(progress))

        def on_step(done: int, total: int) -> None:
            whole = int(bars.tasks[0].completed)
            bars.update(task, completed=min(whole + done / total, whole + 0.999))

        yield Display(listener, lambda line: bars.console.print(line, markup=False, highlight=False, soft_wrap=True), on_step)


def about(progress: Progress) -> str:
    """The numbers beside the bar."""
    parts = [
        f"loss {progress.train_loss:.3f}" if progress.train_loss is not None else "",
        f"Dice {progress.ema_pseudo_dice:.3f}" if progress.ema_pseudo_dice is not None else "",
        f"{duration(progress.eta_seconds)} left" if progress.eta_seconds is not None else "",
    ]
    return ", ".join(part for part in parts if part)
