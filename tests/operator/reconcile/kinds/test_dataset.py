"""A Dataset: when its data is said to be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import nnunet_trainer
import pytest
from nnunet_operator.reconcile.kinds.dataset import DATA_FAULTS
from nnunet_trainer.contract.report import Error
from support.objects import dataset
from support.world import MemoryWorld


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
