"""Freezes what this version's contract writes, for the tests of all later versions to read: `frozen/<version>/`.

Once a release, from the folder `tests`: `python -m trainer.contract.freeze`. A folder that is there is never written again.

- `orders.json`: work orders as they stand in ConfigMaps, by a name;
- `reports.json`, `progress.json`: termination messages, answers of `/progress`;
- `fields.json`: each dataclass of the contract with its fields' types and defaults;
- `digests.json`: the digest of what each order makes, where it follows from the order alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import typing
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import pod, report, work_order
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Artifact, Error, Report

FROZEN = Path(__file__).parent / "frozen"
ORDERS = Path(__file__).parents[2] / "operator/reconcile/orders/frozen"
"""The operator's own frozen orders: those that it makes today, from specs that say nothing and from specs that say all."""

WEIGHTS = "ab" * 32
"""The sha256 of pretrained weights, where an order has some."""
PLUGINS = {"losses": "LOSSES = ()\n", "blocks": "BLOCKS = ()\n"}

REPORTS = {
    "dataset": Report(
        step="dataset",
        artifacts=[Artifact(kind="dataset", uri="s3://team/datasets/Dataset004_Hippocampus/0a", digest="0a" * 32)],
        summary={"cases": 260, "channels": {"0": "MRI"}, "labels": {"Anterior": "1"}, "warnings": []},
        detail="s3://team/datasets/Dataset004_Hippocampus/0a/report.json",
    ),
    "train": Report(
        step="train",
        artifacts=[Artifact(kind="run", uri="s3://team/runs/default/run/0b", digest="0b" * 32)],
        summary={"epochs": 1000, "pseudoDice": 0.91, "validationDice": 0.9, "seconds": 12.5, "found": False},
    ),
    "failed": Report(
        step="train",
        summary={"epoch": 3},
        error=Error(code=65, reason="InvalidCases", message="case_003: the label holds the value 7.", hint="Mend it."),
        detail="s3://team/reports/x/report.json",
    ),
    "bare": Report(step="preprocess"),
}
PROGRESS = {
    "starting": Progress(step="train", phase="starting"),
    "training": Progress(
        step="train",
        phase="training",
        done=3,
        total=1000,
        epoch=3,
        epochs=1000,
        train_loss=-0.5,
        val_loss=-0.4,
        pseudo_dice=0.8,
        ema_pseudo_dice=0.7,
        learning_rate=0.01,
        seconds_per_epoch=60.5,
        eta_seconds=60318.5,
        resumed_from_epoch=1,
        checkpoint_epoch=3,
        checkpoint_uri="s3://team/runs/default/run/0b/checkpoints/3.pth",
        checkpoint_sha256="0c" * 32,
        gpu="NVIDIA H100",
        updated_at=1.5,
        warnings=["the loss is NaN"],
    ),
}


def dataclasses_in(kind: Any) -> Iterator[type]:
    """A dataclass and all that its fields hold."""
    if dataclasses.is_dataclass(kind):
        yield typing.cast(type, kind)
        for hint in typing.get_type_hints(kind).values():
            yield from dataclasses_in(hint)
    for argument in typing.get_args(kind):
        yield from dataclasses_in(argument)


def contract() -> dict[str, type]:
    """The dataclasses of the contract, by name."""
    return {kind.__name__: kind for root in (*work_order.ORDERS.values(), Report, Progress) for kind in dataclasses_in(root)}


def fields_of(kind: type) -> dict[str, dict[str, Any]]:
    """Of each field, by its name in JSON: its type, and its default if it has one."""
    found = {}
    for item in dataclasses.fields(kind):
        entry: dict[str, Any] = {"type": item.type}
        if item.default is not dataclasses.MISSING:
            entry["default"] = codec.to_plain(item.default)
        elif item.default_factory is not dataclasses.MISSING:
            entry["default"] = codec.to_plain(item.default_factory())
        found[codec.camel(item.name)] = entry
    return found


def digest_of(order: work_order.WorkOrder) -> str | None:
    """The digest of what an order makes; None where the raw data or the plans' text decide too."""
    from nnunet_trainer.steps import dataset, plan, raw, train, transfer  # torch
    from nnunet_trainer.training.recipes import presets, recipe

    match order:
        case work_order.DatasetOrder():
            return raw.SourceFiles(source="s3://hospital/raw", layout=order.layout).digest(*dataset.choices(order))
        case work_order.PlanOrder():
            return plan.plans_digest(order)
        case work_order.TransferOrder():
            return transfer.plans_digest(order)
        case work_order.TrainOrder():
            resolved = presets.resolve(order.trainer.name, order.trainer.base, order.trainer.recipe)
            with tempfile.TemporaryDirectory() as folder:
                for name, text in PLUGINS.items():
                    (Path(folder) / name).mkdir()
                    (Path(folder) / name / "module.py").write_text(text)
                os.environ[pod.ENV_PLUGINS] = folder
                try:
                    return train.run_digest(order, recipe.digested(resolved), WEIGHTS if order.pretrained else None)
                finally:
                    del os.environ[pod.ENV_PLUGINS]
    return None


def write(version: str) -> None:
    """Write the folder of a version."""
    folder = FROZEN / version
    folder.mkdir(parents=True)
    orders = {
        f"{file.stem}/{name}": order
        for file in sorted(ORDERS.glob("*.json"))
        for name, order in json.loads(file.read_text()).items()
    }
    read = {name: work_order.decode(json.dumps(order)) for name, order in orders.items()}
    digests = {name: digest for name, order in read.items() if (digest := digest_of(order))}
    for name, content in {
        "orders": orders,
        "reports": {name: json.loads(report.encode(value)) for name, value in REPORTS.items()},
        "progress": {name: codec.to_plain(value) for name, value in PROGRESS.items()},
        "fields": {name: fields_of(kind) for name, kind in contract().items()},
        "digests": digests,
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write(metadata.version("nnunet-operator"))
