"""Who reads the batches of a training, and with how much memory."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Configuration
from nnunet_trainer.preprocessing.storage import PreprocessedFolder

from ..data.augmentation.augmenter import Augmenter
from ..data.case_memory import CaseMemory
from ..data.loading.batch_maker import BatchMaker, Schedule
from ..data.loading.budget import MemoryBudget
from ..data.loading.loader import BatchLoader
from ..data.sampling import PatchSampler
from ..ranks.distributed import Ranks
from .batch_preparation import preparation
from .setup import TrainingSetup

log = logging.getLogger(__name__)


def batch_loader(
    setup: TrainingSetup,
    ranks: Ranks,
    configuration: Configuration,
    labels: LabelManager,
    store: PreprocessedFolder,
    training: Sequence[str],
    validation: Sequence[str],
    augmenter: Augmenter,
    plain: Augmenter,
) -> BatchLoader:
    """The loader of one rank: with a GPU processes that read, on a CPU a thread that also augments, unless the setup says how many.

    Args:
        setup: of the training, its recipe for this patch.
        ranks: of this process.
        configuration: of the plans.
        labels: of the dataset.
        store: the preprocessed cases.
        training: names of the fold's.
        validation: likewise.
        augmenter: of training patches.
        plain: of validation patches.
    """
    recipe = setup.recipe
    shared: dict[str, Any] = {
        "patch_size": configuration.patch_size,
        "batch_size": configuration.batch_size,
        "seed": setup.seed,
        "fold": setup.fold,
        "all_labels": labels.all_labels,
        "has_ignore": labels.has_ignore_label,
        "foreground_fraction": recipe.sampling.oversample_foreground,
        "probabilistic": recipe.sampling.probabilistic,
        "rank": ranks.rank,
        "world_size": ranks.world_size,
    }
    budget, highest = MemoryBudget.of(ranks.local_world_size), max([*labels.all_labels, labels.ignore_label or 0])
    shared["memory"] = memory = CaseMemory([*training, *validation], budget.most, allowed=budget.allowed(0), highest_label=highest)
    placements = {"initial_patch_size": augmenter.initial_patch_size, "placements": augmenter.placements}
    sampler = PatchSampler(store, training, **placements, **shared)
    validation_sampler = PatchSampler(store, validation, purpose="val", **shared)
    workers = default_workers(ranks) if setup.workers is None else setup.workers
    on_gpu = ranks.device.type == "cuda"
    changed = {
        each.purpose: preparation(changes, configuration, recipe, labels, ranks.device)
        for each, changes in ((sampler, augmenter), (validation_sampler, plain))
    }
    maker = BatchMaker(
        samplers={each.purpose: each for each in (sampler, validation_sampler)},
        planners={purpose: each.augmenter.planner(ranks.device.type) for purpose, each in changed.items()},
        highest_label=highest,
        preparations=None if on_gpu else changed,
    )
    return BatchLoader(
        maker=maker,
        schedule=Schedule(recipe.epochs, recipe.iterations_per_epoch, recipe.validation_iterations),
        memory=memory,
        budget=budget,
        workers=workers,
        # A thread that reads keeps the one that feeds a GPU from running; a step on a CPU takes long, and a thread starts at once.
        processes=on_gpu or setup.workers is not None,
        # Augmented on the CPU there are targets at several scales; what does not fit is handed over all the same, but slower.
        slot_bytes=lambda: sampler.batch_bytes() * (1 if on_gpu else 2),
        fence=copies_done if on_gpu else lambda: None,
        pin=page_locked if on_gpu else None,
    )


def default_workers(ranks: Ranks) -> int:
    """For a GPU, processes that read; on a CPU one thread, which also augments beside the network."""
    return max(1, min(8, ranks.cores - 1)) if ranks.device.type == "cuda" else 1


def page_locked(memory: Any) -> Callable[[], None]:
    """Lock memory (a numpy array), so that copies to a GPU overlap with its work; gives what undoes that."""
    address, runtime = memory.__array_interface__["data"][0], torch.cuda.cudart()
    if error := int(runtime.cudaHostRegister(address, memory.nbytes, 0)):
        log.warning("The memory of batches could not be page-locked (CUDA error %d): copies to the GPU take longer.", error)
        with contextlib.suppress(RuntimeError):  # CUDA keeps the error, and torch raises it of whatever kernel comes next
            torch.zeros(1, device="cuda")
        return lambda: None

    def undo() -> None:
        with contextlib.suppress(RuntimeError):  # of a GPU that has failed already
            torch.cuda.synchronize()
        runtime.cudaHostUnregister(address)

    return undo


def copies_done() -> torch.cuda.Event:
    """Says whether what was asked of the GPU so far is done."""
    event = torch.cuda.Event()
    event.record()
    return event
