"""Where things lie in a trainer's pod, and the environment variables that say so.

The variables exist so that the same work order runs where nothing can be mounted: the local shell and the tests point
them at folders of their own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ORDER_MOUNT = "/etc/nnunet/order"
ORDER_FILE = "order.json"
SECRETS_MOUNT = "/var/run/secrets/nnunet.dev"
CA_MOUNT = "/etc/nnunet/ca"
PLUGINS_MOUNT = "/etc/nnunet/plugins"
SCRATCH_MOUNT = "/scratch"
CLAIMS_MOUNT = "/mnt/pvc"
DATASET_CACHE_MOUNT = "/mnt/dataset-cache"
TERMINATION_LOG = "/dev/termination-log"
PROGRESS_PORT = 8080
RENDEZVOUS_PORT = 29500
"""Of rank 0 of a training on several nodes: torchrun's default for MASTER_PORT."""

SLOW_CALL = "slow-call-"
"""How the files of `shared()` begin in which a process says what call has not ended for long, one sentence each; the process
and the thread follow: `slow-call-17-140`."""

RENDEZVOUS_SECONDS = 300
"""How long ranks wait for each other at the start."""

GRACE_SECONDS = 300
"""Between SIGTERM and SIGKILL, where nobody says otherwise."""

RANKS_SHARE = 0.9
"""Of that time, after which the supervisor kills ranks that have not ended, so that there is a report."""

REPORT_SECONDS = 10.0
"""Of the time that the supervisor leaves a rank after SIGTERM, for its report; a tenth of it where it is short."""

ENV_SECRETS = "NNUNET_SECRETS"
ENV_CA = "NNUNET_CA"
ENV_PLUGINS = "NNUNET_PLUGINS"
ENV_SCRATCH = "NNUNET_SCRATCH"
ENV_CLAIMS = "NNUNET_PVC"
ENV_DATASET_CACHE = "NNUNET_DATASET_CACHE"
ENV_TERMINATION_LOG = "NNUNET_TERMINATION_LOG"
ENV_SHARED = "NNUNET_SHARED"
ENV_DEVICE = "NNUNET_DEVICE"
ENV_RENDEZVOUS_SECONDS = "NNUNET_RENDEZVOUS_SECONDS"
ENV_GRACE_SECONDS = "NNUNET_GRACE_SECONDS"
ENV_POD_IP = "POD_IP"
ENV_SHARD = "JOB_COMPLETION_INDEX"
ENV_JOB_UID = "NNUNET_JOB_UID"


def secrets() -> Path:
    """The folder with one sub-folder a Secret, one file a key."""
    return Path(os.environ.get(ENV_SECRETS, SECRETS_MOUNT))


def certificates() -> Path:
    """The folder with one sub-folder a CA ConfigMap, one file a key."""
    return Path(os.environ.get(ENV_CA, CA_MOUNT))


def plugins() -> Path:
    """The folder with one sub-folder a plug-in ConfigMap, one Python module a key."""
    return Path(os.environ.get(ENV_PLUGINS, PLUGINS_MOUNT))


def scratch() -> Path:
    """The pod's own disk, gone with the pod."""
    return Path(os.environ.get(ENV_SCRATCH, SCRATCH_MOUNT))


def claims() -> Path:
    """The folder with one sub-folder a PersistentVolumeClaim."""
    return Path(os.environ.get(ENV_CLAIMS, CLAIMS_MOUNT))


def dataset_cache() -> Path | None:
    """The folder with copies of artifacts, `<bucket>/<key>`; None where none is mounted."""
    folder = os.environ.get(ENV_DATASET_CACHE)
    return Path(folder) if folder else None


def shared() -> Path | None:
    """A folder of all ranks of this pod that begins empty and goes with them; None where a process is alone."""
    folder = os.environ.get(ENV_SHARED)
    return Path(folder) if folder else None


def job_uid() -> str | None:
    """The uid of the pod's Job, which no other Job of any cluster has; None where there is no Job, or an older operator's."""
    found = os.environ.get(ENV_JOB_UID, "")
    return found if re.fullmatch(r"[0-9A-Za-z-]{1,64}", found) else None


def device_instead_of_gpus() -> str | None:
    """`cpu` where a training that ordered GPUs is to run without: tests, and nodes that only pretend to have some; else None."""
    return os.environ.get(ENV_DEVICE) or None


def grace_seconds() -> float:
    """Between SIGTERM and SIGKILL: the pod's terminationGracePeriodSeconds."""
    try:
        found = float(os.environ.get(ENV_GRACE_SECONDS, GRACE_SECONDS))
    except ValueError:
        return GRACE_SECONDS
    return found if 0 < found < 10**6 else GRACE_SECONDS


def ranks_seconds() -> int:
    """Between SIGTERM and the supervisor's SIGKILL for the ranks, which comes before the kubelet's for all."""
    return max(1, int(RANKS_SHARE * grace_seconds()))


def leaving_seconds() -> float:
    """Between SIGTERM and when a rank must begin its report: what a training has for its last checkpoint and its uploads."""
    seconds = ranks_seconds()
    return seconds - min(REPORT_SECONDS, seconds / 10)


def termination_log() -> Path:
    """The file whose content becomes the pod's termination message."""
    return Path(os.environ.get(ENV_TERMINATION_LOG, TERMINATION_LOG))


def progress_address() -> str:
    """The address to serve `/progress` and `/metrics` on."""
    return os.environ.get(ENV_POD_IP, "127.0.0.1")
