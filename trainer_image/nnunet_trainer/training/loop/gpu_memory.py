"""What is said when a GPU's memory is not enough, and what would fit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from nnunet_trainer.contract.faults import GpuOutOfMemory
from nnunet_trainer.planning.gpu_memory import CALIBRATION, estimate_gb
from nnunet_trainer.planning.plans import Configuration, Plans

from ..ranks.distributed import Ranks
from ..session.preparation import changed_plans
from ..session.setup import TrainingSetup

ROOM = 0.9
"""Share of the memory that advice fills: the estimate is a rule of three."""
OTHERS = 2**30
"""Bytes that others must hold of a GPU before it is said."""


def out_of_memory(setup: TrainingSetup, ranks: Ranks, said: str = "") -> GpuOutOfMemory:
    """What did not fit, and what would.

    Args:
        setup: of the training.
        ranks: that share its batch.
        said: torch's message.
    """
    plans = changed_plans(setup.plans, setup.configuration, setup.recipe)
    configuration = plans.configuration(setup.configuration)
    gpu = torch.cuda.get_device_properties(ranks.device).total_memory
    estimate = configuration.estimated_gpu_memory_gb
    share = math.ceil(configuration.batch_size / ranks.world_size)
    tensor = ", ".join(map(str, (share, configuration.num_input_channels(setup.dataset_json), *configuration.patch_size)))
    asked = re.search(r"Tried to allocate ([\d.]+ [KMG]iB)", said)
    held = _held_by_others(ranks.device)
    message = [
        f"Fold {setup.fold} needs more than the {gpu / 2**30:.1f} GiB of this GPU at patch {_sizes(configuration.patch_size)}, "
        f"batch {configuration.batch_size} ({configuration.batch_size / ranks.world_size:.3g} a GPU): the network's input is "
        f"({tensor}), float32, and each convolution of it leaves feature maps."
    ]
    if estimate is not None:
        message.append(f"The planner's estimate is {estimate * share / configuration.batch_size:.3g} GB a GPU.")
    if asked:
        message.append(f"The last tensor asked for {asked[1]}.")
    if held > OTHERS:
        message.append(f"Other processes hold {held / 2**30:.1f} GiB of this GPU.")
    smaller = max(1, int(gpu / 2**30) - 2)
    hint = [f"Plan for less (spec.planner.gpuMemoryGB: {smaller}), or ask for a larger GPU (spec.template.nodeSelector)."]
    if fitting := what_fits(plans, setup.configuration, gpu / 1e9, ranks.world_size):
        hint.append(f"By the estimate {fitting} would fit.")
    if setup.recipe.precision == "fp32":
        hint.append("recipe.precision: auto takes about half of what fp32 does.")
    return GpuOutOfMemory("OutOfGPUMemory", " ".join(message), hint=" ".join(hint))


def what_fits(plans: Plans, name: str, gpu_gb: float, world_size: int = 1) -> str | None:
    """The largest batch, or at the smallest batch the largest patch, whose estimate leaves room on a GPU; None: nothing smaller.

    What was tried did not fit, so the estimate of what is proposed is below its own as well, whatever the GPU has.

    Args:
        plans: of the training.
        name: of its configuration.
        gpu_gb: the GPU's memory, 10^9 bytes.
        world_size: GPUs that share the batch.
    """
    tried = plans.configuration(name)

    def needed(patch: Sequence[int], batch: int) -> float | None:
        """Gigabytes on the GPU that has most of the batch."""
        share = math.ceil(batch / world_size)
        planner, calibration = str(plans.content.get("experiment_planner_used")), plans.content.get(CALIBRATION)
        return estimate_gb(patch, share, tried.architecture, planner, calibration)

    at_first = needed(tried.patch_size, tried.batch_size)
    if at_first is None:
        return None
    room = ROOM * min(gpu_gb, at_first)

    def fits(patch: Sequence[int], batch: int) -> bool:
        gigabytes = needed(patch, batch)
        return gigabytes is not None and gigabytes <= room

    least = max(2, world_size)
    for batch in range(tried.batch_size - 1, least - 1, -1):
        if fits(tried.patch_size, batch):
            return f"batch {batch} at this patch (recipe.batchSize)"
    batch, patch, steps = min(least, tried.batch_size), list(tried.patch_size), _divisors(tried)
    while any(n > step for n, step in zip(patch, steps, strict=True)):
        axis = max((i for i in range(len(patch)) if patch[i] > steps[i]), key=lambda i: patch[i])
        patch[axis] -= steps[axis]
        if fits(patch, batch):
            return f"patch {_sizes(patch)} with batch {batch} (spec.patch of the Plans)"
    return None


def _divisors(configuration: Configuration) -> list[int]:
    """What each axis of a patch must be a multiple of: the product of the strides, or a token; 8 where neither is known."""
    arguments, axes = configuration.architecture["arch_kwargs"], configuration.dimensions
    strides = arguments.get("strides", [arguments.get("patch_embed_size", [8] * axes)])
    return [math.prod(s[axis] if isinstance(s, Sequence) else s for s in strides) for axis in range(axes)]


def _held_by_others(device: torch.device) -> int:
    if not torch.cuda.is_available():
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device)


def _sizes(values: Sequence[int]) -> str:
    return "×".join(map(str, values))
