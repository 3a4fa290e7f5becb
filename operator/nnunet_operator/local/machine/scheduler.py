"""Which pods may start: they queue for the machine's cores, memory and GPUs, oldest first; who fits goes ahead of who does not."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.control_groups import cpu_limit, memory_limit

from .kubelet.resources import requested

Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is to share out: cores, bytes of memory, and GPUs by the name that CUDA_VISIBLE_DEVICES knows them by."""

    cores: float
    memory: float
    gpus: tuple[str, ...] = ()

    @classmethod
    def here(cls, cores: float | None = None, memory: float | None = None, gpus: list[str] | None = None) -> Machine:
        """This machine, within the limits of its container; a given value takes the place of a measured one."""
        return cls(
            cores=cores or cpu_limit(),
            memory=memory or memory_limit(),
            gpus=tuple(_gpus() if gpus is None else gpus),
        )


@dataclass(kw_only=True)
class Placement:
    """Who may start now with which GPUs, who waits and for what, and who can never start here."""

    start: list[tuple[Manifest, list[str]]] = field(default_factory=list)
    wait: list[tuple[Manifest, str]] = field(default_factory=list)
    never: list[tuple[Manifest, str]] = field(default_factory=list)


def demand(pod: Manifest, machine: Machine) -> tuple[float, float, int]:
    """Cores, memory and GPUs of a pod. Who asks for more cores or memory than there are gets the whole machine.

    A pod that says nothing about cores counts as one.
    """
    container = pod["spec"]["containers"][0]
    resources = container.get("resources") or {}
    names = {*(resources.get("limits") or {}), *(resources.get("requests") or {})}
    gpus = sum(int(requested(container, name)) for name in names if "/" in name)
    return min(requested(container, "cpu") or 1.0, machine.cores), min(requested(container, "memory"), machine.memory), gpus


def place(queue: list[Manifest], running: list[tuple[Manifest, list[str]]], machine: Machine) -> Placement:
    """Share the machine out.

    Args:
        queue: pods that wait, oldest first.
        running: pods that have their share, with their GPUs.
        machine: what there is.
    """
    cores, memory, free = machine.cores, machine.memory, list(machine.gpus)
    for pod, held in running:
        used = demand(pod, machine)
        cores, memory = cores - used[0], memory - used[1]
        free = [gpu for gpu in free if gpu not in held]
    result = Placement()
    for pod in queue:
        need = demand(pod, machine)
        if need[2] > len(machine.gpus):
            have = f"this machine has {len(machine.gpus) or 'none'}"
            instead = "" if machine.gpus else " To train on the CPU, set spec.workers.gpusPerNode: 0."
            result.never.append((pod, f"0/1 nodes are available: 1 Insufficient GPUs: {need[2]} wanted, {have}.{instead}"))
            continue
        short = [
            name
            for name, want, left in zip(("cpu", "memory", "GPUs"), need, (cores, memory, len(free)), strict=True)
            if want > left + 1e-9
        ]
        if short:
            result.wait.append((pod, f"0/1 nodes are available: 1 Insufficient {', '.join(short)}. Others have it now."))
            continue
        taken, free = free[: need[2]], free[need[2] :]
        cores, memory = cores - need[0], memory - need[1]
        result.start.append((pod, taken))
    return result


def room_for(pod: Manifest, machine: Machine) -> int:
    """How many pods like this one the machine has room for, were it empty; one at least."""
    have = (machine.cores, machine.memory, float(len(machine.gpus)))
    return max(1, min(int(there / want + 1e-9) for want, there in zip(demand(pod, machine), have, strict=True) if want))


def threads_of_trainings(pods: int, machine: Machine) -> int:
    """Threads for each of so many pods of trainings side by side that ask for no cores: a fair share, all cores for one alone.

    With more, pods take turns within each operation, and every one of them waits for its slowest thread.
    """
    return max(1, int(machine.cores / pods))


def threads_of_each(pods: int, machine: Machine) -> int:
    """Threads for each of so many pods that run at once and ask for no cores, and that train nothing.

    Twice a fair share: threads wait asleep, so what other pods leave idle, or leave behind when they end, is used.
    """
    return max(1, min(int(machine.cores), int(2 * machine.cores / pods)))


def _gpus() -> list[str]:
    """The GPUs that this process may use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name.strip() for name in allowed.split(",") if name.strip() and name.strip() != "-1"]
    if tool := shutil.which("nvidia-smi"):
        said = subprocess.run(
            [tool, "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=60, check=False
        )
        if said.returncode == 0:
            return said.stdout.split()
    return sorted(path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
