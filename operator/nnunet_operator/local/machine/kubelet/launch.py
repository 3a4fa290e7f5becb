"""From a pod's manifest to a process: what names a mount (arguments, variables) names its folder on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.pod import ENV_TERMINATION_LOG

from .environment import variables
from .host import Host
from .mounts import lay, rewritten
from .resources import requested

Manifest = dict[str, Any]

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CACHES = ("MPLCONFIGDIR", "XDG_CACHE_HOME")
"""Where libraries cache in a container without a home folder. Here is one, with caches that are warm."""


def prepare(
    pod: Manifest, folder: Path, host: Host, *, ip: str, gpus: list[str] | None = None, threads: int | None = None
) -> Manifest:
    """Lay a pod's folders and say how its process is started.

    Args:
        pod: the manifest; its first container is the process.
        folder: the pod's own; mounts are laid below `folder/root`.
        host: what the machine gives.
        ip: the pod's address.
        gpus: the GPUs that it may see; None says nothing about GPUs.
        threads: for numerical libraries, where the pod asks for no cores.

    Returns:
        `argv`, `env` and `cwd`.

    Raises:
        NotYet: a ConfigMap, Secret, key or claim is missing.
    """
    container, root = pod["spec"]["containers"][0], folder / "root"
    mounts = lay(pod, folder, host)
    own = variables(pod, host, ip)
    if "HOME" in host.environment:
        own = {name: value for name, value in own.items() if name not in CACHES}
    own = {name: rewritten(value, mounts, root) for name, value in own.items()}
    env = {**host.environment, **_threads(container, threads), **own}
    beside = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join(dict.fromkeys([beside, *env.get("PATH", os.defpath).split(os.pathsep)]))
    env[ENV_TERMINATION_LOG] = str(folder / "termination-log")
    if gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    whole: list[str] = container["command"] + (container.get("args") or [])
    command, *arguments = whole
    program = host.programs.get(command) or shutil.which(command, path=env["PATH"]) or command
    return {"argv": [program, *(rewritten(text, mounts, root) for text in arguments)], "env": env, "cwd": str(root)}


def _threads(container: Manifest, otherwise: int | None) -> dict[str, str]:
    cores = requested(container, "cpu")
    count = max(1, int(cores)) if cores else otherwise
    return dict.fromkeys(THREADS, str(count)) if count else {}
