"""Which device a rank trains on. A GPU that was ordered is there, or the training does not begin: it never goes on without."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import torch

from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration

DRIVER_FILE = Path("/proc/driver/nvidia/version")
ON_PURPOSE = "to train on the CPU, say so (spec.workers.gpusPerNode: 0; --device cpu)"


def ordered(gpus_per_node: int) -> tuple[str, str]:
    """The device of a work order, and why it is that one.

    Args:
        gpus_per_node: of the order; 0 is the CPU on purpose.

    Returns:
        cpu or cuda, and the reason for the log.

    Raises:
        BadConfiguration: the variable that tests use says something else than cpu.
    """
    if gpus_per_node == 0:
        return "cpu", "spec.workers.gpusPerNode is 0"
    instead = pod.device_instead_of_gpus()
    if instead is None:
        return "cuda", f"spec.workers.gpusPerNode is {gpus_per_node}"
    if instead != "cpu":
        raise BadConfiguration("UnknownDevice", f"{pod.ENV_DEVICE} is {instead!r}; cpu, or no such variable, was expected.")
    return "cpu", f"{pod.ENV_DEVICE} is cpu, although spec.workers.gpusPerNode is {gpus_per_node}"


def choose(name: str, local_rank: int | None = None, local_ranks: int = 1) -> torch.device:
    """A rank's device.

    Args:
        name: auto (CUDA where there is a GPU), cpu, cuda, or cuda:N for a single process.
        local_rank: of this process among those of its node, the number of its GPU; None for a single process.
        local_ranks: processes of this node, each of which needs a GPU.

    Raises:
        BadConfiguration: there is no such device, a GPU too few for this node's ranks, or one that this torch cannot use; with the
            versions of the driver, CUDA and torch.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,4})?", name):
        raise BadConfiguration("UnknownDevice", f"There is no device {name!r}: auto, cpu, cuda or cuda:N was expected.")
    device = torch.device(name)
    if device.type != "cuda":
        return device
    index = (device.index or 0) if local_rank is None else local_rank
    needed, count = max(local_ranks, index + 1), torch.cuda.device_count() if torch.cuda.is_available() else 0
    if needed > count:
        raise BadConfiguration(
            "NoGPU",
            f"{_gpus(needed)} needed here, torch sees {count or 'none'}. {versions()}{_hidden()}",
            hint=f"{_remedy(count)} Or, {ON_PURPOSE}.",
        )
    device = torch.device("cuda", index)
    _refuse_unusable(device)
    return device


def said(device: torch.device, asked: str, why: str | None = None) -> str:
    """What the log says of a training's device.

    Args:
        device: the chosen one.
        asked: what it was chosen by.
        why: the reason where a work order gave one.
    """
    if device.type == "cuda":
        return f"Training on {device} ({torch.cuda.get_device_name(device)}). {versions()}"
    if why is None:
        why = f"--device {asked}" if asked != "auto" else f"torch sees no GPU on this machine. {versions()}"
    return f"Training on the CPU: {why.rstrip('.')}."


def versions() -> str:
    """Driver, torch and CUDA, and what torch says where it cannot use them."""
    if torch.version.hip is not None:
        built, text = f"ROCm {torch.version.hip}", ""
    else:
        built, text = (
            f"CUDA {torch.version.cuda}" if torch.version.cuda else "",
            f"NVIDIA driver: {driver_version() or 'none found'}; ",
        )
    text += f"torch {torch.__version__}, " + (f"built for {built}." if built else "built without CUDA.")
    if built and not torch.cuda.is_available() and (complaint := _complaint()):
        text += f" torch: {complaint}"
    return text


def driver_version() -> str | None:
    """Of NVIDIA's kernel driver; None where there is none, or none that this container sees."""
    try:
        found = re.search(r"NVRM version:.*?\s([0-9]+\.[0-9.]+)\s", DRIVER_FILE.read_text())
    except OSError:
        found = None
    if found:
        return found[1]
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.split("\n")
    return lines[0].strip() or None if done.returncode == 0 else None


def _complaint() -> str:
    """The first sentence of why torch cannot begin with CUDA."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        text = " ".join(str(error).split())
        return text if len(text) <= 200 else f"{text[:199].rstrip()}…"
    return ""


def _hidden() -> str:
    """What somebody has hidden GPUs by."""
    names = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
    return "".join(f" {name} is {os.environ[name]!r}." for name in names if name in os.environ)


def _gpus(count: int) -> str:
    return "1 GPU is" if count == 1 else f"{count} GPUs are"


def _remedy(count: int) -> str:
    if count:
        return f"Ask for as many GPUs as a pod gets (spec.workers.gpusPerNode: {count}); of MIG slices one process sees one."
    if torch.version.cuda is None and torch.version.hip is None:
        return "Use a trainer image whose torch is built for CUDA (spec.template.image)."
    if torch.version.hip is not None:
        return "Look at rocm-smi on the node, and at its device plugin."
    if driver_version() is None:
        return (
            "The container sees no NVIDIA driver: look at nvidia-smi on the node, at its NVIDIA container toolkit, and at "
            "spec.template.runtimeClassName (nvidia)."
        )
    return (
        f"Update the node's driver to one for CUDA {torch.version.cuda}, or use a trainer image whose torch is built for an older "
        "CUDA (spec.template.image)."
    )


def _refuse_unusable(device: torch.device) -> None:
    """A GPU that is too old, or too new, for the kernels of this torch is seen, and fails at the first of them."""
    try:
        (torch.zeros(1, device=device) + 1).item()
    except RuntimeError as error:
        if "no kernel image" not in str(error):
            raise
        major, minor = torch.cuda.get_device_capability(device)
        kinds = ", ".join(torch.cuda.get_arch_list())
        raise BadConfiguration(
            "UnsupportedGPU",
            f"{torch.cuda.get_device_name(device)} (sm_{major}{minor}) is not among the GPUs that this torch has kernels for "
            f"({kinds}). {versions()}",
            hint="Choose nodes with another GPU (spec.template.nodeSelector), or a trainer image whose torch has kernels for it.",
        ) from error
