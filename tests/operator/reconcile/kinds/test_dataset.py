"""A Dataset: when its data is said to be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import nnunet_trainer
import pytest
from nnunet_operator.reconcile.kinds.dataset import DATA_FAULTS
from nnunet_trainer.contract.report import Error, Report
from support.objects import dataset
from support.world import MemoryWorld, report_of


@pytest.mark.parametrize(
    ("code", "reason", "verified"),
    [
        (65, "InvalidCases", "False"),
        (65, "InvalidDatasetJson", "False"),
        (65, "TooFewCases", "False"),
        (65, "DatasetChanged", "Unknown"),
        (78, "UnknownReader", "Unknown"),
        (74, "StorageUnreachable", "Unknown"),
        (74, "NoSuchBucket", "Unknown"),
        (74, None, "Unknown"),
        (1, None, "Unknown"),
    ],
)
def test_only_faults_of_the_data_say_that_it_is_not_verified(code: int, reason: str | None, verified: str) -> None:
    world = MemoryWorld()
    world.put(dataset() | {"spec": dataset()["spec"] | {"failurePolicy": {"maxRestarts": 0}}})
    world.settle()
    error = Error(code=code, reason=reason, message="something") if reason else None
    world.fail(world.job(step="dataset"), code, error=error)
    world.settle()
    assert world.condition("Dataset", "data")[0] == "False"
    assert world.condition("Dataset", "data", "Verified")[0] == verified


def test_each_fault_of_the_data_is_known_as_one() -> None:
    root = Path(nnunet_trainer.__file__).parent
    steps = [root / "steps" / f"{name}.py" for name in ("dataset", "raw", "msd")]
    files = [*(root / "dataset").rglob("*.py"), *(root / "fingerprint").rglob("*.py"), *steps]
    raised = {name for file in files for name in re.findall(r'BadData\(\s*"(\w+)"', file.read_text())}
    assert {"InvalidCases", "InvalidDatasetJson"} <= raised
    assert raised - {"DatasetChanged"} <= DATA_FAULTS


def test_what_is_odd_about_the_data_is_told_once() -> None:
    world = MemoryWorld()
    world.put(dataset())
    world.settle()
    job = world.job(step="dataset")
    report = report_of(job)
    odd = [
        "case_1: labelsTr/case_1.nii.gz: origin (5, 0, 0), but the image has (0, 0, 0) (and 3 more cases)",
        "fold 0 has a in both.",
    ]
    world.finish(job, Report(step="dataset", artifacts=report.artifacts, summary={**report.summary, "warnings": odd}))
    world.settle()
    status, _, message = world.condition("Dataset", "data")
    assert (status, world.status("Dataset", "data")["warnings"]) == ("True", odd)
    assert message.endswith(f". Warning: {odd[0]} (and 1 more in status.warnings)")
    assert world.condition("Dataset", "data", "Verified")[2] == "12 cases, 2 warnings in status.warnings"
    told = [event for _, event in world.events if event.reason == "DatasetWarning"]
    assert [(event.type, event.message) for event in told] == [("Warning", text) for text in odd]
    world.edit("Dataset", "data", rerun="again")
    world.settle()
    world.finish(world.job(step="dataset"), report_of(world.job(step="dataset"), "2"))
    world.settle()
    assert "warnings" not in world.status("Dataset", "data")
    assert len([event for _, event in world.events if event.reason == "DatasetWarning"]) == 2
