"""What a training holds while it is in progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_trainer import architecture
from nnunet_trainer.architecture.blocks import normalize_by
from nnunet_trainer.contract import keys
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.extensions.schema import Choice
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing.storage import PreprocessedFolder

from ..components import over_time
from ..components.schedules import Schedule
from ..data.augmentation.augmenter import Augmenter
from ..data.loading.loader import BatchLoader
from ..data.sampling import PatchSampler
from ..pretrained import LoadReport
from ..ranks.distributed import Ranks
from ..ranks.gradients import GradientExchange
from ..recipes.recipe import Recipe
from .early_stopping import exhausted
from .history import History
from .network.memory_layout import MemoryLayout
from .optimization import optimizers, parameter_groups
from .optimization.criterion import Criterion, JointLoss, criterion
from .optimization.precision import Precision
from .setup import TrainingSetup
from .step_phases import PHASES, StepPhases


@dataclass(kw_only=True)
class Session:
    """A training in progress on one rank.

    `epoch` counts finished epochs, `iteration` the finished iterations of the next one.
    """

    setup: TrainingSetup
    ranks: Ranks
    plans: Plans
    """With the recipe's changes: what is written into the results."""
    configuration: Configuration
    labels: LabelManager
    store: PreprocessedFolder
    training_cases: list[str]
    validation_cases: list[str]
    network: nn.Module
    """Without the wrapper of torch.compile."""
    runner: Callable[[Tensor], Any]
    """The network as it is called."""
    criterion: Criterion
    joint_loss: JointLoss | None
    """Network and loss as one compiled graph; None: each for itself."""
    draws: bool
    """Whether the network draws random numbers."""
    optimizer: torch.optim.Optimizer
    rate_factors: list[float]
    base_rate: float
    schedule: Schedule
    precision: Precision
    exchange: GradientExchange
    augmenter: Augmenter
    validation_augmenter: Augmenter
    sampler: PatchSampler
    validation_sampler: PatchSampler
    loader: BatchLoader
    workers: int
    phases: StepPhases
    layout: MemoryLayout = field(default_factory=MemoryLayout)
    """Of the network and of patches."""
    history: History = field(default_factory=History)
    epoch: int = 0
    iteration: int = 0
    losses: list[float] = field(default_factory=list)
    """Of the iterations that all ranks have brought together in this epoch; NaN where the step was skipped."""
    loss_shares: list[float] = field(default_factory=list)
    """Of this rank, since then."""
    best_ema: float | None = None
    resumed_from: int | None = None
    pretrained: LoadReport | None = None
    continued: str | None = None
    """What was gone on from, and what the learning rate did there."""
    warnings: list[str] = field(default_factory=list)

    @property
    def recipe(self) -> Recipe:
        """Of the trainer."""
        return self.setup.recipe

    @property
    def mirror_axes(self) -> tuple[int, ...] | None:
        """Axes that prediction may mirror; None for none."""
        return tuple(self.augmenter.geometry.mirror_axes) or None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train."""
        early, lists = self.recipe.early_stopping, self.history.lists
        full, dice = self.recipe.full_evaluation, self.history.last("mean_fg_dice")
        before = self.setup.begins_with  # what ended that training does not end this one
        if self.epoch <= before:
            return self.epoch >= self.recipe.epochs
        if full is not None and full.target_dice is not None and dice is not None and dice >= full.target_dice:
            return True
        return self.epoch >= self.recipe.epochs or (
            early is not None
            and exhausted(
                early,
                {key: values[before:] for key, values in lists.items()},
                self.base_rate * self.schedule(self.epoch, lists),
            )
        )

    def lay_out(self, layout: MemoryLayout) -> None:
        """Bring the network, and what the optimizer knows of it, into this order in memory."""
        self.layout = layout
        self.network.to(memory_format=layout.format(self.configuration.dimensions))  # type: ignore[call-overload]
        normalize_by(self.network, layout.normalized_by)
        optimizers.align(self.optimizer)

    def enter(self, phase: str) -> None:
        """A phase of a step begins, one of `step_phases.PHASES`."""
        self.phases.enter(phase)
        self.ranks.peers.at(self.epoch, self.iteration, phase, PHASES.index(phase))

    def leave_steps(self, doing: str) -> None:
        """What follows is none of a step, and may take any time."""
        self.phases.enter(None)
        self.ranks.peers.at(self.epoch, self.iteration, doing)

    def learning_rate(self, epoch: int) -> float:
        """Of the optimizer's first group in an epoch, by what was logged before it."""
        return self.base_rate * self.rate_factors[0] * self.schedule(epoch, self.history.lists)

    def begin_anew(self) -> bool:
        """Give the network new initial weights if the recipe wants that after this epoch; whether it did."""
        rescue, weights = self.recipe.new_start, self.recipe.initialization
        if rescue is None or self.epoch != rescue.epoch or self.history.last("mean_fg_dice") != 0:
            return False
        # The same weights on every rank, other ones than the first.
        torch.manual_seed(int(keys.digest("new start", self.setup.seed, self.setup.fold)[:15], 16))
        with torch.no_grad():
            architecture.begin(self.network, negative_slope=weights.negative_slope, zero_residuals=weights.zero_residuals)
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] = rescue.momentum
        return True

    def set_over_time(self) -> None:
        """Give the loss and the optimizer what the recipe says of their parameters in this epoch."""
        recipe, (first, epochs) = self.recipe, self.setup.scheduled
        fraction = (self.epoch - first) / epochs
        for name, value in over_time.at(recipe.over_time, "optimizer", fraction).items():
            for group in self.optimizer.param_groups:
                group[name] = value
        if changes := over_time.at(recipe.over_time, "loss", fraction):
            loss = Choice(name=recipe.loss.name, parameters=recipe.loss.parameters | changes)
            self.criterion = criterion(self.configuration, replace(recipe, loss=loss), self.labels, self.ranks)

    def freeze(self) -> None:
        """Let those parameters train that the recipe lets train in this epoch."""
        freezing = self.recipe.freezing
        frozen: list[str] = []
        if freezing.until_epoch is None or self.epoch < freezing.until_epoch:
            frozen = parameter_groups.matching(self.network, freezing.patterns, "freezing.patterns")
        # An output of weight 0 gives its head no gradient, and no weight decay either.
        heads = getattr(self.network, "heads", ())
        if len(heads) <= 1:
            unused = []
        elif self.recipe.deep_supervision:
            unused = [] if self.recipe.coarsest_output else list(heads[:1])
        else:
            unused = list(heads[:-1])
        parameter_groups.freeze(self.network, frozen, unused)
