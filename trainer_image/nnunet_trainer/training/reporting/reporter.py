"""What people see of a training: the text log, progress.png, TensorBoard's curves, and progress for the listener."""

from __future__ import annotations

import math
import time
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any

import torch

from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.report.progress_plot import progress_plot
from nnunet_trainer.report.tensorboard import EventFile

from ..session.session import Session
from . import speed
from .background_work import BackgroundWork
from .diagnostic_checks import DiagnosticContext
from .diagnostics import Diagnostics
from .epoch_statistics import EpochStatistics
from .remaining_time import RemainingTime

EVERY_SECONDS = 5.0
PLOT_EVERY_SECONDS = 60.0
MOST_WARNINGS = 10
CLOSING_SECONDS, LEAVING_SECONDS = 300.0, 10.0
"""How long the end of a training waits for plot and curves; and that of one that is stopped or fails."""
VALIDATING = "validating"
"""The phase of predicting whole validation cases, which `done` and `total` count."""


class Reporter:
    """Tells of one session; only the first rank does.

    Use it as a context manager: plot and curves, which a thread writes, are whole at the end, however that comes about.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._heard, self._plotted = 0.0, time.monotonic()
        self._remaining = RemainingTime()
        self._checkpoint: tuple[int, str] | None = None
        self.checkpoint_problem: str | None = None
        """Why the newest one is not on disk, as long as that lasts."""
        self._diagnostics: Diagnostics | None = None
        self._events: EventFile | None = None
        self._work = BackgroundWork()
        self._plots = False
        """Whether the plot is due."""
        self._stall: str | None = None
        self._speed: str | None = None
        self._numbers: dict[str, float] = {}
        now = datetime.now()
        name = f"training_log_{now.year}_{now.month}_{now.day}_{now:%H_%M_%S}.txt"
        self._file = session.setup.fold_folder / name

    def __enter__(self) -> Reporter:
        self.session.ranks.peers.before_abort(self._work.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            whole = self._work.close(CLOSING_SECONDS if error is None else LEAVING_SECONDS)
        except Exception as failed:
            if error is None:
                raise
            self.line(f"Warning: {failed}")  # it has failed with something else already
        else:
            if not whole:
                self.line("Warning: the disk is slow: progress.png and TensorBoard's curves may lack the last epochs.")

    def line(self, text: str) -> None:
        """One line into the log and to whoever listens to it."""
        if not self.session.ranks.first:
            return
        with self._file.open("a") as file:
            file.write(f"{datetime.now()}: {text}\n")
        if self.session.setup.log is not None:
            self.session.setup.log(text)

    def warn(self, text: str) -> None:
        """A line that `/progress` shows too."""
        self.session.warnings.append(text)
        self.line(f"Warning: {text}")

    def stalled(self, text: str | None) -> None:
        """The training stands still; None: it goes on again. Called by another thread, while the main one is stuck."""
        if text is None and self._stall is not None:
            self.line(f"No longer: {self._stall}")
        if text is not None:
            self.line(f"Warning: {text}")
        self._stall = text
        self.progress("training", force=True)

    def saved(self, epoch: int, digest: str) -> None:
        """A checkpoint is on disk."""
        self._checkpoint = (epoch, digest)

    def epoch_done(self, statistics: EpochStatistics) -> None:
        """Lines, plot, curves, signs of trouble and progress of a finished epoch."""
        session, history = self.session, self.session.history
        if not session.ranks.first:
            return
        seconds = history.last("epoch_end_timestamps") - history.last("epoch_start_timestamps")
        whole = session.recipe.iterations_per_epoch * session.configuration.batch_size
        self._remaining.epoch_done(seconds, statistics.patches / whole)
        self.line(f"Epoch {session.epoch - 1}")
        self.line(f"Current learning rate: {history.last('lrs'):.5g}")
        self.line(f"train_loss {history.last('train_losses'):.4f}")
        if session.recipe.validation_iterations:
            self.line(f"val_loss {history.last('val_losses'):.4f}")
        if session.recipe.full_evaluation is None:
            self.line(f"Pseudo dice {[round(d, 4) for d in history.last('dice_per_class_or_region')]}")
        else:
            self._tell_target(history.last("mean_fg_dice"), session.recipe.full_evaluation.target_dice)
        self.line(f"Epoch time: {seconds:.2f} s")
        self.line(f"Waited for data: {statistics.waiting:.0%} of the training")
        self._tell_speed(statistics)
        self._diagnose(statistics)
        self._plots = self._plots or session.done or time.monotonic() - self._plotted > PLOT_EVERY_SECONDS
        self._work.submit(partial(self._write, history.copied()))
        self.progress("training", force=True)

    def _write(self, lists: dict[str, Any]) -> None:
        """Curves, and the plot when it is due; in a thread."""
        folder = self.session.setup.fold_folder
        if self._events is None:
            self._events = EventFile(folder, class_names(self.session))
        self._events.write(lists)
        if self._plots:
            self._plots, self._plotted = False, time.monotonic()
            try:
                progress_plot(lists, folder)
            except OSError as error:
                self.line(f"Warning: {error}")

    def _tell_speed(self, statistics: EpochStatistics) -> None:
        peak = speed.peak_memory(self.session.ranks.device)
        self._speed = speed.line(statistics, peak, self.session.ranks.device)
        self._numbers = {"patches_per_second": round(statistics.patches_per_second, 3), "peak_memory_bytes": peak}
        self.line(f"Speed: {self._speed}")
        for row in speed.table(statistics) if self.session.setup.profile else ():
            self.line(row)

    def _tell_target(self, mean: float, target: float | None) -> None:
        """How near the Dice is at which the training ends."""
        if target is not None and not math.isnan(mean):
            self.line(f"Mean Dice {mean:.4f}, target {target:.4f}{': reached, the training ends' if mean >= target else ''}")

    def _diagnose(self, statistics: EpochStatistics) -> None:
        if self._diagnostics is None:
            self._diagnostics = Diagnostics(_known(self.session))
        began, over = self._diagnostics.look(statistics)
        for text in over:
            self.line(f"No longer: {text}")
        for text in began:
            self.line(f"Warning: {text}")

    @property
    def _warnings(self) -> list[str]:
        passing = [*(self._diagnostics.texts if self._diagnostics else ()), *filter(None, [self.checkpoint_problem, self._stall])]
        return [*self.session.warnings, *passing][-MOST_WARNINGS:]

    def progress(
        self, phase: str, done: int | None = None, total: int | None = None, *, share: float = 0.0, force: bool = False
    ) -> None:
        """Tell the listener, every few seconds or at once.

        Args:
            phase: what is going on.
            done: of the phase; default: epochs.
            total: of the phase; default: epochs.
            share: of the case that is being validated, that is done.
            force: whatever the time.
        """
        session = self.session
        if session.setup.on_step is not None and session.ranks.first:
            session.setup.on_step(session.iteration, session.recipe.iterations_per_epoch)
        if session.setup.listener is None or not session.ranks.first:
            return
        if not force and time.monotonic() - self._heard < EVERY_SECONDS:
            return
        self._heard = time.monotonic()
        history, epochs = session.history, session.recipe.epochs
        left = self._remaining.of_epochs(epochs - session.epoch - session.iteration / session.recipe.iterations_per_epoch)
        if phase == VALIDATING and done is not None and total is not None:
            cases = self._remaining.of_cases(done + share, total)
            left = None if left is None or cases is None else left + cases
        session.setup.listener(
            Progress(
                step="train",
                phase=phase,
                done=session.epoch if done is None else done,
                total=epochs if total is None else total,
                epoch=session.epoch,
                epochs=epochs,
                train_loss=_finite(history.last("train_losses")),
                val_loss=_finite(history.last("val_losses")),
                pseudo_dice=_finite(history.last("mean_fg_dice")),
                ema_pseudo_dice=_finite(history.last("ema_fg_dice")),
                learning_rate=session.optimizer.param_groups[0]["lr"],
                seconds_per_epoch=self._remaining.per_epoch,
                eta_seconds=left,
                resumed_from_epoch=session.resumed_from,
                checkpoint_epoch=self._checkpoint[0] if self._checkpoint else None,
                checkpoint_sha256=self._checkpoint[1] if self._checkpoint else None,
                gpu=torch.cuda.get_device_name(session.ranks.device) if session.ranks.device.type == "cuda" else None,
                updated_at=time.time(),
                warnings=self._warnings or None,
                speed=self._speed,
                continued=session.continued,
                **self._numbers,  # type: ignore[arg-type]
            )
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def class_names(session: Session) -> list[str]:
    """Of the foreground classes, in the order of the pseudo-Dice."""
    names = session.labels.head_names
    return names if session.labels.has_regions else names[-len(session.labels.foreground_labels) :]


def _known(session: Session) -> DiagnosticContext:
    """What signs of trouble are looked for in."""

    def holding(index: int) -> tuple[int, int]:
        wanted = session.labels.foreground_classes[index]
        found = (session.store.open(case).properties["class_locations"] for case in session.training_cases)
        return sum(len(locations.get(wanted, ())) > 0 for locations in found), len(session.training_cases)

    return DiagnosticContext(
        logging=session.history.lists,
        recipe=session.recipe,
        names=class_names(session),
        holding=holding,
        pretrained=session.pretrained is not None,
        on_gpu=session.ranks.device.type == "cuda",
        workers=session.workers,
        cores=session.ranks.cores,
    )
