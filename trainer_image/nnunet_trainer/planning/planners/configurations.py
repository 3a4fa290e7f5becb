"""What one planner plans for a dataset: its 2d, its 3d_fullres and, where the images are large, its cascade."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from ..planner_presets import Planner
from ..plans import normalization_schemes, preprocessing_steps
from ..plans.plugins import FIELD
from .facts import ConfigurationFacts, DatasetFacts
from .low_resolution import FullResolution, plan_lowres
from .network import describe
from .normalization_rules import mask_reason, normalization
from .patch_and_batch import patch_and_batch
from .target_spacing import fullres_spacing, shown

NNUNETS_OWN = (
    *("foreground_intensity_properties_per_channel", "median_relative_size_after_cropping", "shapes_after_crop", "spacings"),
)
"""The fields of a fingerprint that nnU-Net's extractor writes, and its planners need."""

OUR_OWN = ("extractor", FIELD)
"""Those that say how it was extracted."""


def plan_by(
    kind: Planner,
    fingerprint: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    *,
    dataset_name: str,
    reader: str,
    gpu_memory_gb: float | None,
    target_spacing: Sequence[float] | None,
    plans_name: str | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The plans of one planner, as `experiment.plan` documents its arguments; not yet checked.

    Raises:
        BadConfiguration: an amount of GPU memory that is none, or what a step of the planner refuses.
        BadData: a fingerprint that lacks a field.
    """
    name = plans_name or kind.plans_name
    gb = _positive_gb(gpu_memory_gb, kind)
    spacings, shapes = _sizes(fingerprint)
    say(f"planner {kind.name}, plans {name}, for {gb:g} GB of GPU memory")
    for line in _further_fields(fingerprint):
        say(line)
    dataset = DatasetFacts(
        planner=kind, fingerprint=fingerprint, dataset_json=dataset_json, spacings=spacings, shapes=shapes, say=say
    )

    spacing = fullres_spacing(dataset, target_spacing)
    axis = int(np.argmax(spacing))
    forward = [0, 1, 2] if kind.suppress_transpose else [axis, *(a for a in range(3) if a != axis)]
    backward = [forward.index(a) for a in range(3)]
    say(f"axes {forward}: the axis of the largest spacing comes first")
    median = _median_shape(kind, spacings / spacing * shapes)[forward]
    full = spacing[forward]
    cases = dataset_json["numTraining"]
    voxels = float(np.prod(median, dtype=np.float64) * cases)
    say(f"median shape {shown(median)} at spacing {shown(full)}, {cases} cases")

    schemes, masks = normalization(dataset)
    preprocessor = preprocessing_steps.fields(kind.preprocessing_steps, fingerprint)
    say(f"preprocessing {', then '.join(preprocessing_steps.shown(preprocessor))}")
    named = ", ".join(map(normalization_schemes.shown, schemes))
    say(f"normalization {named}; nonzero mask {'used' if any(masks) else 'not used'}: {mask_reason(fingerprint)}")
    reasons = dict[str, list[str]]()

    def configuration(label: str, at: np.ndarray, shape: Any, dataset_voxels: float) -> dict[str, Any]:
        shared = kind.shares_data and label in ("2d", "3d_fullres")
        facts = ConfigurationFacts(
            name=label,
            dataset=dataset,
            gpu_memory_gb=gb,
            axes=forward[-len(at) :],
            spacing=at,
            median_shape=shape,
            dataset_voxels=dataset_voxels,
        )
        found, batch = patch_and_batch(facts)
        reasons[label] = facts.notes  # 3d_lowres is planned many times; the last one counts
        return describe(facts, found, batch, f"{'nnUNetPlans' if shared else name}_{label}", schemes, masks, preprocessor)

    fullres = lowres = None
    if median[0] != 1:
        fullres = configuration("3d_fullres", full, median, voxels)
        lowres = plan_lowres(
            FullResolution(
                dataset=dataset,
                patch_size=fullres["patch_size"],
                spacing=full,
                median_shape=median,
                plan=partial(configuration, "3d_lowres"),
            )
        )
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


def _median_shape(kind: Planner, shapes: np.ndarray) -> np.ndarray:
    """Of the resampled images (n, 3), each half rounded to even."""
    return np.median(np.round(shapes), 0) if kind.rounds_each_shape else np.round(np.median(shapes, 0))


def _further_fields(fingerprint: Mapping[str, Any]) -> Iterator[str]:
    """A line for each field that an extractor has added."""
    for field, value in fingerprint.items():
        if field not in NNUNETS_OWN and field not in OUR_OWN:
            text = json.dumps(value, ensure_ascii=False, default=str)
            yield f"the fingerprint also has {field}: {text if len(text) <= 120 else f'{text[:120]} …'}"


def _sizes(fingerprint: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    for field in ("spacings", "shapes_after_crop", *NNUNETS_OWN[:2]):
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


def _list(array: np.ndarray) -> list[float]:
    return [float(n) for n in array]
