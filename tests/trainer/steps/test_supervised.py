"""A real training under the real supervisor, with two ranks: stopped by SIGTERM as the kubelet does, gone on with by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nnunet_trainer.contract import pod, progress, report, work_order
from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.work_order import TrainerChoice, TrainOrder

from .conftest import RECIPE, Prepared


def start(folder: Path, order: TrainOrder, **environment: str) -> subprocess.Popen[str]:
    folder.mkdir()
    (folder / "order.json").write_text(work_order.encode(order))
    own = {
        pod.ENV_SCRATCH: str(folder / "scratch"),
        pod.ENV_TERMINATION_LOG: str(folder / "termination-log"),
        "NNUNET_PROGRESS_PORT": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "nnunet_trainer.cli", "run", str(folder / "order.json")]
    return subprocess.Popen(
        command, env={**os.environ, **own, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.e2e
def test_two_ranks_are_stopped_and_one_goes_on(prepared: Prepared, tmp_path: Path) -> None:
    chain = prepared.chain
    trainer = TrainerChoice(name="tiny", base="nnUNetTrainer", recipe={**RECIPE, "epochs": 4, "iterationsPerEpoch": 30})
    order = chain.train_order(prepared.data, prepared.plans, trainer=trainer, gpus_per_node=2)
    process = start(tmp_path / "first", order, **{pod.ENV_DEVICE: "cpu"})  # two GPUs are ordered, and there are none
    assert process.stdout is not None
    heard = (progress.decode(line) for line in process.stdout)
    assert any(p is not None and (p.epoch or 0) >= 1 for p in heard), process.communicate()[1]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    stopped = report.decode((tmp_path / "first/termination-log").read_text())
    assert process.returncode == ExitCode.STOPPED, err
    assert stopped is not None
    assert stopped.error is not None
    assert stopped.error.reason == "Stopped"
    assert "a checkpoint is saved" in stopped.error.message
    epoch = stopped.summary["epoch"]
    assert 1 <= epoch < 4

    alone = chain.train_order(prepared.data, prepared.plans, trainer=trainer, attempt=1)
    process = start(tmp_path / "second", alone)
    _, err = process.communicate(timeout=240)
    done = report.decode((tmp_path / "second/termination-log").read_text())
    assert process.returncode == 0, err
    assert done is not None
    assert done.summary["epochs"] == 4
    assert done.summary["resumedFromEpoch"] >= epoch


@pytest.mark.parametrize("gpus", [1, 2])
def test_ordered_gpus_that_are_not_there_end_the_training_before_it_begins(prepared: Prepared, tmp_path: Path, gpus: int) -> None:
    order = prepared.chain.train_order(prepared.data, prepared.plans, gpus_per_node=gpus)
    process = start(tmp_path / "pod", order, CUDA_VISIBLE_DEVICES="", NVIDIA_VISIBLE_DEVICES="void")
    _, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.BAD_CONFIGURATION == 78, err
    found = report.decode((tmp_path / "pod/termination-log").read_text())
    assert found is not None
    assert found.error is not None
    assert found.error.reason == "NoGPU"
    needed = "1 GPU is needed" if gpus == 1 else "2 GPUs are needed"
    for part in (needed, "torch sees none", "NVIDIA driver: ", "; torch ", "NVIDIA_VISIBLE_DEVICES is 'void'"):
        assert part in found.error.message
    assert "spec.workers.gpusPerNode: 0" in found.error.hint
    assert not list((tmp_path / "pod/scratch").rglob("nnUNet_results")), "nothing was staged"
