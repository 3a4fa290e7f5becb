"""A planner's reference by measurement, as nnU-Net v1's find_3d_configuration: the largest patch that a GPU holds.

On a GPU patches grow until one does not fit. On a CPU the peaks of small ones are counted, and where their straight line over the
planner's estimate meets the memory to plan for is taken for the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from nnunet_trainer import architecture
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.json_text.codec import camel
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.planning.architectures import class_name, output_strides
from nnunet_trainer.planning.gpu_memory import basis
from nnunet_trainer.planning.planner_presets import Planner
from nnunet_trainer.planning.planners.facts import Candidate, ConfigurationFacts, DatasetFacts

from ..session.optimization.precision import Precision
from .measuring import training_step

MARGINS = {"cuda": 0.1, "cpu": 0.25}
"""Shares of what was measured that are left free. On a CPU it is more: what kernels take for themselves is not counted. By this one
nnU-Net's own reference comes out for its U-Net."""
EDGES = {3: tuple(range(16, 513, 16)), 2: tuple(range(64, 4097, 64))}
"""Of the patches that are tried on a GPU, voxels along each axis."""
SMALL_EDGES = {3: (16, 24, 32), 2: (32, 64, 96)}
"""Of those that are counted on a CPU."""
MEDIAN = 100_000.0
"""Voxels of the median image along each axis: more than any patch, so that none is cut to it."""

Measure = Callable[[Candidate, int], int | None]
"""The peak in bytes of a batch of patches; None: it does not fit."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured, and the planner's parameters that follow from it.

    Attributes:
        basis: what the references are of (`planning.gpu_memory.basis`).
        device: what it was measured on, in words.
        scaled_down: whether small patches were counted on a CPU.
        memory_gb: to fill, 10^9 bytes.
        precision: of the steps.
        margin: the share that is left free.
        series: by dimensions ("2d", "3d"), each patch with batch, estimate and gigabytes (None: it did not fit).
        networks: by dimensions, the network that was measured.
        largest: by dimensions, the estimate that fills the memory.
        parameters: of the planner; of dimensions that were not measured its own reference, scaled to this memory.
    """

    basis: dict[str, Any]
    device: str
    scaled_down: bool
    memory_gb: float
    precision: str
    margin: float
    series: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)

    def sentence(self) -> str:
        """What it was measured on, for people."""
        on = f"{self.device}, {self.precision}, for {self.memory_gb:g} GB less {100 * self.margin:g} %"
        if self.scaled_down:
            return f"calibrated without a GPU, by counting the tensors of small patches: {on}"
        return f"calibrated on {on}"

    def described(self) -> list[str]:
        """The planner's parameters, a text each."""
        return [f"{camel(name)} {value:,.10g}" for name, value in self.parameters.items()]

    def content(self) -> dict[str, Any]:
        """As calibration.json holds it."""
        return {
            **self.basis,
            "networks": self.networks,
            "device": self.device,
            "scaledDown": self.scaled_down,
            "memoryGB": self.memory_gb,
            "precision": self.precision,
            "margin": self.margin,
            "torch": str(torch.__version__),
            "series": self.series,
            "largest": self.largest,
            "parameters": {camel(name): value for name, value in self.parameters.items()},
            "about": self.sentence(),
        }


def calibrate(
    planner: Planner,
    *,
    dataset_json: Mapping[str, Any],
    fingerprint: Mapping[str, Any] | None = None,
    dimensions: Sequence[int] = (3, 2),
    device: torch.device,
    memory_gb: float | None = None,
    margin: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Calibration:
    """Measure what a planner's networks take, and set its references by it.

    Args:
        planner: its pooling, architecture and estimate.
        dataset_json: channels and labels.
        fingerprint: for steps of a planner that look at it.
        dimensions: of the patches that are measured.
        device: where.
        memory_gb: to fill; of a GPU no more than it has; default: the GPU's; without one, the planner's own reference.
        margin: share that is left free; default: `MARGINS`.
        say: takes a line for each patch.

    Raises:
        BadConfiguration: not even the smallest patch fits; a step of the planner fails.
    """
    cuda = device.type == "cuda"
    # bf16 takes as much as fp16, which needs a GPU.
    precision = Precision("auto" if cuda else "bf16", device)
    result = Calibration(
        basis=basis(planner),
        device=name(device),
        scaled_down=not cuda,
        memory_gb=memory(device, planner, memory_gb),
        precision=precision.name,
        margin=MARGINS[device.type] if margin is None else margin,
    )
    dataset = DatasetFacts(
        planner=planner,
        fingerprint=fingerprint or {},
        dataset_json=dataset_json,
        spacings=np.ones((1, 3)),
        shapes=np.full((1, 3), MEDIAN),
        say=say,
    )
    if memory_gb is not None and result.memory_gb < memory_gb:
        say(f"{result.device} has {result.memory_gb:g} GB: it is calibrated for these; planning scales them to {memory_gb:g} GB")
    for axes in dimensions:
        _one(result, dataset, axes, partial(_measured, dataset_json, precision, device), say)
    # What was not measured fills as many gigabytes as those that were.
    scale = result.memory_gb / planner.reference_gb
    result.parameters.setdefault("reference_3d", planner.reference_3d * scale)
    result.parameters.setdefault("reference_2d", planner.reference_2d * scale)
    result.parameters["reference_gb"] = result.memory_gb
    return result


def name(device: torch.device) -> str:
    """Of a GPU the model's; of the CPU just that: what is counted there is the same on all."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def memory(device: torch.device, planner: Planner, asked: float | None = None) -> float:
    """What is filled, 10^9 bytes: what is asked for, of a GPU at most its memory; by default that, or the planner's reference."""
    if device.type != "cuda":
        return asked or planner.reference_gb
    there = round(torch.cuda.get_device_properties(device).total_memory / 1e9, 3)
    return min(asked or there, there)


def _one(result: Calibration, dataset: DatasetFacts, axes: int, measure: Measure, say: Callable[[str], None]) -> None:
    label, kind = f"{axes}d", dataset.planner
    configuration = ConfigurationFacts(
        name="2d" if axes == 2 else "3d_fullres",
        dataset=dataset,
        gpu_memory_gb=result.memory_gb,
        axes=range(3 - axes, 3),
        spacing=np.ones(axes),
        median_shape=[MEDIAN] * axes,
        dataset_voxels=MEDIAN**axes,
    )
    rows = result.series.setdefault(label, [])

    def tried(candidate: Candidate) -> float | None:
        """Gigabytes; None where it does not fit."""
        result.networks[label] = class_name(candidate.architecture)
        peak = measure(candidate, configuration.reference_batch)
        gigabytes = None if peak is None else round(peak / 1e9, 6)
        row = {"patch": candidate.patch_size, "batch": configuration.reference_batch, "estimate": candidate.estimate}
        rows.append({**row, "gigabytes": gigabytes})
        size = "does not fit" if gigabytes is None else f"takes {gigabytes:.4g} GB"
        say(f"{label}: patch {'×'.join(map(str, candidate.patch_size))}, batch {configuration.reference_batch}: {size}")
        return gigabytes

    edges = SMALL_EDGES if result.scaled_down else EDGES
    search = _by_line if result.scaled_down else _by_growth
    largest = search(_candidates(configuration, edges[axes]), tried, result.memory_gb)
    if largest is None:
        smallest = "×".join(map(str, rows[0]["patch"]))
        raise BadConfiguration(
            "NothingFits",
            f"Planner {kind.name}, {label}: not even a batch of {rows[0]['batch']} patches of {smallest} voxels fits "
            f"{result.memory_gb:g} GB.",
            hint="Calibrate for more memory, or choose a smaller architecture.",
        )
    result.largest[label] = largest
    result.parameters[f"reference_{label}"] = float(int(largest * (1 - result.margin)))


def _candidates(configuration: ConfigurationFacts, edges: Sequence[int]) -> Iterator[Candidate]:
    """From the smallest on, each estimate once."""
    before = 0.0
    for edge in edges:
        candidate = configuration.candidate([float(edge)] * len(configuration.spacing))
        if candidate.estimate > before:
            before = candidate.estimate
            yield candidate


def _by_growth(candidates: Iterator[Candidate], tried: Callable[[Candidate], float | None], memory_gb: float) -> float | None:
    """The estimate of the last patch that fits, of steps that double until one does not, then halve."""
    series, low, high, step = list(candidates), -1, None, 1
    while low + step < len(series) and high is None:
        place = low + step
        if _fits(tried(series[place]), memory_gb):
            low, step = place, step * 2
        else:
            high = place
    high = len(series) if high is None else high
    while high - low > 1:
        place = (low + high) // 2
        if _fits(tried(series[place]), memory_gb):
            low = place
        else:
            high = place
    return None if low < 0 else series[low].estimate


def _fits(gigabytes: float | None, memory_gb: float) -> bool:
    return gigabytes is not None and gigabytes <= memory_gb


def _by_line(candidates: Iterator[Candidate], tried: Callable[[Candidate], float | None], memory_gb: float) -> float | None:
    """The estimate at which the straight line through the peaks of small patches meets the memory."""
    found = [(candidate.estimate, tried(candidate) or 0.0) for candidate in candidates]
    estimates, gigabytes = np.array(found).T
    if len(found) < 2:
        return float(estimates[0] / gigabytes[0] * memory_gb)
    slope, constant = np.polyfit(estimates, gigabytes, 1)
    largest = (memory_gb - max(0.0, constant)) / slope
    return float(largest) if largest > 0 else None


def _measured(
    dataset_json: Mapping[str, Any], precision: Precision, device: torch.device, candidate: Candidate, batch: int
) -> int | None:
    described, labels = candidate.architecture, LabelManager(dict(dataset_json))
    channels, strides = len(channel_names(dict(dataset_json))), output_strides(described)
    make = partial(architecture.build, described, channels, labels.num_segmentation_heads, strides is not None, initialize=False)
    try:
        return training_step(make, batch, channels, candidate.patch_size, precision, device)
    except torch.OutOfMemoryError:
        return None
    except (RuntimeError, TypeError, ValueError) as error:
        size = "×".join(map(str, candidate.patch_size))
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"The network {class_name(described)} fails on {batch} patches of {size} voxels: {type(error).__name__}: {error}",
            hint="Calibrate the dimensions that it is for, or mend the plug-in.",
        ) from error
