from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nnunet_trainer.contract import pod, report, work_order
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import Input, Location, TrainOrder
from support.ports import free_port

DOUBLES = Path(__file__).parent / "doubles"
PATIENCE = 180
"""Seconds for what takes two where the machine is idle."""


class Pod:
    """A pod's process with its mounts, as folders of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: list[subprocess.Popen[str]] = []

    def order(self, **fields: object) -> TrainOrder:
        store = Location(uri=f"file://{self.folder}/store")
        given = {"gpus_per_node": 0, **fields}
        return TrainOrder(
            namespace="n",
            run="r",
            dataset_name="Dataset004_Hippocampus",
            preprocessed=Input(location=store, digest="p"),
            plans=Input(location=store, digest="q"),
            configuration="2d",
            fold="0",
            seed=1,
            storage=store,
            **given,  # type: ignore[arg-type]
        )

    def start(self, does: str, order: str | TrainOrder | None = None, **environment: str) -> subprocess.Popen[str]:
        text = order if isinstance(order, str) else work_order.encode(order or self.order())
        (self.folder / "order.json").write_text(text)
        own = {
            "STEP_DOES": does,
            "PYTHONPATH": str(DOUBLES),
            pod.ENV_SCRATCH: str(self.folder / "scratch"),
            pod.ENV_TERMINATION_LOG: str(self.folder / "termination-log"),
            pod.ENV_POD_IP: "127.0.0.1",
            "NNUNET_PROGRESS_PORT": str(self.port),
        }
        command = [sys.executable, "-m", "nnunet_trainer.cli", "run", str(self.folder / "order.json")]
        process = subprocess.Popen(
            command,
            env={**os.environ, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def run(self, does: str, order: str | TrainOrder | None = None, **environment: str) -> tuple[int, Report]:
        process = self.start(does, order, **environment)
        self.out, self.err = process.communicate(timeout=PATIENCE)
        return process.returncode, self.report()

    def report(self) -> Report:
        text = (self.folder / "termination-log").read_text()
        assert len(text.encode()) <= report.MAX_BYTES
        found = report.decode(text)
        assert found is not None, text
        return found

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def trainer_pod(tmp_path: Path) -> Iterator[Pod]:
    made = Pod(tmp_path)
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def run(trainer_pod: Pod) -> Callable[..., tuple[int, Report]]:
    return trainer_pod.run
