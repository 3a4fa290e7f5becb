"""A recipe: all that a trainer is, as data. The defaults are nnU-Net's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from nnunet_trainer.contract.catalogue import recipe_rules
from nnunet_trainer.contract.catalogue.shapes import Checker, Shape
from nnunet_trainer.contract.precision import PrecisionName
from nnunet_trainer.extensions import Range, provenance
from nnunet_trainer.extensions.schema import Choice, Of, plain, shape_of
from nnunet_trainer.planning.network_changes import NetworkChanges

from ..components import lookup
from .deserialization import build, changed

Count = Annotated[int, Range(1)]
Amount = Annotated[int, Range(0)]
Fraction = Annotated[float, Range(0, 1)]

LATER_FIELDS = {"fullEvaluation": None}
"""Fields that came after the first runs, and the values that change nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Which patches are trained on."""

    oversample_foreground: Fraction = 0.33
    """Share of a batch whose patches are centred on a foreground voxel; the last samples of a batch, rounded as nnU-Net does."""
    probabilistic: bool = False
    """Draw for each sample whether it is oversampled, instead of a fixed share of each batch."""
    fixed_batch: bool = False
    """One batch of noise throughout, no data: how fast the network alone is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousStageChanges:
    """What is changed about the augmentation of a cascade's input, the previous stage's segmentation; None: the set's own."""

    operator_probability: Fraction | None = None
    """Of a sample: labels are dilated, eroded, closed or opened by a ball."""
    operator_label_probability: Fraction | None = None
    """Of each label of such a sample."""
    radius: Annotated[tuple[float, float], Range(1, 64)] | None = None
    """The smallest and the largest ball, in voxels."""
    removal_probability: Fraction | None = None
    """Of a sample: a connected component of a label is taken away."""
    removal_label_probability: Fraction | None = None
    """Of each label of such a sample."""
    removal_limit: Fraction | None = None
    """The share of the patch below which a component may be taken away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialization:
    """What the weights begin as: He's normal distribution (2015)."""

    negative_slope: Fraction = 0.01
    """Of the leaky ReLU that it is made for; 0 for ReLU. nnU-Net keeps 0.01 whatever the nonlinearity is."""
    zero_residuals: bool = True
    """A residual block begins as the identity: its last normalization multiplies by 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewStart:
    """New initial weights where no foreground has been found for long; nnU-Net v1's rescue."""

    epoch: Count = 101
    """How many epochs are waited for a pseudo-Dice above 0."""
    momentum: Annotated[float, Range(0, 1, high_open=True)] = 0.95
    """Of the optimizer from then on, where it has any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """When to end before the last epoch, by the moving average of the training loss; nnU-Net v1's rule."""

    patience: Count = 50
    """Epochs without a lower average."""
    threshold: Annotated[float, Range(0)] = 5e-4
    """How much lower it must be."""
    smoothing: Annotated[float, Range(0, 1, high_open=True)] = 0.93
    """Weight of the past in the average."""
    lowest_rate: Annotated[float, Range(0)] = 1e-6
    """While the learning rate is above this, the training goes on for another half of the patience."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FullEvaluation:
    """Dice of whole validation images in the course of the training, without mirroring, in the place of the pseudo-Dice."""

    every_epochs: Count = 1
    """Epochs between two of them; the others have no Dice."""
    target_dice: Fraction | None = None
    """The mean over the foreground at which the training ends; None: it goes on to its last epoch."""


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
    validation_iterations: Amount = 50
    """Of patches, for the validation loss and the pseudo-Dice; 0: none, where there is a fullEvaluation."""
    loss: Annotated[Choice, Of("loss")] = field(default_factory=lambda: Choice(name="DiceCE"))
    optimizer: Annotated[Choice, Of("optimizer")] = field(default_factory=lambda: Choice(name="SGD"))
    schedule: Annotated[Choice, Of("schedule")] = field(default_factory=lambda: Choice(name="poly"))
    warm_up_epochs: Amount = 0
    """Epochs in which the learning rate rises linearly; the schedule follows, with what is left of the epochs."""
    learning_rate_factors: dict[str, Annotated[float, Range(0)]] = field(default_factory=dict)
    """Shell patterns of parameter names and what their learning rate is multiplied by; the first that fits counts."""
    layer_decay: Annotated[float, Range(0, 1, low_open=True)] = 1.0
    """Each layer nearer the input learns at this times the rate of the next one; the segmentation layers have the whole rate."""
    augmentation: Annotated[Choice, Of("augmentation")] = field(default_factory=lambda: Choice(name="default"))
    """A set of transforms, and what is changed in it: `{name: DA5, mirrorAxes: [0, 1], noise: {probability: 0.3}}`."""
    previous_stage: PreviousStageChanges = field(default_factory=PreviousStageChanges)
    """Counts for the second stage of a cascade."""
    sampling: Sampling = field(default_factory=Sampling)
    network: NetworkChanges = field(default_factory=NetworkChanges)
    freezing: Freezing = field(default_factory=Freezing)
    deep_supervision: bool | Literal["on", "off", "soft"] = True
    """soft: the coarser targets are the share that each class has of a voxel, instead of its nearest label."""
    coarsest_output: bool = False
    """Whether deep supervision counts its coarsest output too."""
    initialization: Initialization = field(default_factory=Initialization)
    new_start: NewStart | None = None
    early_stopping: EarlyStopping | None = None
    full_evaluation: FullEvaluation | None = None
    over_time: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    """Numbers of the loss or the optimizer that change during the training, as [fraction of the epochs, value]:
    `loss.weightCe: [[0.5, 2], [0.75, 0]]` is 2 in the first half, then falls, and is 0 in the last quarter."""
    in_2d: dict[str, Any] = field(default_factory=dict)
    """What is different in a 2D configuration, as in a recipe."""
    gradient_clip: Annotated[float, Range(0, low_open=True)] | None = 12.0
    """The largest L2 norm of all gradients together; None: no limit."""
    precision: PrecisionName = "auto"
    """auto: fp16 with a gradient scaler on CUDA, fp32 elsewhere, as nnU-Net."""
    compile: bool | None = None
    """torch.compile; None: on CUDA. Never on a CPU."""
    batch_size: Count | None = None
    """Instead of the plans'."""
    batch_dice: bool | None = None
    """Instead of the plans'."""

    def __post_init__(self) -> None:
        if isinstance(self.deep_supervision, str) and self.deep_supervision != "soft":
            object.__setattr__(self, "deep_supervision", self.deep_supervision == "on")
        if self.over_time or self.in_2d or self.validation_iterations == 0:
            recipe_rules.check(plain(self), shape(), Checker(find=lookup.parameters))

    def for_patch(self, patch_size: Sequence[int]) -> Recipe:
        """The recipe of a configuration: with `in_2d` where its patch is 2D."""
        return changed(self, self.in_2d, "recipe.in2d") if self.in_2d and len(patch_size) == 2 else self


def read(changes: dict[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe from camelCase data, on top of another one. Nested objects merge, lists replace.

    Raises:
        BadConfiguration: an unknown field, component or parameter (with the nearest names), or a value out of its range.
    """
    return changed(base or Recipe(), changes, "recipe")


def write(recipe: Recipe) -> dict[str, Any]:
    """A recipe as camelCase data: `read(write(recipe)) == recipe`."""
    data: dict[str, Any] = plain(recipe)
    return data


def digested(recipe: Recipe) -> dict[str, Any]:
    """A recipe as it goes into a run's digest: fields that the first runs did not know are left out where they change nothing."""
    return {key: value for key, value in write(recipe).items() if key not in LATER_FIELDS or value != LATER_FIELDS[key]}


def used(recipe: Recipe) -> list[provenance.Used]:
    """Kind and name of the components of plug-ins that a recipe names."""
    named = set(_texts(write(recipe)))
    return [(kind, name) for kind in lookup.KINDS for name in provenance.names(kind) if name in named]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield value.rpartition(".")[2]  # of a network's class
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        yield from _texts(item)


def shape() -> Shape:
    """What a recipe may hold (`contract.catalogue.shapes`)."""
    return shape_of(Recipe)


def of(data: dict[str, Any]) -> Recipe:
    """A recipe from checked data (`contract.catalogue.trainers`)."""
    return build(Recipe, data)
