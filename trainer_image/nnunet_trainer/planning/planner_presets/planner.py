"""What a planner is: numbers, and the names of its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnunet_trainer.contract.catalogue.planners import DEFAULT_STEPS
from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.extensions import PLANNER_STEPS
from nnunet_trainer.extensions.schema import Choice

from ..architectures import ARCHITECTURES, Architecture

RESIDUAL = "ResidualEncoderUNet"
"""nnU-Net's architecture of a residual encoder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planner:
    """Everything that can be changed about planning; a field is a parameter of the same name (camelCase in a manifest).

    A field that is a `Choice` is a step: the name of a function and what it is given. All other fields are numbers that the
    built-in steps read; those of nnU-Net's planners were tuned by its authors on a GPU of `reference_gb`.
    """

    name: str = "ExperimentPlanner"
    plans_name: str = "nnUNetPlans"
    target_spacing_rule: Choice = field(default_factory=lambda: Choice(name="Percentile"))
    """The spacing of 3d_fullres and 2d."""
    normalization_rule: Choice = field(default_factory=lambda: Choice(name="ByChannelName"))
    """The normalization scheme of each channel."""
    initial_patch: Choice = field(default_factory=lambda: Choice(name="IsotropicInMillimetres"))
    """The patch that is cut to the median image, then shrunk until it fits."""
    pooling: Choice = field(default_factory=lambda: Choice(name="FinestAxes"))
    """How often each axis is pooled, and the kernels of each stage."""
    convolutions_per_stage: Choice = field(default_factory=lambda: Choice(name="Listed"))
    architecture: Choice = field(default_factory=lambda: Choice(name="PlainConvUNet"))
    """The network. Another one brings its own references, unless they are given too."""
    memory_estimate: Choice = field(default_factory=lambda: Choice(name="OfArchitecture"))
    """What a network and a patch take, in the unit of reference3d and reference2d."""
    shrunk_axis: Choice = field(default_factory=lambda: Choice(name="LargestShareOfMedian"))
    """The axis along which a patch that does not fit is shrunk."""
    patch_and_batch: Choice = field(default_factory=lambda: Choice(name="PatchBeforeBatch"))
    """What decides between a large patch and a large batch."""
    low_resolution: Choice = field(default_factory=lambda: Choice(name="PatchCoversQuarter"))
    """Whether there is 3d_lowres, and at which spacing."""
    residual: bool = False
    """As `architecture: ResidualEncoderUNet`, with this planner's references."""
    reference_3d: float = 560_000_000
    """What fills the reference GPU at the reference batch, by the memory estimate; 3-D."""
    reference_2d: float = 85_000_000
    reference_gb: float = 8
    reference_batch_3d: int = 2
    reference_batch_2d: int = 12
    base_features: int = 32
    max_features_3d: int = 320
    max_features_2d: int = 512
    blocks_encoder: tuple[int, ...] = (2,) * 14
    """Convolutions (or residual blocks) of each encoder stage."""
    blocks_decoder: tuple[int, ...] = (2,) * 13
    min_edge_length: int = 4
    """Shortest edge of the smallest feature map."""
    max_pooling: int = 999_999
    """Most poolings of an axis."""
    min_batch_size: int = 2
    max_dataset_covered: float = 0.05
    """Most of the dataset's voxels that one batch may cover."""
    lowres_creation_threshold: float = 0.25
    """Below this share of the median image in a patch, 3d_lowres is planned."""
    lowres_spacing_step: float = 1.03
    anisotropy_threshold: float = 3
    target_spacing_percentile: float = 50
    anisotropic_spacing_percentile: float = 10
    """Of the worst axis, when it is anisotropic in spacing and in voxels."""
    rounds_each_shape: bool = True
    """Whether the median image is that of shapes that are rounded, as v2's; v1 rounded their median."""
    suppress_transpose: bool = False
    preprocessing_steps: tuple[Choice, ...] = tuple(Choice(name=step) for step in DEFAULT_STEPS)
    """What is done to each case, in this order, for training and for prediction."""
    resampling: Choice = field(default_factory=lambda: Choice(name="resample_data_or_seg_to_shape"))
    """The function for images, segmentations and probabilities; its parameters are for all three."""
    separate_z: bool = True
    """Whether an axis of low resolution may be resampled on its own."""
    order_data: int = 3
    """Of the spline that images are resampled with; only with `resample_data_or_seg_to_shape`, as the next five."""
    order_seg: int = 1
    """Of the spline that segmentations are resampled with."""
    order_z_data: int = 0
    """Along an axis that is resampled on its own."""
    order_z_seg: int = 0
    order_probabilities: int = 1
    """Of the spline that predictions are brought back with."""
    order_z_probabilities: int = 0
    shares_data: bool = False
    """Whether 2d and 3d_fullres bear nnUNetPlans' data identifiers."""

    @property
    def network_choice(self) -> Choice:
        """The architecture, `residual` counted in."""
        if self.residual and self.architecture.name == "PlainConvUNet":
            return Choice(name=RESIDUAL)
        return self.architecture

    @property
    def network(self) -> Architecture:
        """What the plans' networks are."""
        chosen = self.network_choice
        return ARCHITECTURES[chosen.name].make(**chosen.parameters)

    @property
    def components(self) -> list[tuple[str, str]]:
        """Kind and name of itself, of its steps, and of those that preprocess."""
        steps = [(kind, getattr(self, name).name) for name, kind in STEPS.items()]
        return [("planner", self.name), *steps, *(("preprocessingStep", step.name) for step in self.preprocessing_steps)]


STEPS = {each.name: camel(each.name) for each in dataclasses.fields(Planner) if camel(each.name) in PLANNER_STEPS}
"""The fields that are steps, and the kind of each."""
CHOSEN = {**STEPS, "resampling": "resampling"}
"""The fields that are one component, and the kind of each."""


def changed(base: Planner, **changes: Any) -> Planner:
    """A planner with other fields; a step may be a name alone, or `{"name": …}` and its parameters.

    Raises:
        BadConfiguration: a field that there is not, with the nearest names.
    """
    known = [each.name for each in dataclasses.fields(Planner)]
    for name in changes:
        if name not in known:
            raise BadConfiguration("UnknownParameter", unknown_name("field of a planner", name, known))
    return with_references(base, {name: _field(name, value) for name, value in changes.items()})


def _field(name: str, value: Any) -> Any:
    if name == "preprocessing_steps":
        return tuple(_choice(step) for step in value)
    return _choice(value) if name in CHOSEN else value


def with_references(base: Planner, changes: Mapping[str, Any]) -> Planner:
    """A planner with other fields, which are built already: with another architecture its references too, where none is given.

    Of references that belong together (estimate, gigabytes and batch) all are the architecture's, or none is. What another
    architecture takes it says itself, unless a memory estimate is given too: the planner's may be of its own network alone.

    Raises:
        BadConfiguration: `residual` is given together with another architecture.
    """
    chosen, own = changes.get("architecture"), dict[str, Any]()
    if chosen is not None:
        if changes.get("residual") and chosen.name != RESIDUAL:
            raise BadConfiguration(
                "InvalidParameter",
                f"The planner {changes.get('name', base.name)} is given residual: true, and the architecture {chosen.name}.",
                hint=f"Leave one of them out: residual is the architecture {RESIDUAL}.",
            )
        own["residual"] = False
        if chosen.name != base.network_choice.name:
            own["memory_estimate"] = Choice(name="OfArchitecture")
            own |= {} if REFERENCES & set(changes) else _references(chosen)
    return dataclasses.replace(base, **{**own, **changes})


def _references(chosen: Choice) -> dict[str, float]:
    of = ARCHITECTURES[chosen.name].make(**chosen.parameters).reference
    return {
        "reference_3d": of.three,
        "reference_2d": of.two,
        "reference_gb": of.gb,
        "reference_batch_3d": of.batch_three,
        "reference_batch_2d": of.batch_two,
    }


REFERENCES = {"reference_3d", "reference_2d", "reference_gb", "reference_batch_3d", "reference_batch_2d"}
"""The fields that say what fills a GPU."""


def _choice(value: Any) -> Choice:
    if isinstance(value, Choice):
        return value
    if isinstance(value, str):
        return Choice(name=value)
    return Choice(name=value["name"], parameters={key: item for key, item in value.items() if key != "name"})
