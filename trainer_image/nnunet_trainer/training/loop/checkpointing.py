"""When a checkpoint is due, and what becomes of one that cannot be written: training goes on while an older one is whole."""

from __future__ import annotations

import math
import time
from types import TracebackType

from nnunet_trainer.checkpoints import checkpoint, files
from nnunet_trainer.contract.faults import Stopped, StorageFault

from ..reporting.reporter import Reporter
from ..session.session import Session
from ..session.step_phases import CHECKPOINT
from ..state import saving
from ..state.checkpoint_writer import CheckpointWriter
from . import stopping

PATIENCE_SECONDS = 60.0
"""So long the training waits for a slow disk where another moment would not do: the best epoch is this one and no other."""

SLOW_SECONDS = 30.0
"""A disk that takes longer for a checkpoint, while the next one is due, is worth a warning."""
LOOK_SECONDS = 1.0
CLOSING_SECONDS = 300.0
"""So long whoever leaves for another reason than SIGTERM waits for what is being written."""


class Checkpointing:
    """The checkpoints of one training; the first rank writes them, the others only learn when one is due.

    Use it as a context manager: what was handed over is written at the end, however that comes about.
    """

    def __init__(self, session: Session, reporter: Reporter) -> None:
        setup = session.setup
        self.session, self.reporter = session, reporter
        self.policy = setup.checkpoint
        self._saved = time.monotonic()
        self._owed = False
        """One was due while another was being written."""
        self._whole: int | None = None
        """The epoch of the newest one that is whole."""
        self._best_epoch = 0
        self._best_missed: int | None = None
        self._told: str | None = None
        self._writer: CheckpointWriter | None = None
        if session.ranks.first:
            files.remove_unfinished(setup.fold_folder)
            keeps = self.policy.keep > 1
            self._writer = CheckpointWriter(
                setup.fold_folder, session.ranks.device, keep_previous=keeps, written=setup.on_checkpoint
            )
            session.ranks.peers.before_abort(self._writer.close)
        if setup.before_abort is not None:
            session.ranks.peers.before_abort(setup.before_abort)

    def __enter__(self) -> Checkpointing:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            left = stopping.seconds_left(self.session.setup.stop)
            self._writer.close(CLOSING_SECONDS if left is None else left)
            if self.session.setup.on_checkpoint is None and left is None:  # by hand: nnU-Net may go on in this folder
                self._separate()

    def _separate(self) -> None:
        folder = self.session.setup.fold_folder
        try:
            files.separate(checkpoint.candidates(folder))
        except StorageFault as fault:
            self.reporter.line(f"Warning: checkpoints of {folder} share a file, which nnU-Net would write into: {fault.message}")

    def begun(self, resumed_from: int | None) -> None:
        """The training begins, from a whole checkpoint of this epoch or from none."""
        self._whole = resumed_from

    def after_iteration(self, *, may_save: bool = True) -> tuple[bool, bool]:
        """Whether to stop now, and whether to `save` now; every rank asks after every iteration, and gets the same answer.

        Args:
            may_save: whether a checkpoint by the clock may be written here.
        """
        due = False
        if self._writer is not None:
            late = self._owed or time.monotonic() - self._saved > 60 * self.policy.every_minutes
            due = late and may_save and self._free()
            self.look()
        return stopping.requested(self.session.setup.stop, due)

    def save(self, *, patient: bool = False) -> None:
        """A checkpoint to go on from.

        Args:
            patient: wait for a slow disk; else, while the last one is still being written, it is due as soon as that is done.
        """
        self._save(latest=True, patient=patient)

    def epoch_done(self, *, better: bool, last: bool) -> None:
        """Those that are due after an epoch; the best one of the last epoch is the final one's file."""
        latest = not last and self.session.epoch % self.policy.every_epochs == 0
        if not last and (latest or better):
            self._save(latest=latest, best=better, patient=better)

    def _save(self, *, latest: bool, best: bool = False, patient: bool = False) -> None:
        writer = self._writer
        if writer is None:
            return
        if not self._wait(PATIENCE_SECONDS if patient else 0, until_stopped=True):
            self._owed = latest or self._owed
            if best:
                self._best_missed = self.session.epoch
            self.look()
            return
        self.look()
        self.session.enter(CHECKPOINT)
        names = ([checkpoint.LATEST] if latest else []) + ([checkpoint.BEST] if best else [])
        writer.write(saving.content(self.session), names)
        self.session.phases.enter(None)
        self._saved, self._owed = time.monotonic(), False
        if best:
            self._best_missed = None
            self._best_epoch = self.session.epoch

    def stop(self) -> str:
        """The last one before leaving; returns what became of it."""
        writer = self._writer
        if writer is None:
            return "the first rank saves a checkpoint"
        written = self._wait()
        if written:
            writer.write(saving.content(self.session), [checkpoint.LATEST])
            written = self._wait()
        if written and writer.fault is None:
            self.look()
            return "a checkpoint is saved"
        why = writer.fault.message.rstrip(".") if written and writer.fault else "the disk is too slow for the time that is left"
        whole = self._whole if writer.last is None else writer.last.epoch
        older = "there is none" if whole is None else f"the newest one is of epoch {whole}"
        return f"its checkpoint could not be written, {older}: {why}"

    def final(self, *, better: bool) -> None:
        """The one with the trained weights, which must be there.

        Raises:
            StorageFault: the disk is full or cannot be written.
            Stopped: SIGTERM came, and the disk is too slow for its grace.
        """
        writer = self._writer
        if writer is None:
            return
        written = self._wait()
        if written:
            writer.write(saving.content(self.session), [checkpoint.FINAL, *([checkpoint.BEST] if better else [])])
            written = self._wait()
        if not written:
            raise Stopped(
                "Stopped", "The training is done, but the disk is too slow for its final checkpoint in the time that is left."
            )
        self.look()
        if writer.fault is not None:
            raise writer.fault
        for name in (checkpoint.LATEST, checkpoint.PREVIOUS):
            checkpoint.remove(self.session.setup.fold_folder / name)

    def _free(self) -> bool:
        return self._writer is not None and self._writer.busy_seconds is None

    def _wait(self, seconds: float = math.inf, *, until_stopped: bool = False) -> bool:
        """Wait until the writer is free: at most so long, and no longer than SIGTERM's grace. Returns whether it is."""
        assert self._writer is not None
        until, stop = time.monotonic() + seconds, self.session.setup.stop
        while not self._writer.wait(max(0.0, min(LOOK_SECONDS, until - time.monotonic()))):
            left = stopping.seconds_left(stop)
            if time.monotonic() >= until or (until_stopped and stop.is_set()) or (left is not None and left <= 0):
                return False
        return True

    def look(self) -> None:
        """Tell what became of those that were handed over.

        Raises:
            StorageFault: none could be written, and there is no older one.
        """
        writer = self._writer
        if writer is None:
            return
        writer.check()
        if writer.last is not None:
            self._whole = writer.last.epoch
            self.reporter.saved(writer.last.epoch, writer.last.sha256)
            self.session.ranks.peers.saved(writer.last.epoch, writer.last.iteration)
        # While the next one is being written, the fault is still that of the one before.
        if self._free() and writer.fault is not None and checkpoint.BEST in writer.fault_names:
            self._best_missed = self._best_epoch
        problem = self._problem(writer)
        self.reporter.checkpoint_problem = problem
        kind = None if problem is None else problem.partition(":")[0]
        if kind != self._told:
            self.reporter.line("Checkpoints are written again." if problem is None else f"Warning: {problem}")
            self._told = kind
        if writer.fault is not None and self._whole is None:
            raise writer.fault

    def _problem(self, writer: CheckpointWriter) -> str | None:
        """What people should know, the same words as long as it lasts before the colon."""
        if writer.fault is not None:
            return f"The newest checkpoint is not on this machine's disk: {writer.fault.message} {writer.fault.hint}".rstrip()
        if self._best_missed is not None:
            return f"{checkpoint.BEST} is of an older epoch: that of epoch {self._best_missed} could not be written."
        busy = writer.busy_seconds
        if self._owed and busy is not None and busy >= SLOW_SECONDS:
            return f"The disk is slow, so the next checkpoint waits: the last one has been written for {busy:.0f} s."
        return None
