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


def stopped_after(epochs: int, process: subprocess.Popen[str], folder: Path, resumed_from: int | None = None) -> int:
    """Send SIGTERM when so many epochs are done; returns how many were, when it had ended in order."""
    assert process.stdout is not None
    for line in process.stdout:
        heard = progress.decode(line)
        if heard is not None and (heard.epoch or 0) >= epochs:
            assert heard.resumed_from_epoch == resumed_from
            break
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=180)
    stopped = report.decode((folder / "termination-log").read_text())
    assert process.returncode == ExitCode.STOPPED, err
    assert stopped is not None
    assert stopped.error is not None
    assert stopped.error.reason == "Stopped"
    assert "a checkpoint is saved" in stopped.error.message
    assert stopped.summary["epoch"] >= epochs, err
    return int(stopped.summary["epoch"])


@pytest.mark.e2e
def test_two_ranks_are_stopped_and_one_goes_on(prepared: Prepared, tmp_path: Path) -> None:
    chain = prepared.chain
    # It would never be done before it is stopped, however late that is.
    trainer = TrainerChoice(name="tiny", base="nnUNetTrainer", recipe={**RECIPE, "epochs": 100_000, "iterationsPerEpoch": 10})
    order = chain.train_order(prepared.data, prepared.plans, trainer=trainer, gpus_per_node=2)
    process = start(tmp_path / "first", order, **{pod.ENV_DEVICE: "cpu"})  # two GPUs are ordered, and there are none
    epoch = stopped_after(1, process, tmp_path / "first")

    alone = chain.train_order(prepared.data, prepared.plans, trainer=trainer, attempt=1)
    stopped_after(epoch + 1, start(tmp_path / "second", alone), tmp_path / "second", resumed_from=epoch)


@pytest.mark.parametrize("gpus", [1, 2])
def test_ordered_gpus_that_are_not_there_end_the_training_before_it_begins(prepared: Prepared, tmp_path: Path, gpus: int) -> None:
    order = prepared.chain.train_order(prepared.data, prepared.plans, gpus_per_node=gpus)
    process = start(tmp_path / "pod", order, CUDA_VISIBLE_DEVICES="", NVIDIA_VISIBLE_DEVICES="void")
    _, err = process.communicate(timeout=180)
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
