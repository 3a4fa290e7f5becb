"""An augmentation as data: which transforms, in which order, how often, how strong; and how sets of them bear names."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import Range, Registry
from nnunet_trainer.extensions.calls import guarded, require_answer
from nnunet_trainer.extensions.schema import Choice
from nnunet_trainer.training.data.parameter_ranges import Probability
from nnunet_trainer.training.data.spatial_placement import Spatial

from .transforms.filters import Median, Sharpening
from .transforms.intensity import (
    AdditiveBrightness,
    Blur,
    Brightness,
    Contrast,
    Gamma,
    IntensityTransform,
    LowResolution,
    Noise,
    OneOf,
)
from .transforms.local import BlankRectangles, BrightnessGradient, LocalGamma
from .transforms.previous_stage import PreviousStageTransform

IntensityName = Literal[
    "noise",
    "median",
    "blur",
    "brightness",
    "additiveBrightness",
    "contrast",
    "freeContrast",
    "lowResolution",
    "invertedGamma",
    "secondInvertedGamma",
    "gamma",
    "blankRectangles",
    "brightnessGradient",
    "localGamma",
    "sharpening",
]
"""The intensity transforms by the names of their fields."""

NAMES: tuple[str, ...] = typing.get_args(IntensityName)


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig:
    """Spatial transform, quarter turns and exchanged axes, the intensity transforms in order, mirroring.

    A transform that is None is not done.
    """

    spatial: Spatial = field(default_factory=Spatial)
    turn_probability: Probability = 0.0
    """Of a turn by 0 to 3 quarters in a plane of two axes among those whose edge is the patch's most common one."""
    transpose_probability: Probability = 0.0
    """Of an exchange of the axes among these."""
    mirror_axes: tuple[Annotated[int, Range(0, 2)], ...] | None = None
    """Axes of the patch; None: all. Prediction mirrors the same ones."""
    mirror_last: bool = True
    """Without: where `mirror_axes` is None, all but the last."""
    mirror_probability: Probability = 0.5
    """Of each of these axes."""
    order: tuple[IntensityName | tuple[IntensityName, ...], ...] = (
        "noise",
        "blur",
        "brightness",
        "contrast",
        "lowResolution",
        "invertedGamma",
        "gamma",
    )
    """In which intensity transforms are done; of a list within it one is picked. What is set and not named here comes last."""
    noise: Noise | None = None
    median: Median | None = None
    blur: Blur | None = None
    brightness: Brightness | None = None
    additive_brightness: AdditiveBrightness | None = None
    contrast: Contrast | None = None
    free_contrast: Contrast | None = None
    low_resolution: LowResolution | None = None
    inverted_gamma: Gamma | None = None
    second_inverted_gamma: Gamma | None = None
    gamma: Gamma | None = None
    blank_rectangles: BlankRectangles | None = None
    brightness_gradient: BrightnessGradient | None = None
    local_gamma: LocalGamma | None = None
    sharpening: Sharpening | None = None
    previous_stage: PreviousStageTransform | None = field(default_factory=PreviousStageTransform, metadata={"apart": True})
    """Counts in a cascade; None: its segmentation is left as it is. A recipe changes it by its own field."""

    @property
    def intensity(self) -> tuple[IntensityTransform, ...]:
        """The intensity transforms in their order."""
        return tuple(self._ordered())

    def _ordered(self) -> Iterator[IntensityTransform]:
        transforms: dict[str, IntensityTransform | None] = {
            camel(f.name): getattr(self, f.name) for f in dataclasses.fields(self) if camel(f.name) in NAMES
        }
        for entry in (*self.order, *(name for name in NAMES if not self._names(name))):
            options = [transforms[name] for name in ([entry] if isinstance(entry, str) else entry)]
            some = tuple(option for option in options if option is not None)
            if some:
                yield some[0] if isinstance(entry, str) else OneOf(some)

    def _names(self, name: str) -> bool:
        return any(name == entry or (not isinstance(entry, str) and name in entry) for entry in self.order)


Maker = Callable[..., AugmentationConfig]

AUGMENTATIONS: Registry[Maker] = Registry("augmentation set")
"""Makers of sets by name; a plug-in may register its own."""


def register(name: str) -> Callable[[Callable[[], AugmentationConfig]], Maker]:
    """A decorator that names a set. Whoever chooses it may change any of its fields: `{name: DA5, mirrorAxes: [0, 1]}`.

    Raises:
        BadConfiguration: another set has this name; both places are named.
    """

    def add(make: Callable[[], AugmentationConfig]) -> Maker:
        return AUGMENTATIONS.register(name)(adjustable(make))

    return add


def adjustable(make: Callable[[], AugmentationConfig]) -> Maker:
    """A maker that takes the fields of what it makes as keyword-only arguments."""
    config = make()

    @functools.wraps(make)
    def made(**changes: Any) -> AugmentationConfig:
        return dataclasses.replace(config, **changes)

    hints = typing.get_type_hints(type(config), include_extras=True)
    made.__annotations__ = hints
    made.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=getattr(config, f.name), annotation=hints[f.name])
            for f in dataclasses.fields(config)
            if not f.metadata.get("apart")
        ]
    )
    return made


def set_names() -> list[str]:
    """All names, sorted."""
    return list(AUGMENTATIONS)


def augmentation_set(chosen: str | Choice) -> AugmentationConfig:
    """A set by name, or by name and what is changed in it.

    Raises:
        BadConfiguration: no such set; the message has the nearest names and the list. A plug-in's one fails, or is none.
    """
    if isinstance(chosen, str):
        chosen = Choice(name=chosen)
    component = AUGMENTATIONS[chosen.name]
    if component.plugin is None:
        return component.make(**chosen.parameters)
    what = f"The augmentation {component.name} ({component.place})"
    made: AugmentationConfig = guarded(what, component.make, **chosen.parameters)
    require_answer(isinstance(made, AugmentationConfig), what, made, "an AugmentationConfig")
    return made
