"""The recipe's loss over all outputs of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.architectures import class_name, output_strides
from nnunet_trainer.planning.plans import Configuration

from ...components import making
from ...components.losses import deep_supervision
from ...components.losses.context import LossContext
from ...data.batch import rank_slots
from ...ranks.distributed import Ranks, active
from ...recipes.recipe import Recipe

Criterion = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
JointLoss = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""From patches and targets to the loss."""


def outputs(result: Any) -> list[Tensor]:
    """A network's outputs, with deep supervision or without."""
    return list(result) if isinstance(result, list | tuple) else [result]


def joint(network: nn.Module, loss: Criterion) -> JointLoss:
    """The network and the loss of its outputs."""

    def of_batch(data: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return loss(outputs(network(data)), targets)

    return of_batch


def may_join(recipe: Recipe) -> bool:
    """Whether network and loss may be one graph: one that changes over the epochs, waits for other ranks, or is a plug-in's, whose
    answers are looked at, would break it."""
    changes = any(name.startswith("loss.") for name in recipe.over_time)
    return not (active() or changes or making.of_plugin("loss", recipe.loss.name))


def output_scales(configuration: Configuration, recipe: Recipe) -> list[list[float]] | None:
    """Per output of the network its size as a fraction of the patch; None without deep supervision.

    Raises:
        BadConfiguration: the network has one output.
    """
    if not recipe.deep_supervision:
        return None
    strides = output_strides(configuration.architecture)
    if strides is None:
        name = class_name(configuration.architecture)
        raise BadConfiguration(
            "InvalidRecipe",
            f"recipe.deepSupervision: {name} has one output: its arch_kwargs have no strides, and no architecture says otherwise.",
            hint="Set it to off.",
        )
    return deep_supervision.scales([*strides, 1], configuration.dimensions)


def criterion(configuration: Configuration, recipe: Recipe, labels: LabelManager, ranks: Ranks) -> Criterion:
    """The loss over all outputs."""
    scales = output_scales(configuration, recipe)
    slots = rank_slots(configuration.batch_size, ranks.rank, ranks.world_size)
    context = LossContext(
        regions=labels.has_regions,
        ignore_label=labels.ignore_label,
        batch_dice=configuration.batch_dice,
        share=len(slots) / configuration.batch_size,
    )
    loss = making.make("loss", recipe.loss, context)
    factors = deep_supervision.weights(1 if scales is None else len(scales), coarsest=recipe.coarsest_output)
    return deep_supervision.supervised(loss, factors)
