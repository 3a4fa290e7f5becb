"""The command line of `nnunet-operator run`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from . import settings
from .monitoring import logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `run`."""
    parser.description = (
        "Run the operator against a cluster: in a pod with its service account, elsewhere with a kubeconfig. "
        "NNUNET_STORAGE_URI and its companions (…_ENDPOINT, …_REGION, …_SECRET, …_PATH_STYLE, …_CA_CONFIG_MAP) name the storage of "
        "objects that name none; NNUNET_TRAINER_IMAGE the trainer's image; NNUNET_CATALOGUE a file of what that knows by name "
        "(nnunet-trainer trainers --catalogue), where it is another than this version's."
    )
    parser.add_argument(
        "--namespace",
        "-n",
        action="append",
        metavar="NS",
        help="work in this namespace; may be given again (default: $NNUNET_NAMESPACES, else all)",
    )
    parser.add_argument("--kubeconfig", type=Path, help="default: the service account in a pod, else $KUBECONFIG or ~/.kube/config")
    parser.add_argument("--context", help="of the kubeconfig")
    parser.add_argument(
        "--leader-election",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="one of several replicas works (default: in a pod)",
    )
    parser.add_argument("--lease-namespace", metavar="NS", help="where the lease is kept (default: the pod's own namespace)")
    parser.add_argument("--http", metavar="HOST:PORT", help="serve /healthz, /readyz and /metrics (default in a pod: 0.0.0.0:8080)")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="objects worked on at once (default: 8)")
    parser.add_argument(
        "--gang-scheduling",
        action="store_true",
        help="have all pods of a training on several nodes placed at once, where the cluster offers PodGroups (Kubernetes 1.37)",
    )
    parser.add_argument("--log-format", choices=("auto", "json", "text"), default="auto", help="default: json in a pod")
    parser.add_argument("--verbose", "-v", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C; the exit status.

    Raises:
        Fault: a setting, or the cluster, cannot be worked with.
    """
    settings.have_a_home()
    from .application import run as run_application  # kopf and the client are slow to import: not for --help

    chosen = settings.load(arguments)
    logs.configure(as_json=chosen.json_logs, verbose=chosen.verbose)
    loop = _event_loop()
    try:
        status = loop.run_until_complete(run_application(chosen))
    except BaseException:
        loop.close()  # else Python does at its end, in whatever order, and may print a stack trace
        raise
    # All that must be tidied is tidied. kopf's tasks would be waited for, and may wait for an API server that is away.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, which takes less CPU; asyncio's own where there is none for the platform."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
