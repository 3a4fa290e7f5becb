"""`local plot`: a training's curves, as `kubectl nnunet plot` draws them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from nnunet_trainer.contract.faults import BadUsage, ExitCode
from nnunet_trainer.contract.uri import to_path

from ...inspection import object_names, pod_logs, terminal_plot, training_curves
from ...inspection.parts import Part
from ...inspection.terminal import Terminal
from ..object_store.store import Store
from . import store_argument

Manifest = dict[str, Any]


def plot(arguments: argparse.Namespace) -> int:
    """Draw the curves of a run's folds, from what its pods have written, and from the logs in its results."""
    store, terminal, drawn = store_argument.open_store(arguments), Terminal.of(sys.stdout), 0
    manifest = object_names.one(arguments.what, arguments.namespace, store, ("TrainingRun",))
    for part in pod_logs.wanted_parts(manifest, arguments.fold, None):
        curves = _curves(store, manifest, part)
        if curves:
            print(("\n" if drawn else "") + terminal_plot.heading(manifest, part, len(curves)))
            print(terminal_plot.of_training(curves, terminal))
            drawn += 1
    if not drawn:
        raise BadUsage("NothingYet", f"{object_names.short(manifest)} has finished no epoch that anything is known of.")
    return ExitCode.DONE


def _curves(store: Store, manifest: Manifest, part: Part) -> dict[int, training_curves.Epoch]:
    name = part.status.get("name")
    files = sorted(store.logs(manifest).glob(f"*-f{name}-*.log"), key=lambda file: file.stat().st_mtime)
    written = [training_curves.of_progress_lines(_text(file).splitlines()) for file in files]
    folder = to_path(str(part.status.get("folder") or ""))
    kept = sorted(folder.glob("training_log*"), key=lambda file: file.stat().st_mtime) if folder else []
    return training_curves.joined(*(training_curves.of_training_log(_text(file)) for file in kept), *written)


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
