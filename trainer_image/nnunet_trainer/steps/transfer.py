"""The step `transfer`: make another dataset's plans fit this one."""

from __future__ import annotations

from collections.abc import Mapping

from ..artifacts import artifact, open_store
from ..contract import keys
from ..contract.progress import ProgressHook
from ..contract.report import Report
from ..contract.work_order import TransferOrder
from ..planning.plans import preprocessing_steps
from ..planning.transfer import transfer
from . import plan
from .common import Teller, import_plugins, read_input, report_of, with_plugins
from .raw import Source

FORMAT = 1
"""Bumped when a transfer answers something else to the same question."""


def carry_out(order: TransferOrder, listener: ProgressHook) -> Report:
    """Make `plans/<dataset>/<digest>` from the plans of another dataset, with the compatibility report.

    Raises:
        BadData: the dataset changed after it was read.
        BadConfiguration: what cannot work, what differs with onMismatch: Fail, a patch that breaks the plans.
    """
    tell = Teller("transfer", listener)
    tell("reading")
    named = import_plugins(order)
    dataset, theirs = read_input(order.dataset, "dataset"), read_input(order.from_plans, "plans")
    from_dataset = read_input(order.from_dataset, "dataset")
    Source(order.source, order.layout, order.dataset_name).refuse_changes(dataset)
    storage = open_store(order.storage)
    digest = plans_digest(order, named)
    prefix = keys.plans(order.dataset_name, digest)
    if there := artifact.find_whole(storage, prefix):
        return report_of("transfer", there, found=True)
    tell("transferring")
    dataset_json, fingerprint = dataset.read_json("dataset.json"), dataset.read_json("dataset_fingerprint.json")
    plans, lines = transfer(
        theirs.read_json(f"{theirs.manifest.summary['plansName']}.json"),
        dataset_name=order.dataset_name,
        dataset_json=dataset_json,
        reader=dataset.manifest.summary["reader"],
        plans_name=order.plans_name,
        fingerprint=fingerprint,
        source_dataset_json=from_dataset.read_json("dataset.json"),
        normalization=order.normalization,
        intensity_properties=order.intensity_properties,
        on_mismatch=order.on_mismatch,
        patch=order.patch,
    )
    tell("uploading")
    differs = [str(line) for line in lines if line.verdict == "differs"]
    kept = preprocessing_steps.kept(plans, fingerprint) if order.intensity_properties == "Recompute" else {}
    summary = {
        **plan.describe(plans, dataset.read_json("splits_final.json")),
        "planner": plans.get("experiment_planner_used"),
        "warnings": [*differs, *kept.values(), *preprocessing_steps.warnings(plans)],
        "compatibility": [line.as_dict() for line in lines],
    }
    inputs = {"plans": order.from_plans.digest, "dataset": order.dataset.digest}
    plan.write(storage, prefix, digest, plans, dataset_json, summary, {}, inputs)
    return report_of("transfer", artifact.require(storage, "plans", digest, prefix), found=False)


def plans_digest(order: TransferOrder, plugins: Mapping[str, str] | None = None) -> str:
    """The digest of the plans: of all that decides them, the plug-ins that the order names too."""
    choices = (order.plans_name, order.normalization, order.intensity_properties, order.on_mismatch, order.patch)
    return keys.digest(
        "transfer", FORMAT, order.from_plans.digest, order.dataset.digest, *choices, *with_plugins(plugins or {}, ())
    )
