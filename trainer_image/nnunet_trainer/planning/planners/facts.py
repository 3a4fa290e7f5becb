"""What the steps of a planner are given: a dataset, and one configuration of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.description import channel_names

from ..architectures import class_name
from ..planner_presets import Planner
from .steps import call, fail, first_and_last, guarded, numbers
from .topology import Topology

STEP_LIMIT = 10_000
"""So many patches, or spacings, are tried at most; nnU-Net's planners need a few hundred."""


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """A dataset, as planning sees it.

    Attributes:
        planner: its numbers are `planner.<field>`.
        fingerprint: dataset_fingerprint.json, with whatever an extractor has added.
        dataset_json: dataset.json.
        spacings: of each case, mm, (n, 3) along the file's z, y, x.
        shapes: of each cropped case, voxels, (n, 3).
        say: takes a line for `plan --explain`.
    """

    planner: Planner
    fingerprint: Mapping[str, Any]
    dataset_json: Mapping[str, Any]
    spacings: np.ndarray
    shapes: np.ndarray
    say: Callable[[str], None]

    @property
    def cases(self) -> int:
        """For training."""
        return int(self.dataset_json["numTraining"])

    @property
    def channels(self) -> list[str]:
        """The names of the channels."""
        return [str(name) for name in channel_names(dict(self.dataset_json)).values()]

    @property
    def outputs(self) -> int:
        """Labels, background and ignore included."""
        return len(self.dataset_json["labels"])


@dataclass(frozen=True, slots=True)
class Candidate:
    """A patch that was tried: padded for its network's poolings, which topology and architecture describe."""

    topology: Topology
    architecture: dict[str, Any]
    estimate: float
    """By the memory estimate."""

    @property
    def patch_size(self) -> list[int]:
        """Voxels along (z,) y, x."""
        return self.topology.patch_size


@dataclass(frozen=True, kw_only=True)
class ConfigurationFacts:
    """One configuration that is being planned.

    Attributes:
        name: 2d, 3d_fullres or 3d_lowres.
        dataset: what it is of.
        gpu_memory_gb: to fill.
        axes: which of the file's (0 z, 1 y, 2 x) its own are: plans begin with that of the largest spacing.
        spacing: mm along these axes.
        median_shape: of the median image at this spacing, voxels.
        dataset_voxels: of all images at this spacing.
        notes: a line for each decision.
        tried: the patches that were tried, in order.
    """

    name: str
    dataset: DatasetFacts
    gpu_memory_gb: float
    axes: Sequence[int]
    spacing: np.ndarray
    median_shape: Sequence[float]
    dataset_voxels: float
    notes: list[str] = field(default_factory=list)
    tried: list[list[float]] = field(default_factory=list)

    @property
    def planner(self) -> Planner:
        """Whose steps these are."""
        return self.dataset.planner

    @property
    def two(self) -> bool:
        """Whether it is of slices."""
        return len(self.spacing) == 2

    @property
    def reference(self) -> float:
        """What fills the GPU to plan for at the reference batch, in the memory estimate's unit."""
        own = self.planner.reference_2d if self.two else self.planner.reference_3d
        return own * (self.gpu_memory_gb / self.planner.reference_gb)

    @property
    def reference_batch(self) -> int:
        """The batch that `reference` is of."""
        return self.planner.reference_batch_2d if self.two else self.planner.reference_batch_3d

    def most_patches(self, patch: Sequence[int], rounded: Callable[[float], int] = round) -> int:
        """How many patches are the planner's largest share of the dataset."""
        share = self.dataset_voxels * self.planner.max_dataset_covered
        return rounded(float(share / np.prod(patch, dtype=np.float64)))

    def first_patch(self) -> list[float]:
        """The initial patch, cut to the median image, before it is padded for pooling."""
        return [float(min(n, m)) for n, m in zip(self._initial(), self.median_shape, strict=True)]

    def _initial(self) -> list[Any]:
        step = self.planner.initial_patch
        return numbers(call("initialPatch", step, self), len(self.spacing), "initialPatch", step, "voxels along each axis")

    def first(self) -> Candidate:
        """The initial patch, cut to the median image."""
        initial = self._initial()
        candidate = self.candidate([float(min(n, m)) for n, m in zip(initial, self.median_shape, strict=True)])
        start = [n.item() if hasattr(n, "item") else n for n in initial]
        self.notes.append(
            f"first patch by the spacing {start}, cut to the median image, padded for pooling: {candidate.patch_size}"
        )
        return candidate

    def candidate(self, patch: Sequence[float]) -> Candidate:
        """A patch with its network and what that takes.

        Raises:
            BadConfiguration: a step answers something else than it should (the message names step and answer); too many patches
                were tried.
        """
        if len(self.tried) > STEP_LIMIT:
            raise endless(self.planner.name, self.name, "patches", self.tried)
        self.tried.append(list(patch))
        topology = self.topology(patch)
        self.tried[-1] = topology.patch_size
        architecture = self.architecture(topology)
        return Candidate(topology, architecture, self.estimate(topology.patch_size, architecture))

    def topology(self, patch: Sequence[float]) -> Topology:
        """What the planner's pooling makes of a patch."""
        found = call("pooling", self.planner.pooling, self, patch)
        if not isinstance(found, Topology):
            raise fail("pooling", self.planner.pooling, found, "a Topology")
        if fault := found.fault(len(self.spacing)):
            raise fail("pooling", self.planner.pooling, found, f"one that fits: {fault}")
        return found

    def architecture(self, shape: Topology) -> dict[str, Any]:
        """The network of a topology, as plans have it."""
        step = self.planner.architecture
        found = guarded("architecture", step, self.planner.network.describe, self, shape)
        if not isinstance(found, Mapping) or not isinstance(found.get("network_class_name"), str):
            raise fail("architecture", step, found, "{network_class_name: …, arch_kwargs: {…}}")
        if not isinstance(found.get("arch_kwargs"), Mapping):
            raise fail("architecture", step, found, "an object arch_kwargs in it")
        return dict(found)

    def features(self, stages: int) -> list[int]:
        """Channels of each stage: they double from stage to stage, up to the planner's largest number."""
        most = self.planner.max_features_2d if self.two else self.planner.max_features_3d
        return [min(most, self.planner.base_features * 2**i) for i in range(stages)]

    def convolutions(self, stages: int) -> tuple[list[int], list[int]]:
        """Convolutions (or blocks) of each encoder stage, and of each decoder stage, the deepest first."""
        step = self.planner.convolutions_per_stage
        counts = call("convolutionsPerStage", step, self, stages)
        wanted = f"two lists, of {stages} and {stages - 1} positive integers"
        try:
            encoder, decoder = ([int(n) for n in each] for each in counts)
        except (TypeError, ValueError):
            raise fail("convolutionsPerStage", step, counts, wanted) from None
        if (len(encoder), len(decoder)) != (stages, stages - 1) or min([*encoder, *decoder, 1]) < 1:
            raise fail("convolutionsPerStage", step, counts, wanted)
        return encoder, decoder

    def estimate(self, patch: Sequence[float], architecture: dict[str, Any]) -> float:
        """What a network and a patch take, in the unit of `reference`."""
        step = self.planner.memory_estimate
        found = call("memoryEstimate", step, self, patch, architecture)
        if isinstance(found, bool) or not isinstance(found, (int, float, np.number)) or not math.isfinite(found) or found < 0:
            raise fail("memoryEstimate", step, found, "a finite number that is not negative")
        return found.item() if isinstance(found, np.number) else found

    def smaller(self, candidate: Candidate) -> Candidate:
        """The next smaller patch: one divisor less along the axis that the planner chooses.

        A smaller patch may pool less often: the divisor of the smaller one is subtracted, so that no valid size is skipped.
        """
        step, patch = self.planner.shrunk_axis, candidate.patch_size
        axis = call("shrunkAxis", step, self, patch)
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not 0 <= axis < len(patch):
            raise fail("shrunkAxis", step, axis, f"an axis, 0 to {len(patch) - 1}")
        smaller = list(patch)
        smaller[axis] -= candidate.topology.divisor[axis]
        divisor = self.topology(smaller).divisor
        smaller = list(patch)
        smaller[axis] -= divisor[axis]
        return self.candidate(smaller)

    def shrunk(self, candidate: Candidate, fits: Callable[[Candidate], bool]) -> Candidate:
        """The first patch, from this one on, that fits; a note says after how many steps.

        Raises:
            BadConfiguration: as by `candidate`.
        """
        found, steps = candidate, 0
        while not fits(found):
            found, steps = self.smaller(found), steps + 1
        amount = f"its estimate {found.estimate:,.0f}"
        if steps:
            self.notes.append(f"patch {found.patch_size} after {steps} steps: {amount} fits the reference {self.reference:,.0f}")
        else:
            self.notes.append(f"patch {found.patch_size} fits at once: {amount} is below the reference {self.reference:,.0f}")
        network, features = class_name(found.architecture), found.architecture["arch_kwargs"].get("features_per_stage")
        stages = f"{found.topology.stages} stages, {found.topology.poolings} poolings"
        self.notes.append(f"{network}: {stages}" + (f", features {features}" if features else ""))
        return found


def endless(planner: str, configuration: str, what: str, tried: Sequence[Any]) -> BadConfiguration:
    """The fault of a search that comes to no end."""
    return BadConfiguration(
        "PlanningEndless",
        f"The planner {planner} comes to no end with {configuration}: {len(tried):,} {what} were tried, and none fits: "
        f"{first_and_last(tried)}.",
        hint="Look at its steps pooling, shrunkAxis, memoryEstimate and lowResolution, and at the GPU memory to plan for.",
    )
