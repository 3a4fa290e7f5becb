"""All that a training holds, built from its setup."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_trainer import architecture
from nnunet_trainer.contract import keys
from nnunet_trainer.dataset import splits
from nnunet_trainer.dataset.description import channel_names, read_json
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing.storage import PreprocessedFolder

from ..components import over_time, registries, schedules
from ..components.losses import deep_supervision
from ..components.losses.v2 import LossContext
from ..components.optimizers import parameter_groups
from ..data import cascade
from ..data.augmentation import Augmenter, augmentation_set, validation_augmenter
from ..data.sampling import PatchSampler, rank_slots
from ..ranks import distributed
from ..ranks.distributed import Ranks
from ..recipes import network_changes
from ..recipes.reading import Choice
from ..recipes.recipe import Recipe
from ..state.history import History
from ..state.pretrained import LoadReport
from .precision import Precision
from .setup import TrainingSetup

log = logging.getLogger(__name__)

Criterion = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


@dataclass(kw_only=True)
class Session:
    """A training in progress on one rank.

    `epoch` counts finished epochs, `iteration` the finished iterations of the next one, whose losses sum up to `loss_sum`.
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
    optimizer: torch.optim.Optimizer
    rate_factors: list[float]
    base_rate: float
    schedule: schedules.Schedule
    precision: Precision
    augmenter: Augmenter
    validation_augmenter: Augmenter
    sampler: PatchSampler
    validation_sampler: PatchSampler
    workers: int
    history: History = field(default_factory=History)
    epoch: int = 0
    iteration: int = 0
    loss_sum: float = 0.0
    best_ema: float | None = None
    resumed_from: int | None = None
    pretrained: LoadReport | None = None
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
        if full is not None and full.target_dice is not None and dice is not None and dice >= full.target_dice:
            return True
        return self.epoch >= self.recipe.epochs or (
            early is not None
            and self.epoch > 0
            and schedules.exhausted(early, lists, self.base_rate * self.schedule(self.epoch, lists))
        )

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
        recipe, fraction = self.recipe, self.epoch / self.recipe.epochs
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
        heads = getattr(getattr(self.network, "decoder", None), "seg_layers", None)
        if heads is None or len(heads) == 1:
            unused = []
        elif self.recipe.deep_supervision:
            unused = [] if self.recipe.coarsest_output else list(heads[:1])
        else:
            unused = list(heads[:-1])
        parameter_groups.freeze(self.network, frozen, unused)


def changed_plans(plans: dict[str, Any], configuration: str, recipe: Recipe) -> Plans:
    """Plans with the recipe's changes of one configuration, so that whoever reads the results builds the same network."""
    result = Plans(plans)
    found = result.configuration(configuration)
    recipe = recipe.for_patch(found.patch_size)
    changes: dict[str, Any] = {"architecture": network_changes.changed(found.architecture, recipe.network, found.patch_size)}
    if recipe.batch_size is not None:
        changes["batch_size"] = recipe.batch_size
    if recipe.batch_dice is not None:
        changes["batch_dice"] = recipe.batch_dice
    own = result.content["configurations"][configuration]
    own.update({key: value for key, value in changes.items() if found.content.get(key) != value})
    return result


def prepare(setup: TrainingSetup, ranks: Ranks) -> Session:
    """Build everything; weights are initial ones, no file is written.

    Raises:
        BadConfiguration: plans, recipe or fold do not fit.
        BadData: the preprocessed data are missing or lack cases.
    """
    plans = changed_plans(setup.plans, setup.configuration, setup.recipe)
    configuration = plans.configuration(setup.configuration)
    setup = replace(setup, recipe=setup.recipe.for_patch(configuration.patch_size))
    recipe = setup.recipe
    labels = LabelManager(setup.dataset_json)
    store = cascade.open_store(setup, configuration)
    training, validation = fold_cases(setup, store)
    cascade.check(setup, plans, configuration, store, [*training, *validation])
    torch.manual_seed(int(keys.digest("initial weights", setup.seed, setup.fold)[:15], 16))
    net = architecture.build(
        configuration.architecture,
        configuration.num_input_channels(setup.dataset_json),
        labels.num_segmentation_heads,
        bool(recipe.deep_supervision),
        negative_slope=recipe.initialization.negative_slope,
        zero_residuals=recipe.initialization.zero_residuals,
    ).to(ranks.device, memory_format=channels_last(configuration))
    if ranks.world_size > 1 and ranks.device.type == "cuda":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    distributed.broadcast(net.state_dict(keep_vars=False).values())
    groups, factors = parameter_groups.groups(net, recipe.learning_rate_factors, recipe.layer_decay)
    optimizer_component = registries.find("optimizer", recipe.optimizer.name)
    base_rate = recipe.optimizer.parameters.get("learning_rate", optimizer_component.parameters["learning_rate"].default)
    # Plans of another dataset may say something of channels that this one lacks.
    masks = configuration.use_mask_for_norm[: len(channel_names(setup.dataset_json))]
    augmenter, plain = _augmenters(configuration, recipe, labels, masks)
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
    return Session(
        setup=setup,
        ranks=ranks,
        plans=plans,
        configuration=configuration,
        labels=labels,
        store=store,
        training_cases=training,
        validation_cases=validation,
        network=net,
        runner=torch.compile(net) if _compiles(recipe, ranks.device) else net,
        criterion=criterion(configuration, recipe, labels, ranks),
        optimizer=optimizer_component.make(groups, **recipe.optimizer.parameters),
        rate_factors=factors,
        base_rate=base_rate,
        schedule=schedules.with_warm_up(
            lambda epochs: registries.find("schedule", recipe.schedule.name).make(epochs, **recipe.schedule.parameters),
            recipe.epochs,
            recipe.warm_up_epochs,
        ),
        precision=Precision(recipe.precision, ranks.device),
        augmenter=augmenter,
        validation_augmenter=plain,
        sampler=PatchSampler(store, training, initial_patch_size=augmenter.initial_patch_size, **shared),
        validation_sampler=PatchSampler(store, validation, purpose="val", **shared),
        workers=default_workers(ranks) if setup.workers is None else setup.workers,
    )


def fold_cases(setup: TrainingSetup, store: PreprocessedFolder) -> tuple[list[str], list[str]]:
    """The training and validation cases of the fold, by splits_final.json where there is one."""
    path = setup.preprocessed / "splits_final.json"
    cases = store.cases
    found = read_json(path) if path.is_file() else splits.make_splits(cases)
    return splits.fold(found, setup.fold, cases)


def output_scales(configuration: Configuration, recipe: Recipe) -> list[list[float]] | None:
    """Per output of the network its size as a fraction of the patch; None without deep supervision."""
    if not recipe.deep_supervision:
        return None
    return deep_supervision.scales(configuration.architecture["arch_kwargs"]["strides"], configuration.dimensions)


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
    loss = registries.find("loss", recipe.loss.name).make(context, **recipe.loss.parameters)
    factors = deep_supervision.weights(1 if scales is None else len(scales), coarsest=recipe.coarsest_output)
    return deep_supervision.supervised(loss, factors)


def _augmenters(
    configuration: Configuration, recipe: Recipe, labels: LabelManager, masks: Sequence[bool]
) -> tuple[Augmenter, Augmenter]:
    shared: dict[str, Any] = {
        "deep_supervision_scales": None if recipe.deep_supervision == "soft" else output_scales(configuration, recipe),
        "regions": labels.foreground_regions if labels.has_regions else None,
        "ignore_label": labels.ignore_label,
        "previous_stage_labels": labels.foreground_labels if configuration.previous_stage else (),
    }
    patch = tuple(configuration.patch_size)
    chosen = cascade.changed(augmentation_set(recipe.augmentation), recipe)
    augmenter = Augmenter(config=chosen, patch_size=patch, mask_channels=masks, **shared)
    return augmenter, validation_augmenter(patch, **shared)


def channels_last(configuration: Configuration) -> torch.memory_format:
    """How patches and weights lie in memory: a step on a CPU takes two thirds of the time so, and GPUs' tensor cores want it."""
    return torch.channels_last if configuration.dimensions == 2 else torch.channels_last_3d


def _compiles(recipe: Recipe, device: torch.device) -> bool:
    if device.type != "cuda" or recipe.compile is False:
        return False
    # triton builds its launcher with a C compiler when it is first used.
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None and recipe.compile is None:
        log.warning("torch.compile is off: there is no C compiler (gcc or clang) on PATH.")
    return recipe.compile is True or compiler is not None


def default_workers(ranks: Ranks) -> int:
    """Threads that prepare batches: on a GPU they only read, on a CPU they also augment, beside the network."""
    return max(1, min(8, ranks.cores - 1)) if ranks.device.type == "cuda" else 1
