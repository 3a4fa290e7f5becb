"""`nnunet-operator local …`: the same manifests and reconcilers as on a cluster, on this machine alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ...inspection import status_words
from . import apply, delete, describe, get, logs, plot, spec_changes, status, store_argument, why
from .run import run as run_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and what each takes."""
    parser.epilog = "NNUNET_STORE names the store, NNUNET_TRAINER the nnunet-trainer of another Python environment."
    commands = parser.add_subparsers(dest="local_command", metavar="COMMAND", required=True)

    def add(name: str, call: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument(
            "--store", metavar="DIR", help=f"where everything lies (default: $NNUNET_STORE or ./{store_argument.DEFAULT_STORE})"
        )
        command.add_argument("-n", "--namespace", default="default", help="namespace (default: default)")
        command.set_defaults(local_run=call)
        return command

    applying = add("apply", apply.apply, "Apply manifests, and work until all is done.")
    applying.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE|DIR", help="manifests; - is standard input"
    )
    applying.add_argument("--no-wait", action="store_true", help="only put the manifests into the store")
    running = add("run", run_command, "Go on with what is in the store.")
    for command in (applying, running):
        command.add_argument(
            "--watch", action="store_true", help="stay when all is done, and take up what is applied from elsewhere"
        )
        _add_places(command)
        command.add_argument(
            "--map",
            metavar="URI=DIR",
            action="append",
            default=[],
            help="a folder that stands in for all URIs that begin so, as in s3://bucket/raw=images; kept with the store",
        )
        command.add_argument("--cpus", type=float, metavar="N", help="use so many cores (default: all)")
        command.add_argument("--memory", metavar="SIZE", help="use so much memory, such as 16Gi (default: all)")
        command.add_argument("--gpus", metavar="LIST", help="use these GPUs, such as 0,1; an empty list: none (default: all)")
    getting = add("get", get.get, "Show objects, as kubectl would.")
    getting.add_argument(
        "what", nargs="*", metavar="KIND [NAME]", help="dataset, plans, plantransfer, trainingrun; KIND/NAME; nothing: all"
    )
    getting.add_argument("-o", "--output", choices=("wide", "yaml", "json", "name"), help="another form")
    getting.add_argument("-w", "--watch", action="store_true", help="look on until all is done")
    status_words.add_arguments(add("status", status.status, "Show datasets, plans and training as a tree, with how far each is."))
    for name, run_function, summary in (
        ("describe", describe.describe, "Show one object in full, with its events."),
        ("logs", logs.logs, "Print what an object's work has written."),
        ("why", why.why, "Say what an object waits for, and what to do."),
        ("plot", plot.plot, "Draw a training's curves."),
        ("rerun", spec_changes.rerun, "Have what failed tried again; a Dataset's source read again."),
        ("suspend", spec_changes.suspend, "Stop a TrainingRun with a checkpoint; a Plans or a PlanTransfer."),
        ("resume", spec_changes.resume, "Let it go on, a TrainingRun from its checkpoint."),
        ("delete", delete.delete, "Delete objects and stop their work; artifacts stay, but for runs with retention: Delete."),
    ):
        command = add(name, run_function, summary)
        many = "*" if name == "delete" else "+"
        command.add_argument("what", nargs=many, metavar="KIND NAME", help="KIND NAME or KIND/NAME")
        if name == "logs":
            command.add_argument("--fold", help="of this fold alone")
            command.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
            command.add_argument("--tail", type=int, metavar="N", help="only the last N lines")
        if name == "plot":
            command.add_argument("--fold", metavar="K", help="this fold alone")
        if name == "rerun":
            command.add_argument("--value", metavar="TEXT", help="the new value of spec.rerun (default: the time)")
        if name == "delete":
            command.add_argument("-f", "--filename", action="append", metavar="FILE|DIR", help="what these manifests name")
            _add_places(command)


def _add_places(command: argparse.ArgumentParser) -> None:
    """What reaches storages that are not folders of this machine."""
    command.add_argument(
        "--secrets", metavar="DIR", type=Path, help="one folder a Secret, one file a key (default: your AWS credentials)"
    )
    command.add_argument("--volumes", metavar="DIR", type=Path, help="one folder a PersistentVolumeClaim, for pvc:// URIs")


def run(arguments: argparse.Namespace) -> int:
    """Run one sub-command."""
    return int(arguments.local_run(arguments))
