"""Planning: nnU-Net's ExperimentPlanner and its residual relatives as one function of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadConfiguration, BadData

from .. import beyond_nnunet, normalization_schemes, preprocessing_steps
from ..gpu_memory import CALIBRATION, basis, references, unsuited
from ..planner_presets import PLANNERS, Planner, planner
from ..plans import Configuration, Plans
from ..plans_patch import merge
from ..plugins import FIELD, record
from ..validate import validate
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
    calibration: Mapping[str, Any] | None = None,
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
        calibration: of this planner, as `nnunet-trainer calibrate` writes it: its references. A configuration whose planner or
            network is another keeps its own.
        notes: receives one line for each decision.

    Returns:
        plans.json's content, keys in nnU-Net's order.

    Raises:
        BadConfiguration: an unknown planner, parameter or configuration; a patch that breaks the plans, with the field.
        BadData: a fingerprint that lacks a field.
    """
    _refuse_taken(planner, plans_name)
    say = notes.append if notes is not None else (lambda line: None)
    main = _Choice(planner, gpu_memory_gb, target_spacing, parameters or {})
    measured = references(calibration, main.planner)
    choices = [main.measured(measured, say)]
    if calibration is not None:
        say(f"{calibration.get('about')}: {', '.join(f'{name} {value:,.10g}' for name, value in measured.items())}")
    plans = _plan(fingerprint, dataset_json, dataset_name, reader, choices[0], plans_name, notes)
    for name, given in (per_configuration or {}).items():
        choice = _Choice(
            _option(given, "name") or planner,
            _option(given, "gpu_memory_gb", "gpuMemoryGB"),
            _option(given, "target_spacing", "targetSpacing"),
            _option(given, "parameters") or {},
        )
        if calibration is not None and (reason := unsuited(calibration, choice.planner)):
            say(f"{name}: not by the calibration, {reason}")
        else:
            choice = choice.measured(measured, say)
        own = _plan(fingerprint, dataset_json, dataset_name, reader, choice, plans["plans_name"], notes)
        if name not in own["configurations"]:
            known = ", ".join(own["configurations"])
            raise BadConfiguration("UnknownConfiguration", f"planner.perConfiguration.{name}: planned are {known}.")
        if own["transpose_forward"] != plans["transpose_forward"]:
            raise BadConfiguration(
                "InvalidPlans", f"planner.perConfiguration.{name}: another target spacing would transpose its axes differently."
            )
        if choice.name != planner:
            _keep_apart(plans, own, name, choice)
        plans["configurations"][name] = own["configurations"][name]
        choices.append(choice)
    if patch:
        plans = merge(plans, patch)
        normalization_schemes.complete(plans)
    if calibration is not None:
        kept = {key: calibration[key] for key in (*basis(main.planner), "networks", "about") if key in calibration}
        plans[CALIBRATION] = {**kept, "parameters": measured}
    validate(plans, dataset_json)
    record(plans, [used for choice in choices for used in choice.planner.components])
    if notes is not None:
        notes += [*preprocessing_steps.warnings(plans), *beyond_nnunet.lines(plans)]
    return plans


def _refuse_taken(name: str, plans_name: str | None) -> None:
    """A plug-in's planner under another planner's plans name would write over the plans and the data of that."""
    if plans_name is None or name not in PLANNERS or PLANNERS[name].plugin is None:
        return
    for other in PLANNERS:
        if other != name and PLANNERS[other].make().plans_name == plans_name:
            raise BadConfiguration(
                "PlansNameTaken",
                f"The plans name {plans_name} is that of {other}: plans by {name} would write over them and their data.",
                hint="Choose another plans name, or none.",
            )


@dataclass(frozen=True, slots=True)
class _Choice:
    """A planner by name, and what was changed about it."""

    name: str
    gpu_memory_gb: float | None
    target_spacing: Sequence[float] | None
    parameters: dict[str, Any]

    @property
    def planner(self) -> Planner:
        return planner(self.name, self.parameters)

    def measured(self, references: Mapping[str, float], say: Callable[[str], None]) -> _Choice:
        """With the references that were measured, which go before those that were given."""
        if not references:
            return self
        for name, value in references.items():
            if name in self.parameters:
                say(f"{name} {self.parameters[name]:,.10g} of the parameters gives way to what was measured, {value:,.10g}")
        # An architecture's own batch would not come with it where references are given.
        batches = {key: value for key, value in basis(self.planner).items() if key.startswith("referenceBatch")}
        return replace(self, parameters={**self.parameters, **batches, **references})


def _keep_apart(plans: dict[str, Any], own: dict[str, Any], name: str, choice: _Choice) -> None:
    """Data that another planner makes otherwise bears that planner's name: it would write over the data of these plans' own."""
    found = own["configurations"][name]
    if "data_identifier" not in found or name not in plans["configurations"]:
        return
    fields = [Configuration(name, each["configurations"][name], Plans(each)).preprocessing_fields() for each in (plans, own)]
    if fields[0] != fields[1]:
        found["data_identifier"] = f"{choice.planner.plans_name}_{name}"


def _plan(
    fingerprint: Mapping[str, Any],
    dataset_json: Mapping[str, Any],
    dataset_name: str,
    reader: str,
    choice: _Choice,
    plans_name: str | None,
    notes: list[str] | None,
) -> dict[str, Any]:
    kind = choice.planner
    name = plans_name or kind.plans_name
    say = notes.append if notes is not None else (lambda line: None)
    gb = _positive_gb(choice.gpu_memory_gb, kind)
    spacings, shapes = _sizes(fingerprint)
    say(f"planner {kind.name}, plans {name}, for {gb:g} GB of GPU memory")
    for line in _further_fields(fingerprint):
        say(line)
    dataset = DatasetFacts(
        planner=kind, fingerprint=fingerprint, dataset_json=dataset_json, spacings=spacings, shapes=shapes, say=say
    )

    spacing = fullres_spacing(dataset, choice.target_spacing)
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


def _option(choice: Any, *names: str) -> Any:
    for name in names:
        value = choice.get(name) if isinstance(choice, Mapping) else getattr(choice, name, None)
        if value is not None:
            return value
    return None


def _list(array: np.ndarray) -> list[float]:
    return [float(n) for n in array]
