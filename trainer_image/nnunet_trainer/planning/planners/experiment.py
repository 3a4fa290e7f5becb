"""Planning: nnU-Net's ExperimentPlanner and its residual relatives as one function of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.description import channel_names

from ..names import MASKED, NORMALIZATION
from ..planner_presets import Planner, planner
from ..plans_patch import merge
from ..validate import validate
from .low_resolution import plan_lowres
from .network import describe, plan_network
from .target_spacing import fullres_spacing, shown

MASK_BELOW = 3 / 4.0


def plan(
    fingerprint: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    *,
    dataset_name: str,
    reader: str,
    planner: str = "ExperimentPlanner",
    gpu_memory_gb: float | None = None,
    target_spacing: Sequence[float] | None = None,
    plans_name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    patch: Mapping[str, Any] | None = None,
    per_configuration: Mapping[str, Any] | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """Plan the experiments of a dataset.

    Args:
        fingerprint: dataset_fingerprint.json's content.
        dataset_json: dataset.json's content; channels, labels and numTraining are read.
        dataset_name: DatasetXXX_Name.
        reader: the image reader's name.
        planner: nnU-Net's class name.
        gpu_memory_gb: to plan for; the planner's own reference GPU when None.
        target_spacing: millimetres along the file's z, y, x, instead of the median.
        plans_name: instead of the planner's own.
        parameters: fields of `planner_presets.Planner` to change.
        patch: merged into the plans: objects merge, lists replace, null means null.
        per_configuration: configuration to {name, gpu_memory_gb, target_spacing, parameters}: its own planner.
        notes: receives one line for each decision.

    Returns:
        plans.json's content, keys in nnU-Net's order.

    Raises:
        BadConfiguration: an unknown planner, parameter or configuration; a patch that breaks the plans, with the field.
        BadData: a fingerprint that lacks a field.
    """
    plans = _plan(
        fingerprint, dataset_json, dataset_name, reader, planner, gpu_memory_gb, target_spacing, plans_name, parameters, notes
    )
    for name, choice in (per_configuration or {}).items():
        own = _plan(
            fingerprint,
            dataset_json,
            dataset_name,
            reader,
            _option(choice, "name") or planner,
            _option(choice, "gpu_memory_gb", "gpuMemoryGB"),
            _option(choice, "target_spacing", "targetSpacing"),
            plans["plans_name"],
            _option(choice, "parameters"),
            notes,
        )
        if name not in own["configurations"]:
            known = ", ".join(own["configurations"])
            raise BadConfiguration("UnknownConfiguration", f"planner.perConfiguration.{name}: planned are {known}.")
        if own["transpose_forward"] != plans["transpose_forward"]:
            raise BadConfiguration(
                "InvalidPlans", f"planner.perConfiguration.{name}: another target spacing would transpose its axes differently."
            )
        plans["configurations"][name] = own["configurations"][name]
    if patch:
        plans = merge(plans, patch)
    validate(plans, dataset_json)
    return plans


def _plan(
    fingerprint: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    dataset_name: str,
    reader: str,
    planner_name: str,
    gpu_memory_gb: float | None,
    target_spacing: Sequence[float] | None,
    plans_name: str | None,
    parameters: Mapping[str, Any] | None,
    notes: list[str] | None,
) -> dict[str, Any]:
    kind = planner(planner_name, dict(parameters or {}))
    name = plans_name or kind.plans_name
    say = notes.append if notes is not None else (lambda line: None)
    gb = _positive_gb(gpu_memory_gb, kind)
    spacings, shapes = _sizes(fingerprint)
    say(f"planner {kind.name}, plans {name}, for {gb:g} GB of GPU memory")

    spacing = fullres_spacing(kind, spacings, shapes, target_spacing, say)
    axis = int(np.argmax(spacing))
    forward = [0, 1, 2] if kind.suppress_transpose else [axis, *(a for a in range(3) if a != axis)]
    backward = [forward.index(a) for a in range(3)]
    say(f"axes {forward}: the axis of the largest spacing comes first")
    new_shapes = [
        [round(float(old / new * size)) for old, new, size in zip(s, spacing, shape, strict=True)]
        for s, shape in zip(spacings, shapes, strict=True)
    ]
    median = np.median(new_shapes, 0)[forward]
    full = spacing[forward]
    cases = dataset_json["numTraining"]
    voxels = float(np.prod(median, dtype=np.float64) * cases)
    say(f"median shape {shown(median)} at spacing {shown(full)}, {cases} cases")

    schemes, masks = normalization(fingerprint, dataset_json)
    say(f"normalization {', '.join(schemes)}; nonzero mask {'used' if any(masks) else 'not used'}: {_mask_reason(fingerprint)}")
    outputs, reasons = len(dataset_json["labels"]), dict[str, list[str]]()

    def configuration(label: str, at: np.ndarray, shape: Any, dataset_voxels: float) -> dict[str, Any]:
        shared = kind.shares_data and label in ("2d", "3d_fullres")
        network = plan_network(kind, gb, at, shape, dataset_voxels, outputs)
        reasons[label] = network.notes  # 3d_lowres is planned many times; the last one counts
        return describe(kind, network, f"{'nnUNetPlans' if shared else name}_{label}", shape, at, schemes, masks)

    fullres = lowres = None
    if median[0] != 1:
        fullres = configuration("3d_fullres", full, median, voxels)
        lowres = plan_lowres(kind, fullres, full, median, cases, configuration, say)
        if lowres is not None:
            lowres["batch_dice"] = False
        fullres["batch_dice"] = lowres is not None
    else:
        say("no 3-D configuration: the images have one slice")
    two = configuration("2d", full[1:], median[1:], voxels)
    for label, lines in reasons.items():
        if label != "3d_lowres" or lowres is not None:
            for line in lines:
                say(f"{label}: {line}")
    two["batch_dice"] = True

    configurations: dict[str, Any] = {"2d": two}
    if lowres is not None:
        configurations["3d_lowres"] = {**lowres, "next_stage": "3d_cascade_fullres"}
    if fullres is not None:
        configurations["3d_fullres"] = fullres
    if lowres is not None:
        configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    return {
        "dataset_name": dataset_name,
        "plans_name": name,
        "original_median_spacing_after_transp": _list(np.median(spacings, 0)[forward]),
        "original_median_shape_after_transp": [round(float(n)) for n in np.median(shapes, 0)[forward]],
        "image_reader_writer": reader,
        "transpose_forward": forward,
        "transpose_backward": backward,
        "configurations": configurations,
        "experiment_planner_used": kind.name,
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(c): dict(p) for c, p in fingerprint["foreground_intensity_properties_per_channel"].items()
        },
    }


def normalization(fingerprint: Mapping[str, Any], dataset_json: Mapping[str, Any]) -> tuple[list[str], list[bool]]:
    """The scheme of each channel by its name, and whether it is taken inside the nonzero mask only."""
    schemes = [NORMALIZATION.get(str(n).casefold(), MASKED) for n in channel_names(dict(dataset_json)).values()]
    small = fingerprint["median_relative_size_after_cropping"] < MASK_BELOW
    return schemes, [bool(small and scheme == MASKED) for scheme in schemes]


def _mask_reason(fingerprint: Mapping[str, Any]) -> str:
    return f"cropping to it leaves {100 * fingerprint['median_relative_size_after_cropping']:.1f} % of a median image (limit 75 %)"


def _sizes(fingerprint: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    fields = ("spacings", "shapes_after_crop", "foreground_intensity_properties_per_channel", "median_relative_size_after_cropping")
    for field in fields:
        if not isinstance(fingerprint, Mapping) or field not in fingerprint:
            raise BadData("InvalidFingerprint", f"dataset_fingerprint.json: field {field} is missing.", hint="Extract it again.")
    spacings, shapes = np.array(fingerprint["spacings"], float), np.array(fingerprint["shapes_after_crop"])
    if spacings.ndim != 2 or spacings.shape[1] != 3 or spacings.shape != shapes.shape or not (spacings > 0).all():
        raise BadData(
            "InvalidFingerprint", "dataset_fingerprint.json: spacings and shapes_after_crop are not three positive numbers a case."
        )
    return spacings, shapes


def _positive_gb(gb: float | None, kind: Planner) -> float:
    if gb is None:
        return kind.reference_gb
    if isinstance(gb, bool) or not isinstance(gb, (int, float)) or gb <= 0:
        raise BadConfiguration(
            "InvalidGpuMemory", f"The GPU memory to plan for is {gb!r}, expected a positive number of gigabytes."
        )
    return gb


def _option(choice: Any, *names: str) -> Any:
    for name in names:
        value = choice.get(name) if isinstance(choice, Mapping) else getattr(choice, name, None)
        if value is not None:
            return value
    return None


def _list(array: np.ndarray) -> list[float]:
    return [float(n) for n in array]
