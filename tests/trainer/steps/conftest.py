"""A chain of steps on the shipped images, as Jobs run them but in one process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.artifacts.location import child
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import (
    DatasetOrder,
    Input,
    Location,
    PlannerChoice,
    PlanOrder,
    PreprocessOrder,
    TrainerChoice,
    TrainOrder,
    TransferOrder,
)
from nnunet_trainer.dataset import parallel
from nnunet_trainer.fingerprint import extraction
from nnunet_trainer.steps import dataset, plan, preprocess, train, transfer
from support.datasets import copy_examples
from support.s3 import s3, s3_server  # noqa: F401
from support.trainings import small_networks

TARGET, SOURCE = "Dataset004_Hippocampus", "Dataset104_HippocampusSource"
SMALL = {
    "configurations": {
        "3d_fullres": {
            "batch_size": 2,
            "patch_size": [16, 16, 16],
            "architecture": small_networks.ARCHITECTURE,
        }
    }
}
RECIPE = {"epochs": 2, "iterationsPerEpoch": 2, "validationIterations": 1, "augmentation": "noMirroring"}


@dataclass
class Chain:
    """Orders for one storage, and the reports so far."""

    storage: Location
    raw: Path | None = None
    heard: list[Progress] = field(default_factory=list)

    @property
    def store(self) -> ObjectStore:
        return open_store(self.storage)

    def source(self, name: str) -> Location:
        if self.raw is not None:
            return Location(uri=f"file://{self.raw}/{name}")
        return child(self.storage, f"raw/{name}")

    def given(self, report: Report, kind: str) -> Input:
        made = report.artifact(kind)
        assert made is not None, report
        return Input(location=replace(self.storage, uri=made.uri), digest=made.digest)

    def dataset(self, name: str = TARGET, **changes: object) -> Report:
        order = DatasetOrder(name=name, source=self.source(name), storage=self.storage, **changes)  # type: ignore[arg-type]
        return dataset.carry_out(order, self.heard.append)

    def plan(self, read: Report, name: str = TARGET, **changes: object) -> Report:
        fields = {"planner": PlannerChoice(), "patch": SMALL, **changes}
        order = PlanOrder(
            dataset_name=name,
            dataset=self.given(read, "dataset"),
            source=self.source(name),
            storage=self.storage,
            **fields,  # type: ignore[arg-type]
        )
        return plan.carry_out(order, self.heard.append)

    def transfer(self, plans: Report, theirs: Report, read: Report, name: str = SOURCE, **changes: object) -> Report:
        order = TransferOrder(
            from_plans=self.given(plans, "plans"),
            from_dataset=self.given(theirs, "dataset"),
            dataset_name=name,
            dataset=self.given(read, "dataset"),
            source=self.source(name),
            storage=self.storage,
            plans_name="nnUNetPlans_target",
            **changes,  # type: ignore[arg-type]
        )
        return transfer.carry_out(order, self.heard.append)

    def preprocess(self, read: Report, plans: Report, name: str = TARGET, **changes: object) -> Report:
        fields = {"configuration": "3d_fullres", **changes}
        order = PreprocessOrder(
            dataset_name=name,
            dataset=self.given(read, "dataset"),
            source=self.source(name),
            plans=self.given(plans, "plans"),
            storage=self.storage,
            **fields,  # type: ignore[arg-type]
        )
        return preprocess.carry_out(order, self.heard.append)

    def train_order(self, data: Report, plans: Report, name: str = TARGET, **changes: object) -> TrainOrder:
        fields = {
            "fold": "0",
            "seed": 1,
            "gpus_per_node": 0,
            "trainer": TrainerChoice(name="tiny", base="nnUNetTrainer", recipe=RECIPE),
            "validation": "Skip",
            "configuration": "3d_fullres",
            **changes,
        }
        return TrainOrder(
            namespace="ns",
            run="run",
            dataset_name=name,
            preprocessed=self.given(data, "preprocessed"),
            plans=self.given(plans, "plans"),
            storage=self.storage,
            **fields,  # type: ignore[arg-type]
        )

    def train(self, order: TrainOrder) -> Report:
        return train.carry_out(order, self.heard.append)


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """What costs time and changes nothing here: a pool of workers, and a fingerprint of 1e8 samples."""
    patch.setattr(parallel, "cpu_limit", lambda: 1)
    patch.setattr(extraction, "TOTAL_SAMPLES", 1e5)


@pytest.fixture(scope="module", autouse=True)
def plots() -> Iterator[None]:
    """Drawing progress.png takes longer than such a training does: a file of that name goes into the store instead."""

    def drawn(logging: object, folder: Path) -> Path:
        (folder / "progress.png").write_bytes(b"a picture")
        return folder / "progress.png"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnunet_trainer.training.reporting.reporter.progress_plot", drawn)
        yield


@pytest.fixture
def pod_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "scratch"))
    make_quick(monkeypatch)
    return tmp_path / "scratch"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return copy_examples(tmp_path / "raw")


@pytest.fixture
def local(tmp_path: Path, raw: Path, pod_scratch: Path) -> Chain:
    """Raw data and artifacts in folders."""
    return Chain(Location(uri=f"file://{tmp_path}/store"), raw)


@pytest.fixture
def remote(s3: Location, raw: Path, pod_scratch: Path) -> Chain:  # noqa: F811
    """Raw data and artifacts in S3."""
    store = open_store(child(s3, "raw"))
    for path in raw.rglob("*"):
        if path.is_file():
            store.put_file(path, path.relative_to(raw).as_posix())
    return Chain(s3)


class Prepared(NamedTuple):
    """A dataset that is ready to be trained on."""

    chain: Chain
    read: Report
    plans: Report
    data: Report


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(pod.ENV_SCRATCH, str(folder / "scratch"))
        make_quick(patch)
        chain = Chain(Location(uri=f"file://{folder}/store"), copy_examples(folder / "raw"))
        read = chain.dataset()
        plans = chain.plan(read)
        return Prepared(chain, read, plans, chain.preprocess(read, plans))


@pytest.fixture
def prepared(prepared_once: Prepared, pod_scratch: Path) -> Prepared:
    """Shared by all tests, which must not change it; each has a scratch folder of its own."""
    return prepared_once._replace(chain=Chain(prepared_once.chain.storage, prepared_once.chain.raw))
