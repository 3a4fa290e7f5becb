"""A recipe: all that a trainer is, as data. The defaults are nnU-Net's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from nnunet_trainer.contract.shapes import Shape
from nnunet_trainer.extensions import Range

from .reading import Choice, NameOf, Of, build, changed, plain, shape_of

Count = Annotated[int, Range(1)]
Amount = Annotated[int, Range(0)]
Fraction = Annotated[float, Range(0, 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Which patches are trained on."""

    oversample_foreground: Fraction = 0.33
    """Share of a batch whose patches are centred on a foreground voxel; the last samples of a batch, rounded as nnU-Net does."""
    probabilistic: bool = False
    """Draw for each sample whether it is oversampled, instead of a fixed share of each batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkChanges:
    """What is changed in the plans' architecture. The results' plans.json holds the changed architecture."""

    network: str | None = None
    """The class: PlainConvUNet, ResidualEncoderUNet, or one that a plug-in registers."""
    normalization: Literal["instance", "batch", "group", "filterResponse", "none"] | None = None
    normalization_groups: Count = 8
    nonlinearity: Literal["LeakyReLU", "ReLU", "Mish", "GELU"] | None = None
    negative_slope: Fraction | None = None
    """Of LeakyReLU."""
    convolutions_per_stage: Count | None = None
    kernel_size: Literal[1, 3, 5, 7] | None = None
    """Every entry of every kernel."""
    arch_kwargs: dict[str, Any] = field(default_factory=dict)
    """Anything else, in the plans' own words; applied last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Freezing:
    """Which parameters are kept as they are, and until when."""

    patterns: tuple[str, ...] = ()
    """Shell patterns of parameter names: `encoder.*`."""
    until_epoch: Amount | None = None
    """The first epoch in which they train; None: never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that a trainer is. Each field may be changed alone; see `read`."""

    epochs: Count = 1000
    iterations_per_epoch: Count = 250
    validation_iterations: Count = 50
    loss: Annotated[Choice, Of("loss")] = field(default_factory=lambda: Choice(name="DiceCE"))
    optimizer: Annotated[Choice, Of("optimizer")] = field(default_factory=lambda: Choice(name="SGD"))
    schedule: Annotated[Choice, Of("schedule")] = field(default_factory=lambda: Choice(name="poly"))
    warm_up_epochs: Amount = 0
    """Epochs in which the learning rate rises linearly; the schedule follows, with what is left of the epochs."""
    learning_rate_factors: dict[str, Annotated[float, Range(0)]] = field(default_factory=dict)
    """Shell patterns of parameter names and what their learning rate is multiplied by; the first that fits counts."""
    augmentation: Annotated[str, NameOf("augmentation")] = "default"
    """The name of a set (`augmentation.set_names()`)."""
    sampling: Sampling = field(default_factory=Sampling)
    network: NetworkChanges = field(default_factory=NetworkChanges)
    freezing: Freezing = field(default_factory=Freezing)
    deep_supervision: bool = True
    gradient_clip: Annotated[float, Range(0, low_open=True)] | None = 12.0
    """The largest L2 norm of all gradients together; None: no limit."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """auto: fp16 with a gradient scaler on CUDA, fp32 elsewhere, as nnU-Net."""
    compile: bool | None = None
    """torch.compile; None: on CUDA. Never on a CPU."""
    batch_size: Count | None = None
    """Instead of the plans'."""
    batch_dice: bool | None = None
    """Instead of the plans'."""


def read(changes: dict[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe from camelCase data, on top of another one. Nested objects merge, lists replace.

    Raises:
        BadConfiguration: an unknown field, component or parameter (with the nearest names), or a value out of its range.
    """
    return changed(base or Recipe(), changes, "recipe")


def write(recipe: Recipe) -> dict[str, Any]:
    """A recipe as camelCase data: `read(write(recipe)) == recipe`."""
    return plain(recipe)


def shape() -> Shape:
    """What a recipe may hold (`contract.shapes`)."""
    return shape_of(Recipe)


def of(data: dict[str, Any]) -> Recipe:
    """A recipe from checked data (`contract.trainers`)."""
    return build(Recipe, data)
