"""`kubectl nnunet plot`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_operator.inspection import object_names, pod_logs, terminal_plot, training_curves
from nnunet_operator.inspection.parts import Part
from nnunet_operator.inspection.terminal import Terminal
from nnunet_operator.inspection.training_curves import Epoch
from nnunet_operator.manifests.pod import CONTAINER
from nnunet_operator.reconcile.view import Manifest
from nnunet_trainer.contract.faults import BadUsage, ExitCode, Fault

from .. import connection
from ..results import fold_files, places, png, storage
from . import storage_arguments

if TYPE_CHECKING:
    from ..api_reader import ApiReader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", metavar="RUN", help="a TrainingRun: NAME or trainingrun/NAME")
    parser.add_argument("--fold", metavar="K", help="this fold alone")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write a PNG, as nnU-Net's progress.png, instead")
    storage_arguments.add_arguments(parser)
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw the curves: from the pods' logs, and, of epochs that no pod has any more, from the logs in the storage."""
    terminal, drawn = Terminal.of(sys.stdout), 0
    with connection.opened(arguments) as cluster:
        manifest = object_names.one([arguments.what], arguments.namespace, cluster, ("TrainingRun",))
        parts = [part for part in pod_logs.wanted_parts(manifest, arguments.fold, None) if part.unit == "epoch"]
        if arguments.output and len(parts) > 1:
            raise BadUsage("Ambiguous", f"{object_names.short(manifest)} has {len(parts)} folds.", hint="Name one by --fold.")
        for part in parts:
            curves = _curves(arguments, manifest, part, cluster)
            if not curves:
                continue
            drawn += 1
            if arguments.output:
                png.write(curves, arguments.output)
                print(f"{arguments.output}: {part.title}, {len(curves)} epochs")
                continue
            print(("\n" if drawn > 1 else "") + terminal_plot.heading(manifest, part, len(curves)))
            print(terminal_plot.of_training(curves, terminal))
    if not drawn:
        raise BadUsage("NothingYet", f"{object_names.short(manifest)} has finished no epoch that anything is known of.")
    return ExitCode.DONE


def _curves(arguments: argparse.Namespace, manifest: Manifest, part: Part, cluster: ApiReader) -> dict[int, Epoch]:
    pods = cluster.pods(manifest)
    logs = [log for log in pod_logs.choose(manifest, pods, [part], attempt=pod_logs.EVERY) if pod_logs.has_started(log.pod)]
    lines = (cluster.log(log.pod, {"container": CONTAINER}) for log in logs)
    told = training_curves.joined(*map(training_curves.of_progress_lines, lines))
    if told and min(told) == 0 and len(told) == max(told) + 1 and len(told) >= part.done:
        return told
    plans = cluster.get("Plans", arguments.namespace, manifest["spec"]["plansRef"]["name"])
    place = places.of_fold(manifest, part, plans)
    if place is None:
        return told
    storage_arguments.prepare(arguments, cluster, [place])
    try:
        with storage.opened(place.location(arguments.endpoint_url)) as store:
            texts = [store.get(key).decode(errors="replace") for key, _ in fold_files.logs(store, place)]
    except Fault as fault:
        if not told:
            raise
        print(f"{part.title}: epochs before {min(told)} are left out. {fault.reason}: {fault}", file=sys.stderr)
        return told
    return training_curves.joined(*map(training_curves.of_training_log, texts), told)
