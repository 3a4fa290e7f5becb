"""All kinds of components, and where the registry of each is: the one way in for built-in components and plug-ins alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.contract.json_text.codec import camel

from . import signatures
from .registry import Component, Registry

T = TypeVar("T", bound=Callable[..., Any])

PACKAGE = __package__.partition(".")[0] if __package__ else "nnunet_trainer"

KINDS: dict[str, tuple[str, str]] = {
    "extractor": ("fingerprint.extractors", "EXTRACTORS"),
    "planner": ("planning.planner_presets", "PLANNERS"),
    "targetSpacingRule": ("planning.planners.target_spacing", "TARGET_SPACING_RULES"),
    "normalizationRule": ("planning.planners.normalization_rules", "NORMALIZATION_RULES"),
    "initialPatch": ("planning.planners.initial_patch", "INITIAL_PATCHES"),
    "pooling": ("planning.planners.pooling", "POOLINGS"),
    "architecture": ("planning.architectures", "ARCHITECTURES"),
    "convolutionsPerStage": ("planning.planners.network", "CONVOLUTIONS_PER_STAGE"),
    "memoryEstimate": ("planning.planners.memory_estimates", "MEMORY_ESTIMATES"),
    "shrunkAxis": ("planning.planners.patch_and_batch", "SHRUNK_AXES"),
    "patchAndBatch": ("planning.planners.patch_and_batch", "PATCH_AND_BATCH"),
    "lowResolution": ("planning.planners.low_resolution", "LOW_RESOLUTION"),
    "preprocessingStep": ("preprocessing.pipeline", "PREPROCESSING_STEPS"),
    "normalization": ("preprocessing.normalization", "NORMALIZATIONS"),
    "resampling": ("preprocessing.resampling.resampling", "RESAMPLINGS"),
    "reader": ("dataset.readers", "READERS"),
    "network": ("architecture", "NETWORKS"),
    "loss": ("training.components.losses", "LOSSES"),
    "optimizer": ("training.components.optimizers", "OPTIMIZERS"),
    "schedule": ("training.components.schedules", "SCHEDULES"),
    "augmentation": ("training.data.augmentation", "AUGMENTATIONS"),
}
"""By kind: a module of this package, with the built-in components in it, and the name of its registry."""

PLANNER_STEPS = (
    *("targetSpacingRule", "normalizationRule", "initialPatch", "pooling", "architecture", "convolutionsPerStage"),
    *("memoryEstimate", "shrunkAxis", "patchAndBatch", "lowResolution"),
)
"""The kinds that are steps of a planner: each a parameter of the same name."""


def key(kind: str) -> str:
    """A kind as it stands in `KINDS`; "targetSpacingRule", "target_spacing_rule" and "target spacing rule" are one.

    Raises:
        BadConfiguration: there is no such kind.
    """
    found = camel(kind.replace(" ", "_").replace("-", "_"))
    if found not in KINDS:
        raise BadConfiguration("UnknownKind", unknown_name("kind of component", kind, KINDS))
    return found


def registry(kind: str) -> Registry[Callable[..., Any]]:
    """The registry of a kind, with its built-in components in it. They are imported here, when somebody looks: some need torch.

    Raises:
        BadConfiguration: there is no such kind.
    """
    module, name = KINDS[key(kind)]
    found: Registry[Callable[..., Any]] = getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)
    return found


def find(kind: str, name: str) -> Component[Callable[..., Any]]:
    """A component by kind and name.

    Raises:
        BadConfiguration: there is none; the message has the nearest names and the list.
    """
    return registry(kind)[name]


def call_built_in(kind: str, name: str, /, *arguments: Any, **parameters: Any) -> Any:
    """What a built-in component answers: for a plug-in that changes a little of it.

    `call_built_in("targetSpacingRule", "Percentile", dataset)`; of a class the object that it makes.

    Args:
        kind: of the component.
        name: of the component.
        arguments: as the plug-in's own component of this kind is given them.
        parameters: in Python's spelling.

    Raises:
        BadConfiguration: there is no built-in one of this name. Another plug-in's would
            not be recorded in what is made with it.
    """
    component = find(kind, name)
    if component.plugin is not None:
        raise BadConfiguration(
            "PluginFailed",
            f"call_built_in: the {key(kind)} {name} is not built in, but of the plug-in {component.plugin}.",
            hint="Call a function of your own plug-in directly: files of one folder import each other.",
        )
    return component.make(*arguments, **parameters)


def register(kind: str, name: str) -> Callable[[T], T]:
    """A decorator that makes a function or class a component: what plug-ins do.

    Raises:
        BadConfiguration: no such kind; another component has this name (both places are named); it is not what the kind asks for,
            or takes other arguments than it will be given.
    """
    check = partial(signatures.check, key(kind), name)
    add: Callable[[T], T] = registry(kind).register(name, check)  # type: ignore[assignment]
    return add


def imported() -> Iterator[tuple[str, Registry[Callable[..., Any]]]]:
    """The kinds whose registries are imported already: a plug-in's components can be in no other."""
    import sys

    for kind, (module, name) in KINDS.items():
        if (loaded := sys.modules.get(f"{PACKAGE}.{module}")) is not None and hasattr(loaded, name):
            yield kind, getattr(loaded, name)
