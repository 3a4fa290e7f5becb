"""The life of a training: prepare, resume, epochs, final checkpoint, validation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from nnunet_trainer.contract.faults import GpuOutOfMemory, Stopped
from nnunet_trainer.dataset.description import read_json

from . import checkpoint, distributed, parameters, pretrained, saving, scores, steps, stopping
from .distributed import Ranks
from .reporting import Reporter, write_model_files
from .session import Session, available_cores, prepare
from .setup import TrainingResult, TrainingSetup

LOOK_EVERY = 25
"""Iterations between two looks at the loss on a GPU: each look waits for it."""


@dataclass(slots=True)
class _Clock:
    started: float
    saved: float


def train(setup: TrainingSetup) -> TrainingResult:
    """Train one fold, from its newest checkpoint on if there is one; every rank calls this.

    Raises:
        BadConfiguration, BadData: plans, recipe, data, checkpoint or pretrained weights do not fit.
        GpuOutOfMemory: the network and its batch do not fit.
        Stopped: `setup.stop` was set; a checkpoint is saved.
    """
    with distributed.ranks(setup.device) as ranks, _limits(setup, ranks):
        return _train(setup, ranks)


def _train(setup: TrainingSetup, ranks: Ranks) -> TrainingResult:
    clock = _Clock(time.monotonic(), time.monotonic())
    session = prepare(setup, ranks)
    saving.refuse_overwriting(session)
    write_model_files(session)
    distributed.barrier()
    reporter = Reporter(session)
    begin(session, reporter)
    found = session.epoch >= session.recipe.epochs
    while session.epoch < session.recipe.epochs:
        started = time.time()
        learning_rate = start_epoch(session)
        train_loss = train_epoch(session, reporter, clock)
        val_loss, dice = validate_epoch(session, reporter)
        session.history.add(
            train_loss=train_loss,
            val_loss=val_loss,
            dice=dice,
            learning_rate=learning_rate,
            started=started,
            ended=time.time(),
        )
        finish_epoch(session, reporter, clock)
    return finish(session, reporter, clock, found)


def begin(session: Session, reporter: Reporter) -> None:
    """Go on from the newest whole checkpoint, or load pretrained weights, or begin with initial ones."""
    setup = session.setup
    paths = [*(checkpoint.candidates(setup.fold_folder) if setup.resume else ()), *setup.resume_from]
    # One rank chooses for all: on another node a file may be missing, or a newer one have come.
    chosen = checkpoint.newest(paths, allow_pickle=setup.allow_pickle) if session.ranks.first else None
    newest, problems = distributed.from_first(chosen)
    for problem in problems:
        reporter.warn(problem)
    if newest is not None:
        saving.restore(session, newest)
        reporter.line(f"Continuing from {newest.path.name}: epoch {session.epoch}, iteration {session.iteration}.")
    elif setup.pretrained is not None:
        session.pretrained = pretrained.load(
            session.network,
            setup.pretrained,
            policies=setup.pretrained_policies,
            labels=session.labels,
            architecture=session.configuration.architecture,
            allow_pickle=setup.allow_pickle,
            source=setup.pretrained_source,
        )
        for line in session.pretrained.lines():
            reporter.line(line)
    session.freeze()
    for doubt in parameters.doubts(session.recipe):
        reporter.warn(doubt)
    reporter.progress("training", force=True)


def start_epoch(session: Session) -> float:
    """Set the learning rate and what trains; returns the rate of the first group."""
    factor = session.schedule(session.epoch, session.history.lists)
    for group, own in zip(session.optimizer.param_groups, session.rate_factors, strict=True):
        group["lr"] = session.base_rate * own * factor
    session.network.train()
    session.freeze()
    return session.optimizer.param_groups[0]["lr"]


def train_epoch(session: Session, reporter: Reporter, clock: _Clock) -> float:
    """The iterations that are left of this epoch; returns the mean loss of all of them."""
    iterations = session.recipe.iterations_per_epoch
    waiting: list[torch.Tensor] = []
    data, cases = torch.empty(0), list[str]()
    look_every = LOOK_EVERY if session.ranks.device.type == "cuda" else 1

    def look() -> None:
        if waiting:
            share = torch.stack(waiting).sum().item()
            waiting.clear()
            steps.check_finite(session, share, data, cases)
            session.loss_sum += share

    for data, targets, cases in steps.batches(session, session.sampler, session.augmenter, iterations, session.iteration):  # noqa: B007
        waiting.append(steps.train_step(session, data, targets))
        session.iteration += 1
        if session.iteration % look_every == 0:
            look()
            reporter.progress("training")
        late = time.monotonic() - clock.saved > 60 * session.setup.checkpoint.every_minutes
        stops, due = stopping.requested(session.setup.stop, late and session.ranks.first and session.iteration < iterations)
        if stops or due:
            look()
            # The first rank writes the checkpoint, so it takes over what the others have.
            all_ranks = distributed.total([session.loss_sum])[0]
            session.loss_sum = all_ranks if session.ranks.first else 0.0
        if stops:
            stop(session, reporter)
        if due:
            save(session, reporter, clock, checkpoint.LATEST)
    look()
    return distributed.total([session.loss_sum])[0] / iterations


def validate_epoch(session: Session, reporter: Reporter) -> tuple[float, list[float]]:
    """Mean loss over validation patches, and the pseudo-Dice of each foreground class."""
    session.network.eval()
    iterations = session.recipe.validation_iterations
    losses, found = [], []
    for data, targets, _ in steps.batches(session, session.validation_sampler, session.validation_augmenter, iterations):
        loss, counts = steps.validation_step(session, data, targets)
        losses.append(loss)
        found.append(counts)
        reporter.progress("validating patches")
    counted = torch.stack(found).sum(0)
    numbers = distributed.total([torch.stack(losses).sum().item(), *counted.flatten().tolist()])
    columns = torch.tensor(numbers[1:], dtype=torch.float64).view(3, -1).T.tolist()
    return numbers[0] / iterations, [scores.dice(*column) for column in columns]


def finish_epoch(session: Session, reporter: Reporter, clock: _Clock) -> None:
    """Count the epoch, write the checkpoints that are due, tell of it."""
    session.epoch, session.iteration, session.loss_sum = session.epoch + 1, 0, 0.0
    last = session.epoch >= session.recipe.epochs
    ema = session.history.last("ema_fg_dice")
    better = session.best_ema is None or ema > session.best_ema
    if better:
        session.best_ema = ema
    reporter.epoch_done()
    if better:
        reporter.line(f"New best EMA pseudo Dice: {ema:.4f}")
        saving.save(session, checkpoint.BEST)
    if not last and session.epoch % session.setup.checkpoint.every_epochs == 0:
        save(session, reporter, clock, checkpoint.LATEST)


def save(session: Session, reporter: Reporter, clock: _Clock, name: str) -> None:
    """Write a checkpoint to go on from."""
    written = saving.save(session, name)
    clock.saved = time.monotonic()
    if written is not None:
        reporter.saved(session.epoch, written[1])


def stop(session: Session, reporter: Reporter) -> None:
    """Save and leave.

    Raises:
        Stopped: always.
    """
    saving.save(session, checkpoint.LATEST)
    where = f"epoch {session.epoch}, iteration {session.iteration}"
    reporter.line(f"Stopped at {where}; a checkpoint is saved.")
    raise Stopped(
        "Stopped", f"The training was stopped at {where}; a checkpoint is saved.", hint="Start it again to go on from there."
    )


def finish(session: Session, reporter: Reporter, clock: _Clock, found: bool) -> TrainingResult:
    """The final checkpoint, the validation, the result."""
    folder, history = session.setup.fold_folder, session.history
    final = folder / checkpoint.FINAL
    kept = distributed.from_first(found and final.exists())
    if session.ranks.first and not kept:
        saving.save(session, checkpoint.FINAL)
        for name in (checkpoint.LATEST, checkpoint.PREVIOUS):
            checkpoint.remove(folder / name)
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
        found=found,
        validation=validation,
        seconds=time.monotonic() - clock.started,
    )


def validate(session: Session, reporter: Reporter, *, keep_existing: bool) -> dict[str, Any] | None:
    """Predict the validation cases, compare them with the ground truth; the summary, on the first rank.

    Args:
        session: trained.
        reporter: tells how far it is.
        keep_existing: the final checkpoint was there before, so predictions that are there are its own.
    """
    from nnunet_trainer.inference.validation import validate as predict_and_compare

    setup, ranks = session.setup, session.ranks
    out = setup.fold_folder / "validation"
    if keep_existing and (out / "summary.json").is_file():
        distributed.barrier()
        return read_json(out / "summary.json") if ranks.first else None

    def tell(done: int, total: int) -> None:
        reporter.progress("validating", done, total, force=True)
        if setup.stop.is_set():
            raise Stopped("Stopped", f"The validation was stopped after {done} of {total} cases; they are kept.")

    def look() -> None:
        if setup.stop.is_set():
            raise Stopped("Stopped", "The validation was stopped in the middle of a case; those that are done are kept.")

    if ranks.device.type == "cuda":
        # What training has reserved would count as taken when the sums of a large image look for room.
        session.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()

    result = predict_and_compare(
        session.network,
        plans=session.plans,
        configuration=setup.configuration,
        dataset_json=setup.dataset_json,
        store=session.store,
        cases=session.validation_cases,
        ground_truth=setup.preprocessed / "gt_segmentations",
        out=out,
        mirror_axes=session.mirror_axes or (),
        device=ranks.device,
        rank=ranks.rank,
        world_size=ranks.world_size,
        barrier=distributed.barrier,
        progress=tell,
        check=look,
        workers=session.workers,
        keep_existing=keep_existing,
    )
    if result is not None:
        reporter.line(f"Mean Validation Dice: {result['foreground_mean']['Dice']}")
    return result


@contextmanager
def _limits(setup: TrainingSetup, ranks: Ranks) -> Iterator[None]:
    """Threads, kernels and memory of this process while it trains."""
    if ranks.device.type == "cpu":
        torch.set_num_threads(max(1, min(torch.get_num_threads(), available_cores() // ranks.world_size)))
    torch.backends.cudnn.benchmark = not setup.deterministic
    if setup.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(setup, ranks) from error
    finally:
        if setup.deterministic:
            torch.use_deterministic_algorithms(False)


def _out_of_memory(setup: TrainingSetup, ranks: Ranks) -> GpuOutOfMemory:
    from nnunet_trainer.planning.plans import Plans

    configuration = Plans(setup.plans).configuration(setup.configuration)
    gib = torch.cuda.get_device_properties(ranks.device).total_memory / 2**30
    patch = "×".join(map(str, configuration.patch_size))
    smaller = max(1, int(gib) - 2)
    return GpuOutOfMemory(
        "OutOfGPUMemory",
        f"Fold {setup.fold} needs more than the {gib:.1f} GiB of this GPU at patch {patch}, batch {configuration.batch_size} "
        f"({configuration.batch_size / ranks.world_size:.3g} a GPU).",
        hint=f"Plan for less (spec.planner.gpuMemoryGB: {smaller}), or ask for a larger GPU (spec.template.nodeSelector).",
    )
