"""A session, built from its setup."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from nnunet_trainer import architecture
from nnunet_trainer.architecture.memory_format import channels_last_format
from nnunet_trainer.contract import keys
from nnunet_trainer.dataset import splits
from nnunet_trainer.dataset.description import channel_names, read_json
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.extensions import provenance
from nnunet_trainer.planning import network_changes
from nnunet_trainer.planning.plans import Configuration, Plans, plugins
from nnunet_trainer.preprocessing.storage import PreprocessedFolder

from ..components import lookup, making, schedules
from ..data.augmentation import AugmentationConfig, augmentation_set
from ..data.augmentation.augmenter import Augmenter, validation_augmenter
from ..ranks import batch_norm, distributed
from ..ranks.agreement import require_same
from ..ranks.distributed import Ranks
from ..ranks.gradients import GradientExchange
from ..recipes import recipe as recipes
from ..recipes.recipe import Recipe
from . import previous_stage
from .batch_loading import batch_loader
from .network.random_layers import draws_random_numbers
from .optimization import optimizers, parameter_groups
from .optimization.criterion import criterion, joint, may_join, output_scales
from .optimization.precision import Precision
from .session import Session
from .setup import TrainingSetup
from .step_phases import StepPhases

log = logging.getLogger(__name__)


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


def _given(
    setup: TrainingSetup, plans: Plans, store: PreprocessedFolder, training: Sequence[str], validation: Sequence[str]
) -> dict[str, str]:
    """What every rank must have been given alike, as digests."""
    sizes = {path.name: path.stat().st_size for path in store.folder.iterdir() if path.suffix in (".b2nd", ".npz")}
    given = {
        "plans": plans.content,
        "dataset.json": setup.dataset_json,
        "recipe": recipes.write(setup.recipe),
        "configuration, fold and seed": [setup.configuration, setup.fold, setup.seed],
        "splits (splits_final.json)": [list(training), list(validation)],
        "preprocessed cases": sizes,
    }
    used = provenance.records([*recipes.used(setup.recipe), *plugins.used(plans.content)])
    given |= {f"plug-in {name}": digest for name, digest in provenance.digests(used).items()}
    return {name: keys.digest(name, json.dumps(value, sort_keys=True, default=str)) for name, value in given.items()}


def prepare(setup: TrainingSetup, ranks: Ranks) -> Session:
    """Build everything; weights are initial ones, no file is written.

    Raises:
        BadConfiguration: plans, recipe or fold do not fit.
        BadData: the preprocessed data are missing or lack cases.
    """
    plugins.require(setup.plans, plugins.FOR_NETWORKS)
    plans = changed_plans(setup.plans, setup.configuration, setup.recipe)
    configuration = plans.configuration(setup.configuration)
    setup = replace(setup, recipe=setup.recipe.for_patch(configuration.patch_size))
    recipe = setup.recipe
    labels = LabelManager(setup.dataset_json)
    store = previous_stage.open_store(setup, configuration)
    training, validation = fold_cases(setup, store)
    require_same(lambda: _given(setup, plans, store, training, validation))
    previous_stage.check(setup, plans, configuration, store, [*training, *validation])
    torch.manual_seed(int(keys.digest("initial weights", setup.seed, setup.fold)[:15], 16))
    net = architecture.build(
        configuration.architecture,
        configuration.num_input_channels(setup.dataset_json),
        labels.num_segmentation_heads,
        bool(recipe.deep_supervision),
        negative_slope=recipe.initialization.negative_slope,
        zero_residuals=recipe.initialization.zero_residuals,
    ).to(ranks.device, memory_format=channels_last_format(configuration.dimensions))
    if distributed.active():
        net = batch_norm.over_ranks(net, ranks.device)
    distributed.broadcast(net.state_dict(keep_vars=False).values())
    groups, factors = parameter_groups.groups(net, recipe.learning_rate_factors, recipe.layer_decay)
    rate = lookup.find("optimizer", recipe.optimizer.name).parameters["learning_rate"]
    # Plans of another dataset may say something of channels that this one lacks.
    masks = configuration.use_mask_for_norm[: len(channel_names(setup.dataset_json))]
    augmenter, plain = _augmenters(configuration, recipe, labels, masks)
    loader = batch_loader(setup, ranks, configuration, labels, store, training, validation, augmenter, plain)
    compiles, loss = _compiles(recipe, ranks.device), criterion(configuration, recipe, labels, ranks)
    optimizer = making.make("optimizer", recipe.optimizer, groups)
    optimizers.fuse(optimizer, ranks.device)
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
        runner=torch.compile(net) if compiles else net,
        criterion=loss,
        joint_loss=torch.compile(joint(net, loss)) if compiles and may_join(recipe) else None,
        draws=draws_random_numbers(net),
        optimizer=optimizer,
        rate_factors=factors,
        base_rate=recipe.optimizer.parameters.get("learning_rate", rate.default),
        schedule=_schedule(setup),
        precision=Precision(recipe.precision, ranks.device),
        exchange=GradientExchange(net.parameters()),
        augmenter=augmenter,
        validation_augmenter=plain,
        sampler=loader.maker.samplers["train"],
        validation_sampler=loader.maker.samplers["val"],
        loader=loader,
        workers=loader.workers,
        phases=StepPhases(ranks.device),
    )


def _schedule(setup: TrainingSetup) -> schedules.Schedule:
    recipe, (first, epochs) = setup.recipe, setup.scheduled
    whole = schedules.with_warm_up(lambda count: making.make("schedule", recipe.schedule, count), epochs, recipe.warm_up_epochs)
    return schedules.beginning_at(first, whole)


def fold_cases(setup: TrainingSetup, store: PreprocessedFolder) -> tuple[list[str], list[str]]:
    """The training and validation cases of the fold, by splits_final.json where there is one."""
    path = setup.preprocessed / "splits_final.json"
    cases = store.cases
    found = read_json(path) if path.is_file() else splits.make_splits(cases)
    return splits.fold(found, setup.fold, cases)


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
    chosen = with_previous_stage_changes(augmentation_set(recipe.augmentation), recipe)
    augmenter = Augmenter(config=chosen, patch_size=patch, mask_channels=masks, **shared)
    return augmenter, validation_augmenter(patch, **shared)


def _compiles(recipe: Recipe, device: torch.device) -> bool:
    if device.type != "cuda" or recipe.compile is False:
        return False
    lacking = _lacking_for_launchers()
    if lacking and recipe.compile is None:
        log.warning("torch.compile is off: %s.", lacking)
    return recipe.compile is True or not lacking


def _lacking_for_launchers() -> str | None:
    """What Triton lacks to build the launchers of its kernels, as it does when they are first used; None: nothing."""
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "there is no C compiler (gcc or clang) on PATH"
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    return None if header.is_file() else f"there is no {header} (Debian: python3-dev)"


def with_previous_stage_changes(augmentation: AugmentationConfig, recipe: Recipe) -> AugmentationConfig:
    """A set with what the recipe changes about the previous stage's segmentation; one that leaves it as it is stays so."""
    changes = {name: value for name, value in asdict(recipe.previous_stage).items() if value is not None}
    if augmentation.previous_stage is None or not changes:
        return augmentation
    return replace(augmentation, previous_stage=replace(augmentation.previous_stage, **changes))
