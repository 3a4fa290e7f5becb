"""Which device is trained on: a GPU that was ordered is there, or the training says what is missing and does not begin."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks import devices, distributed

DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Dec  6 18:06:04 UTC 2023\nGCC version:  gcc version 12.2.0\n"
OPEN_DRIVER = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (root@host)\n"
TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading and "
    "installing a new version."
)


class Machine:
    """What torch and the kernel say of a machine's GPUs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.patch, self.folder = monkeypatch, folder
        for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", pod.ENV_DEVICE):
            monkeypatch.delenv(name, raising=False)
        self.has(gpus=0)

    def has(
        self,
        *,
        gpus: int,
        driver: str | None = None,
        cuda: str | None = "13.2",
        hip: str | None = None,
        complaint: str | None = None,
        smi: str | None = None,
    ) -> None:
        def init() -> None:
            if complaint:
                raise RuntimeError(complaint)

        self.patch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        self.patch.setattr(torch.cuda, "device_count", lambda: gpus)
        self.patch.setattr(torch.cuda, "init", init)
        self.patch.setattr(torch.version, "cuda", cuda)
        self.patch.setattr(torch.version, "hip", hip)
        self.patch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100")
        self.patch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
        self.patch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
        self.patch.setattr(devices, "_refuse_unusable", lambda device: None)
        file = self.folder / "version"
        file.unlink(missing_ok=True)
        if driver:
            file.write_text(driver)
        self.patch.setattr(devices, "DRIVER_FILE", file)

        def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
            if smi is None:
                raise FileNotFoundError("nvidia-smi")
            return subprocess.CompletedProcess([], 0, smi, "")

        self.patch.setattr(devices.subprocess, "run", run)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("has", "said", "remedy"),
    [
        ({}, ("torch sees none", "NVIDIA driver: none found", "CUDA 13.2"), "NVIDIA container toolkit"),
        (
            {"driver": DRIVER.format("470.57.02"), "complaint": TOO_OLD},
            ("driver: 470.57.02", "too old"),
            "Update the node's driver",
        ),
        ({"driver": OPEN_DRIVER.format("575.51.03")}, ("driver: 575.51.03",), "CUDA 13.2"),
        ({"smi": "550.90.07\n550.90.07\n"}, ("driver: 550.90.07",), "CUDA 13.2"),
        ({"cuda": None, "driver": DRIVER.format("570.1")}, ("built without CUDA", "570.1"), "spec.template.image"),
        (
            {"cuda": None, "hip": "6.2"},
            (
                "none. torch ",
                "built for ROCm 6.2",
            ),
            "rocm-smi",
        ),
        (
            {"complaint": "CUDA unknown error - " + "this may be due to an incorrectly set up environment " * 20},
            ("unknown error",),
            "",
        ),
    ],
    ids=["no driver", "driver too old", "open driver", "nvidia-smi", "torch for CPUs", "ROCm", "a long complaint"],
)
def test_a_gpu_that_is_not_there_is_refused_with_all_versions(
    machine: Machine, has: dict[str, object], said: tuple[str, ...], remedy: str
) -> None:
    machine.has(gpus=0, **has)  # type: ignore[arg-type]
    with pytest.raises(BadConfiguration) as caught, distributed.ranks("cuda"):
        pass
    assert (caught.value.reason, caught.value.exit_code) == ("NoGPU", 78)
    for part in (*said, f"torch {torch.__version__}", "1 GPU is needed"):
        assert part in caught.value.message
    assert remedy in caught.value.hint
    assert "gpusPerNode: 0" in caught.value.hint
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("count", "ranks", "local_rank", "fits"),
    [(1, 1, None, True), (1, 2, 0, False), (1, 2, 1, False), (2, 2, 1, True), (4, 8, 0, False), (8, 2, 1, True), (0, 2, 0, False)],
)
def test_fewer_gpus_than_ranks(machine: Machine, count: int, ranks: int, local_rank: int | None, fits: bool) -> None:
    """Every rank refuses, also those that would have had one: or they would wait for the others."""
    machine.has(gpus=count)
    if fits:
        assert devices.choose("cuda", local_rank, ranks) == torch.device("cuda", local_rank or 0)
        return
    with pytest.raises(BadConfiguration, match=f"{ranks} GPUs are needed here, torch sees {count or 'none'}") as caught:
        devices.choose("cuda", local_rank, ranks)
    if count:
        assert f"spec.workers.gpusPerNode: {count}" in caught.value.hint


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"])
def test_what_hides_gpus_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "void")
    with pytest.raises(BadConfiguration, match=f"{variable} is 'void'"):
        devices.choose("cuda")


@pytest.mark.parametrize(("name", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_one_process_may_name_its_gpu(machine: Machine, name: str, index: int) -> None:
    machine.has(gpus=2)
    assert devices.choose(name) == torch.device("cuda", index)
    assert devices.choose("auto") == torch.device("cuda", 0)
    machine.has(gpus=index)
    with pytest.raises(BadConfiguration, match="needed here"):
        devices.choose(name)


@pytest.mark.parametrize("name", ["warp", "gpu", "", "mps", "meta", "xpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cpu:0"])
def test_a_device_that_nobody_knows_is_named(name: str) -> None:
    with pytest.raises(BadConfiguration, match="auto, cpu, cuda or cuda:N was expected") as caught, distributed.ranks(name):
        pass
    assert caught.value.reason == "UnknownDevice"


def test_a_gpu_without_kernels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(*arguments: object, **options: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(torch, "zeros", zeros)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    said = "CUDA error: no kernel image is available for execution on the device"
    with pytest.raises(BadConfiguration, match=r"Tesla P4 \(sm_61\) .*sm_75, sm_90"):
        devices._refuse_unusable(torch.device("cuda", 0))
    said = "CUDA error: all CUDA-capable devices are busy or unavailable"
    with pytest.raises(RuntimeError, match="busy"):  # another attempt may find it free
        devices._refuse_unusable(torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("gpus", "variable", "expected"),
    [
        (0, None, ("cpu", "spec.workers.gpusPerNode is 0")),
        (0, "cpu", ("cpu", "spec.workers.gpusPerNode is 0")),
        (1, None, ("cuda", "spec.workers.gpusPerNode is 1")),
        (8, "", ("cuda", "spec.workers.gpusPerNode is 8")),
        (2, "cpu", ("cpu", "NNUNET_DEVICE is cpu, although spec.workers.gpusPerNode is 2")),
    ],
)
def test_what_an_order_means(monkeypatch: pytest.MonkeyPatch, gpus: int, variable: str | None, expected: tuple[str, str]) -> None:
    monkeypatch.delenv(pod.ENV_DEVICE, raising=False)
    if variable is not None:
        monkeypatch.setenv(pod.ENV_DEVICE, variable)
    assert devices.ordered(gpus) == expected


def test_another_device_instead_of_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pod.ENV_DEVICE, "auto")
    with pytest.raises(BadConfiguration, match="NNUNET_DEVICE is 'auto'; cpu"):
        devices.ordered(1)


def test_the_log_says_what_is_trained_on(machine: Machine) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda", 1)
    assert devices.said(cpu, "cpu") == "Training on the CPU: --device cpu."
    assert devices.said(cpu, "cpu", "spec.workers.gpusPerNode is 0") == "Training on the CPU: spec.workers.gpusPerNode is 0."
    machine.has(gpus=0, driver=DRIVER.format("470.57.02"), complaint=TOO_OLD)
    told = devices.said(cpu, "auto")
    assert told.startswith("Training on the CPU: torch sees no GPU on this machine. NVIDIA driver: 470.57.02; torch ")
    assert "too old" in told
    machine.has(gpus=2, driver=DRIVER.format("570.1"))
    assert devices.said(cuda, "auto").startswith("Training on cuda:1 (NVIDIA A100). NVIDIA driver: 570.1; torch ")


def test_a_training_begins_with_that_line(setup, machine: Machine) -> None:
    lines: list[str] = []
    heard: list[SimpleNamespace] = []
    asked = setup({"epochs": 1}, device="cpu", log=lines.append, listener=heard.append)
    asked.device_reason = "NNUNET_DEVICE is cpu, although spec.workers.gpusPerNode is 2"
    train(asked)
    assert lines[0] == f"Warning: Training on the CPU: {asked.device_reason}."
    assert heard[-1].warnings == [f"Training on the CPU: {asked.device_reason}."]
