"""The life of a training: prepare, resume, epochs, final checkpoint, validation."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass

import torch

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import Stopped

from ..ranks import distributed
from ..ranks.distributed import Ranks
from ..reporting.epoch_statistics import EpochStatistics, StatisticsCollector
from ..reporting.reporter import Reporter
from ..session.preparation import prepare
from ..session.session import Session
from ..session.setup import TrainingResult, TrainingSetup
from ..session.step_phases import AGREEMENT, PHASES
from ..state import resuming
from ..state.model_files import write_model_files
from . import input_checks, iteration, network_checks
from .batches import batches
from .beginning import begin
from .checkpointing import Checkpointing
from .determinism import NondeterministicKernels
from .loss_accumulator import LossAccumulator
from .resources import limited
from .validation import full_evaluation, pseudo_dice
from .validation.final_validation import validate

LOOK_EVERY = 25
"""Iterations between two looks at the loss on a GPU: each look waits for it."""


@dataclass(slots=True)
class _Monitors:
    """What looks at the iterations."""

    losses: LossAccumulator
    watch: StatisticsCollector
    kernels: NondeterministicKernels


def train(setup: TrainingSetup) -> TrainingResult:
    """Train one fold, from its newest checkpoint on if there is one; every rank calls this.

    Raises:
        BadConfiguration, BadData: plans, recipe, data, checkpoint or pretrained weights do not fit.
        GpuOutOfMemory: the network and its batch do not fit.
        Stopped: `setup.stop` was set; a checkpoint is saved.
    """
    with distributed.ranks(setup.device, setup.stop) as ranks, limited(setup, ranks) as kernels:
        return _train(setup, ranks, kernels)


def _train(setup: TrainingSetup, ranks: Ranks, kernels: NondeterministicKernels) -> TrainingResult:
    began = time.monotonic()
    input_checks.check_plans(setup)
    session = prepare(setup, ranks)
    input_checks.check_data(session)
    noticed = network_checks.check_network(session)
    resuming.refuse_overwriting(session)
    write_model_files(session)
    distributed.barrier()
    reporter = Reporter(session)
    session.loader.warn = reporter.warn
    for warning in noticed:
        reporter.warn(warning)
    with session.loader, Checkpointing(session, reporter) as checkpointing, reporter:
        begin(session, reporter)
        checkpointing.begun(session.resumed_from)
        monitors = _Monitors(LossAccumulator(session), StatisticsCollector(session), kernels)
        found, better = session.done, False
        while not session.done:
            better = one_epoch(session, reporter, checkpointing, monitors)
        session.loader.close()  # predicting whole images needs its memory
        return finish(session, reporter, checkpointing, began=began, found=found, better=better)


def one_epoch(session: Session, reporter: Reporter, checkpointing: Checkpointing, monitors: _Monitors) -> bool:
    """From the learning rate to the checkpoints; returns whether it is the best epoch so far."""
    started = time.time()
    learning_rate = start_epoch(session)
    train_loss, statistics = train_epoch(session, reporter, checkpointing, monitors)
    for kernel in monitors.kernels.news():
        reporter.warn(kernel)
    val_loss, dice = validate_epoch(session, reporter, checkpointing)
    if session.recipe.full_evaluation is not None:
        dice = evaluate_whole_images(session, reporter, checkpointing)
    session.history.add(
        train_loss=train_loss,
        val_loss=val_loss,
        dice=dice,
        learning_rate=learning_rate,
        started=started,
        ended=time.time(),
    )
    return finish_epoch(session, reporter, checkpointing, statistics)


def start_epoch(session: Session) -> float:
    """Set the learning rate and what trains; returns the rate of the first group."""
    factor = session.schedule(session.epoch, session.history.lists)
    for group, own in zip(session.optimizer.param_groups, session.rate_factors, strict=True):
        group["lr"] = session.base_rate * own * factor
    session.set_over_time()
    session.network.train()
    session.freeze()
    return session.optimizer.param_groups[0]["lr"]


def train_epoch(
    session: Session, reporter: Reporter, checkpointing: Checkpointing, monitors: _Monitors
) -> tuple[float, EpochStatistics]:
    """The iterations that are left of this epoch; returns the mean loss of all of them, and what else they showed."""
    iterations, losses, watch = session.recipe.iterations_per_epoch, monitors.losses, monitors.watch
    look_every = LOOK_EVERY if session.ranks.device.type == "cuda" else 1
    losses.skipped = 0
    watch.begin()
    for data, targets in batches(session, session.sampler, session.augmenter, iterations, session.iteration, watch.waits):
        losses.add(iteration.train_step(session, data, targets))
        watch.step(targets)
        session.iteration += 1
        if session.iteration % look_every == 0:
            losses.look()
            watch.look()
            reporter.progress("training")
        session.enter(AGREEMENT)
        session.ranks.peers.check()
        stops, due = checkpointing.after_iteration(may_save=session.iteration < iterations)
        if stops or due:
            losses.gather()
        if stops:
            stop(session, reporter, checkpointing)
        if due:
            checkpointing.save()
    losses.gather()
    statistics = watch.end(losses.skipped)
    session.leave_steps("the end of an epoch")
    return losses.mean(), statistics


def validate_epoch(session: Session, reporter: Reporter, checkpointing: Checkpointing) -> tuple[float, list[float]]:
    """Mean loss over validation patches, and the pseudo-Dice of each foreground class; NaN where the recipe wants none of them."""
    iterations = session.recipe.validation_iterations
    if iterations == 0:
        return math.nan, full_evaluation.none(session)
    session.network.eval()
    losses, found = [], []
    for data, targets in batches(session, session.validation_sampler, session.validation_augmenter, iterations):
        session.ranks.peers.at(session.epoch, session.iteration, "validating patches", len(PHASES))
        session.ranks.peers.check()
        loss, counts = iteration.validation_step(session, data, targets)
        losses.append(loss)
        found.append(counts)
        reporter.progress("validating patches")
        stops, due = checkpointing.after_iteration()
        # Whoever goes on from here trains no iteration again, and validates all.
        if stops:
            stop(session, reporter, checkpointing)
        if due:
            checkpointing.save()
    counted = torch.stack(found).sum(0)
    numbers = distributed.total([torch.stack(losses).sum().item(), *counted.flatten().tolist()])
    session.leave_steps("the end of an epoch")
    columns = torch.tensor(numbers[1:], dtype=torch.float64).view(3, -1).T.tolist()
    return numbers[0] / iterations, [pseudo_dice.dice(*column) for column in columns]


def evaluate_whole_images(session: Session, reporter: Reporter, checkpointing: Checkpointing) -> list[float]:
    """The Dice of each foreground class over whole images, where the recipe wants it after this epoch; else NaN."""
    if not full_evaluation.due(session):
        return full_evaluation.none(session)
    session.loader.close()
    # It takes long: what is trained is saved first, so that whoever is stopped meanwhile begins with it again.
    checkpointing.save(patient=True)
    session.leave_steps("the full evaluation")
    return full_evaluation.evaluate(session, reporter)


def finish_epoch(session: Session, reporter: Reporter, checkpointing: Checkpointing, statistics: EpochStatistics) -> bool:
    """Count the epoch, write the checkpoints that are due, tell of it; returns whether it is the best one so far."""
    session.epoch, session.iteration = session.epoch + 1, 0
    session.losses.clear()
    ema = session.history.last("ema_fg_dice")
    # None of the epochs so far may have said anything: then the first one that does is better.
    better = session.best_ema is None or ema > session.best_ema or (math.isnan(session.best_ema) and not math.isnan(ema))
    if better:
        session.best_ema = ema
    reporter.epoch_done(statistics)
    if session.begin_anew():
        reporter.warn(f"No foreground was found in {session.epoch} epochs: the weights begin anew (recipe.newStart).")
    if better:
        reporter.line(f"New best EMA pseudo Dice: {ema:.4f}")
    checkpointing.epoch_done(better=better, last=session.done)
    return better


def stop(session: Session, reporter: Reporter, checkpointing: Checkpointing) -> None:
    """Save and leave.

    Raises:
        Stopped: always.
    """
    session.ranks.peers.stopping()
    where = f"epoch {session.epoch}, iteration {session.iteration}"
    saved = checkpointing.stop()
    with suppress(RuntimeError):  # another rank that is gone
        saved = distributed.from_first(saved)
    reporter.line(f"Stopped at {where}; {saved}.")
    raise Stopped(
        "Stopped",
        f"The training was stopped at {where}; {saved}.",
        hint="Start it again, by hand with --continue, to go on from there.",
    )


def finish(
    session: Session, reporter: Reporter, checkpointing: Checkpointing, *, began: float, found: bool, better: bool
) -> TrainingResult:
    """The final checkpoint, the validation, the result."""
    folder, history = session.setup.fold_folder, session.history
    session.leave_steps("the end of the training")
    final = folder / checkpoint.FINAL
    kept = distributed.from_first(found and final.exists())
    if not kept:
        with session.ranks.peers.saving():  # the others wait for the first rank's disk
            checkpointing.final(better=better)
            distributed.barrier()
    reporter.line("Training done.")
    validation = validate(session, reporter, keep_existing=kept) if session.setup.validates else None
    best = folder / checkpoint.BEST
    return TrainingResult(
        folder=folder,
        checkpoint=final,
        checkpoint_sha256=distributed.from_first(checkpoint.sha256(final) if session.ranks.first else ""),
        best=best if best.exists() else None,
        epochs=session.epoch,
        train_loss=history.last("train_losses"),
        val_loss=history.last("val_losses"),
        ema_pseudo_dice=history.last("ema_fg_dice"),
        resumed_from_epoch=session.resumed_from,
        pretrained=session.pretrained,
        continued=session.continued,
        found=found,
        validation=validation,
        seconds=time.monotonic() - began,
    )
