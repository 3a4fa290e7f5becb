"""`kubectl nnunet fetch`."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_operator.inspection import object_names, pod_logs
from nnunet_trainer.contract.faults import BadUsage, ExitCode

from .. import connection
from ..results import download, fold_files, places, storage
from . import storage_arguments

if TYPE_CHECKING:
    from nnunet_operator.inspection.parts import Part

    from ..results.download import Comparison
    from ..results.fold_files import WantedFile
    from ..results.places import FoldPlace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", metavar="RUN", help="a TrainingRun: NAME or trainingrun/NAME")
    parser.add_argument("folder", metavar="DIR", type=Path, help="stands for nnUNet_results")
    parser.add_argument("--fold", metavar="K", help="this fold alone")
    parser.add_argument("--only", choices=tuple(fold_files.GROUPS), help="these files alone")
    parser.add_argument("--overwrite", action="store_true", help="write over files that are there and differ")
    storage_arguments.add_arguments(parser)
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fetch a run's results."""
    with connection.opened(arguments) as cluster:
        manifest = object_names.one([arguments.what], arguments.namespace, cluster, ("TrainingRun",))
        plans = cluster.get("Plans", arguments.namespace, manifest["spec"]["plansRef"]["name"])
        parts = pod_logs.wanted_parts(manifest, arguments.fold, None)
        found = [(part, places.of_fold(manifest, part, plans)) for part in parts if part.unit == "epoch"]
        storage_arguments.prepare(arguments, cluster, [place for _, place in found if place])
    if not any(place for _, place in found):
        name = object_names.short(manifest)
        raise BadUsage("NothingYet", f"{name} has nothing in its storage yet: no fold has a checkpoint or is trained.")
    results, differ = [], list[str]()
    taken: dict[str, WantedFile] = {}  # what all folds share is fetched with the first
    with download.alone_in(arguments.folder), ExitStack() as stores:
        compared: list[tuple[Part, FoldPlace, Comparison]] = []
        for part, place in found:
            if place is None:
                print(f"{part.title}: has no checkpoint yet", file=sys.stderr)
                continue
            store = stores.enter_context(storage.opened(place.location(arguments.endpoint_url)))
            wanted = [file for file in fold_files.wanted(store, place, arguments.only) if taken.get(file.target) != file]
            differ += [file.target for file in wanted if taken.get(file.target, file).sha256 != file.sha256]
            taken |= {file.target: file for file in wanted}
            fold = download.compare(store, wanted, arguments.folder)
            differ += fold.differ
            compared.append((part, place, fold))
        if not arguments.overwrite:
            download.refuse(differ, arguments.folder)
        for part, place, fold in compared:
            done = download.download(fold, arguments.folder)
            results.append(done)
            state = "" if place.done else f" (not finished: its checkpoint of epoch {place.checkpoint.get('epoch', '?')})"
            there = f", {done.there} were there already" if done.there else ""
            size = download.readable_size(done.size)
            print(f"{part.title}{state}: {done.files} files, {size}{there} → {arguments.folder / place.below}")
    if len(results) > 1:
        whole = download.total(results)
        print(f"{whole.files} files, {download.readable_size(whole.size)}")
    return ExitCode.DONE
