"""What work orders are made of: where things lie and how they are reached, and what was chosen about a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..json_text import additions


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A URI (`s3://bucket/prefix`, `file:///path`, `pvc://claim/path`) and how to reach it.

    `secret_name` and `ca_config_map` are folders below the pod's mounts (`contract.pod`); no Secret means the pod's own identity.
    """

    uri: str
    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    secret_name: str | None = None
    ca_config_map: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """An artifact that another step made: where it lies and the digest of what it was made from."""

    location: Location
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannerChoice:
    """Which planner, and what was changed about it."""

    name: str = "ExperimentPlanner"
    gpu_memory_gb: float | None = None
    target_spacing: list[float] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    # Measure its references on the device at hand before planning; the GPU's memory is what is planned for, unless it is said.
    calibrate: bool = additions.added("0.2.0", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerChoice:
    """A trainer by name; with a recipe it is a new name, and `base` says of what."""

    name: str = "nnUNetTrainer"
    base: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedPolicies:
    """What becomes of pretrained weights that do not fit as they are. The defaults are nnU-Net's. They decide a run's result.

    `input_channels`: of a stem for another number of channels. `heads`: of the segmentation layers. `mismatched`: of any other
    tensor that has another shape, or that the file does not have.
    """

    input_channels: Literal["Match", "Repeat", "Average", "Reinitialize"] = "Match"
    heads: Literal["Reinitialize", "MatchByLabel"] = "Reinitialize"
    mismatched: Literal["Fail", "Skip"] = "Fail"


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainedWeights:
    """A checkpoint file whose weights start this run."""

    location: Location
    sha256: str | None = None  # known when a run of ours wrote it
    policies: PretrainedPolicies = field(default_factory=PretrainedPolicies)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousStage:
    """The run whose final validation predicted what the second stage of a cascade has as an input: each fold's artifact."""

    run: str
    folds: dict[str, Input]


@dataclass(frozen=True, kw_only=True, slots=True)
class Continuation:
    """A finished fold of another run that this training goes on from: its weights, optimizer, history and epochs.

    `digest` is that run's, the same for all of its folds. `schedule`: what the learning rate, and all else that changes over the
    epochs, does from there on. Stretch: as if all epochs had been planned from the start. Restart: as in a training of the
    additional epochs alone.
    """

    run: str
    location: Location
    digest: str
    additional_epochs: int
    schedule: Literal["Stretch", "Restart"]
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointPolicy:
    """How often a checkpoint is written, and how many are kept."""

    every_epochs: int = 1
    every_minutes: float = 10
    keep: int = 2
