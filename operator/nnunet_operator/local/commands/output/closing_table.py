"""The last word of a call: the runs with their Dice, where the results lie, what to do next."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.uri import to_path

from ....api import kstatus, reasons
from ....api.common import State
from ....api.kstatus import Status
from ....inspection import printer_columns
from ....reconcile.status.sentences import NEVER_CHANGES

Manifest = dict[str, Any]


def place(uri: str | None) -> str:
    """A URI as a person of this machine writes it: a path, where it is one; from here, where it is below."""
    if not uri:
        return "-"
    path = to_path(uri)
    return below_here(path) if path else uri


def below_here(path: Path) -> str:
    """A path as it is written in this folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def program(name: str) -> str:
    """How one of our programs is called: by its name, or by its path when it is not on PATH."""
    beside = Path(sys.executable).absolute().with_name(name)
    return below_here(beside) if shutil.which(name) is None and beside.exists() else name


def runs(manifests: Sequence[Manifest]) -> str:
    """The table of TrainingRuns, a line a fold; empty when there is none."""
    rows = [["RUN", "CONFIG", "FOLD", "TRAINER", "EPOCHS", "VALIDATION DICE", "TIME", "STATE"]]
    for manifest in manifests:
        if manifest["kind"] != "TrainingRun":
            continue
        spec, status = manifest["spec"], manifest.get("status") or {}
        trainer = status.get("trainer") or (spec.get("trainer") or {}).get("name", "-")
        for fold in status.get("folds") or []:
            dice, seconds = fold.get("validationDice"), fold.get("seconds")
            rows.append(
                [
                    manifest["metadata"]["name"],
                    spec.get("configuration", "-"),
                    fold["name"],
                    trainer,
                    str(fold.get("epochs") or "-"),
                    "-" if dice is None else f"{dice:.4f}",
                    "-" if seconds is None else printer_columns.duration(seconds),
                    _state(manifest, fold),
                ]
            )
        if len(status.get("folds") or []) > 1 and status.get("meanDice") is not None:
            rows.append(
                [
                    manifest["metadata"]["name"],
                    spec.get("configuration", "-"),
                    "mean",
                    trainer,
                    "",
                    f"{status['meanDice']:.4f}",
                    "",
                    "",
                ]
            )
    return printer_columns.table(rows) if len(rows) > 1 else ""


def _state(manifest: Manifest, fold: Manifest) -> str:
    """Of a fold; of one that can never begin the reason why."""
    state = str(fold.get("state", "-"))
    refused = state == State.PENDING.value and kstatus.compute(manifest) is Status.FAILED and not _has_failed(manifest)
    return kstatus.reason(manifest)[0] or state if refused else state


def _has_failed(manifest: Manifest) -> bool:
    """Whether work of its own has."""
    status = manifest.get("status") or {}
    rows = [status.get("work") or {}, *(status.get("folds") or []), *(status.get("configurations") or [])]
    return any(row.get("state") == State.FAILED.value for row in rows)


def folders(manifests: Sequence[Manifest]) -> list[str]:
    """A line a finished fold: where its results lie, and what is there to look at."""
    lines = []
    for manifest in manifests:
        for fold in (manifest.get("status") or {}).get("folds") or [] if manifest["kind"] == "TrainingRun" else []:
            if not fold.get("folder"):
                continue
            folder = Path(place(fold["folder"]))
            shown = (keys.PROGRESS_PLOT, keys.VALIDATION_SUMMARY, keys.FINAL_CHECKPOINT)
            there = [name for name in shown if (folder / name).exists()]
            said = f"  ({', '.join(there)})" if there else ""
            lines.append(f"  {manifest['metadata']['name']}, fold {fold['name']}: {place(fold['folder'])}{said}")
    return lines


def closing(manifests: Sequence[Manifest], store: str) -> str:
    """All that is said when the work has ended.

    Args:
        manifests: the four kinds' objects.
        store: the arguments that name the store again, empty for the default one.
    """
    parts = [runs(manifests)]
    if places := folders(manifests):
        parts.append("\n".join(["Results, in nnU-Net's layout:", *places]))
    bad = [manifest for manifest in manifests if kstatus.compute(manifest) in (Status.FAILED, Status.IN_PROGRESS)]
    # What failed by itself comes before what waits for it, or fails by it.
    bad.sort(key=lambda m: (kstatus.compute(m) is not Status.FAILED, not _has_failed(m)))
    for manifest in bad:
        why, message = kstatus.reason(manifest)
        parts.append(f"{manifest['kind'].lower()}/{manifest['metadata']['name']}: {why or 'not looked at yet'}: {message}")
    parts.append("\n".join(["Next:", *(f"  {line}" for line in _next(manifests, bad, store))]))
    return "\n\n".join(part for part in parts if part)


def _next(manifests: Sequence[Manifest], bad: Sequence[Manifest], store: str) -> list[str]:
    ours, trainer = f"{quote(program('nnunet-operator'))} local", quote(program("nnunet-trainer"))
    lines = [f"{ours} get{store}"]
    lines += [f"{ours} describe {bad[0]['kind'].lower()} {bad[0]['metadata']['name']}{store}"] if bad else []
    paused = [m for m in manifests if kstatus.compute(m) is Status.SUSPENDED]
    lines += [f"{ours} resume trainingrun/{manifest['metadata']['name']}{store}" for manifest in paused]
    refused = [m for m in bad if NEVER_CHANGES in kstatus.reason(m)[1] and kstatus.reason(m)[0] != reasons.PLUGIN_CHANGED]
    again = "# then apply it with the right name or value"
    lines += [f"{ours} delete {m['kind'].lower()}/{m['metadata']['name']}{store}  {again}" for m in refused]
    runs_ = [m for m in manifests if m["kind"] == "TrainingRun" and (m.get("status") or {}).get("results")]
    if bad:
        lines.append(f"{ours} logs {bad[0]['kind'].lower()}/{bad[0]['metadata']['name']}{store}")
    for manifest in sorted(runs_, key=lambda m: m["status"].get("meanDice") or 0)[-1:]:
        folds = [fold for fold in manifest["status"].get("folds") or [] if fold.get("folder")]
        if folds:
            model, fold = quote(place(folds[0]["folder"]).rsplit("/", 1)[0]), folds[0]["name"]
            before = manifest["spec"].get("previousStage")
            previous = f" --previous-stage SEGMENTATIONS_OF_{before['runRef']['name']}" if before else ""
            plugins = _plugins(manifest, manifests)
            lines.append(f"{trainer} predict --model {model} --folds {fold} -i IMAGES -o SEGMENTATIONS{previous}{plugins}")
            lines.append(f"{trainer} report {model}")
    return lines


def _plugins(run: Manifest, manifests: Sequence[Manifest]) -> str:
    """The options that prediction with a run's model needs: the folder of each plug-in that its plans need."""
    key = (run["metadata"].get("namespace"), (run["spec"].get("plansRef") or {}).get("name"))
    for plans in manifests:
        if plans["kind"] == "Plans" and (plans["metadata"].get("namespace"), plans["metadata"]["name"]) == key:
            rows = (plans.get("status") or {}).get("plugins") or []
            return "".join(f" --plugins FOLDER_OF_{row['name']}" for row in rows if row.get("needed"))
    return ""
