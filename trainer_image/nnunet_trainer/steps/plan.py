"""The step `plan`: plan experiments from a dataset's fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..artifacts import ObjectStore, artifact, open_store
from ..artifacts.writer import ArtifactWriter
from ..contract import keys
from ..contract.json_text import codec
from ..contract.progress import ProgressHook
from ..contract.report import Report
from ..contract.work_order import PlannerChoice, PlanOrder
from ..dataset import splits
from ..extensions import provenance
from ..planning.gpu_memory import CALIBRATION
from ..planning.planner_presets import planner
from ..planning.planners.experiment import plan
from ..planning.plans import Plans, beyond_nnunet, plugins, preprocessing_steps
from . import calibrations
from .common import Teller, import_plugins, read_input, report_of, with_plugins
from .raw import Source

FORMAT = 1
"""Bumped when planning answers something else to the same question."""


def carry_out(order: PlanOrder, listener: ProgressHook) -> Report:
    """Make `plans/<dataset>/<digest>`: <plansName>.json, dataset.json, report.json.

    Raises:
        BadData: the dataset changed after it was read.
        BadConfiguration: a plug-in cannot be used, an unknown planner or parameter, or a patch that breaks the plans.
    """
    tell = Teller("plan", listener)
    tell("reading")
    named = import_plugins(order)
    dataset = read_input(order.dataset, "dataset")
    Source(order.source, order.layout, order.dataset_name).refuse_changes(dataset)
    storage = open_store(order.storage)
    choices = [order.planner, *order.per_configuration.values()]
    used = [each for choice in choices for each in planner(choice.name, choice.parameters).components]
    measured_on = calibrations.device(order) if order.planner.calibrate else None
    digest = plans_digest(order, named, used, measured_on)
    prefix = keys.plans(order.dataset_name, digest)
    if there := artifact.find_whole(storage, prefix):
        return report_of("plan", there, found=True)
    dataset_json, fingerprint = dataset.read_json("dataset.json"), dataset.read_json("dataset_fingerprint.json")
    notes: list[str] = []
    calibration = calibrations.measure(order, dataset_json, fingerprint, tell, notes) if measured_on else None
    tell("planning")
    plans = plan(
        fingerprint,
        dataset_json,
        dataset_name=order.dataset_name,
        reader=dataset.manifest.summary["reader"],
        planner=order.planner.name,
        gpu_memory_gb=order.planner.gpu_memory_gb,
        target_spacing=order.planner.target_spacing,
        plans_name=order.plans_name,
        parameters=order.planner.parameters,
        patch=order.patch,
        per_configuration={
            name: {"name": c.name, "gpuMemoryGB": c.gpu_memory_gb, "targetSpacing": c.target_spacing, "parameters": c.parameters}
            for name, c in order.per_configuration.items()
        },
        calibration=calibration,
        notes=notes,
    )
    tell("uploading")
    summary = {
        **describe(plans, dataset.read_json("splits_final.json")),
        "planner": order.planner.name,
        "warnings": [*preprocessing_steps.warnings(plans), *beyond_nnunet.lines(plans)],
    }
    detail = {"notes": notes, **({"calibration": calibration} if calibration else {})}
    write(storage, prefix, digest, plans, dataset_json, summary, detail, {"dataset": order.dataset.digest})
    return report_of("plan", artifact.require(storage, "plans", digest, prefix), found=False)


def plans_digest(
    order: PlanOrder,
    plugins: Mapping[str, str] | None = None,
    used: Iterable[provenance.Used] = (),
    measured_on: calibrations.MeasuredOn | None = None,
) -> str:
    """The digest of the plans: of all that decides them.

    Args:
        order: the order.
        plugins: the digests of those that it names.
        used: the planners and their steps.
        measured_on: where the planner is calibrated; another GPU may come to other plans.
    """
    return keys.digest(
        "plans",
        FORMAT,
        order.dataset.digest,
        _deciding(order.planner),
        {name: _deciding(choice) for name, choice in order.per_configuration.items()},
        order.plans_name,
        order.patch,
        *with_plugins(plugins or {}, used),
        *([codec.to_plain(measured_on)] if measured_on else []),
    )


def _deciding(choice: PlannerChoice) -> dict[str, Any]:
    """Whether to calibrate is no part of it: where it was calibrated is."""
    return {field: value for field, value in codec.to_plain(choice).items() if field != "calibrate"}


def describe(plans: dict[str, Any], folds: Sequence[splits.Split]) -> dict[str, Any]:
    """What a status shows of plans, and of a cascade's second stage how many folds of the first predict its cases.

    Args:
        plans: the plans.
        folds: the dataset's splits_final.json. Where its folds are no cross-validation, which of them are needed is not known here.
    """
    read, all_of_them = Plans(plans), bool(folds) and splits.validates_each_case_once(folds)
    configurations = {}
    for name in read.configuration_names:
        found = read.configuration(name)
        memory = found.estimated_gpu_memory_gb
        configurations[name] = {
            "patchSize": found.patch_size,
            "batchSize": found.batch_size,
            "spacing": [round(s, 6) for s in found.spacing],
            "medianShape": [round(float(v), 2) for v in found.median_image_size_in_voxels],
            "estimatedGpuMemoryGB": None if memory is None else round(float(memory), 2),
            "networkDigest": found.network_digest,
            "preprocessable": found.preprocessable,
            **({"previousStage": found.previous_stage} if found.previous_stage else {}),
            **({"previousStageFolds": len(folds)} if found.previous_stage and all_of_them else {}),
        }
    summary = {"plansName": read.name, "datasetName": read.dataset_name, "configurations": configurations}
    measured = plans.get(CALIBRATION)
    if measured:
        summary["calibration"] = measured["about"]
    return {**summary, **({"plugins": about} if (about := plugins.described(plans)) else {})}


def write(
    storage: ObjectStore,
    prefix: str,
    digest: str,
    plans: dict[str, Any],
    dataset_json: dict[str, Any],
    summary: dict[str, Any],
    detail: dict[str, Any],
    inputs: dict[str, Any],
) -> None:
    """Write a plans artifact."""
    writer = ArtifactWriter(storage, prefix, "plans", digest)
    writer.put_json(f"{plans['plans_name']}.json", plans)
    writer.put_json("dataset.json", dataset_json)
    writer.put_json("report.json", {**summary, **detail})
    writer.finish(summary, inputs)
