"""Finds trained folds in nnU-Net's results layout and says what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_trainer.contract.faults import BadUsage
from nnunet_trainer.contract.keys import FINAL_CHECKPOINT, VALIDATION_SUMMARY
from nnunet_trainer.evaluation.metrics import LabelOrRegion
from nnunet_trainer.evaluation.summary import read_summary


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldResult:
    """One `Dataset…/Trainer__Plans__Configuration/fold_K`. `dice` is the final validation's mean per label or region."""

    folder: Path
    dataset: str
    trainer: str
    plans: str
    configuration: str
    fold: str
    finished: bool
    cases: int = 0
    mean_dice: float | None = None
    dice: dict[LabelOrRegion, float] = field(default_factory=dict)


def _fold_folders(root: Path) -> Iterator[Path]:
    if root.name.startswith("fold_"):
        yield root
        return
    yield from sorted(p for p in root.rglob("fold_*") if p.is_dir() and p.parent.name.count("__") >= 2)


def fold_result(folder: Path) -> FoldResult:
    """What a fold's folder holds.

    Raises:
        BadData: its summary.json cannot be read.
    """
    trainer, plans, configuration = folder.parent.name.rsplit("__", 2)
    summary_file = folder / VALIDATION_SUMMARY
    summary = read_summary(summary_file) if summary_file.is_file() else None
    return FoldResult(
        folder=folder,
        dataset=folder.parent.parent.name,
        trainer=trainer,
        plans=plans,
        configuration=configuration,
        fold=folder.name.removeprefix("fold_"),
        finished=(folder / FINAL_CHECKPOINT).is_file(),
        cases=len(summary["metric_per_case"]) if summary else 0,
        mean_dice=summary["foreground_mean"]["Dice"] if summary else None,
        dice={label: values["Dice"] for label, values in summary["mean"].items()} if summary else {},
    )


def find_folds(roots: Iterable[Path]) -> list[FoldResult]:
    """Every fold below some results folders, by dataset and trainer.

    Raises:
        BadUsage: a folder that is not there, or that holds no fold.
    """
    found: dict[Path, FoldResult] = {}
    for root in roots:
        if not root.is_dir():
            raise BadUsage("NoSuchFolder", f"There is no folder {root}.")
        folders = list(_fold_folders(root.absolute()))
        if not folders:
            hint = "Name nnUNet_results, a dataset's folder in it, Trainer__Plans__Configuration, or a fold."
            raise BadUsage("NoResults", f"{root} holds no Trainer__Plans__Configuration/fold_K folder.", hint=hint)
        found |= {folder: fold_result(folder) for folder in folders}
    return sorted(found.values(), key=lambda r: (r.dataset, r.trainer, r.plans, r.configuration, r.fold))


def table(results: Iterable[FoldResult]) -> str:
    """One line a fold, in aligned columns, with Dice per label, then where each lies."""
    rows = list(results)
    labels = sorted({label for row in rows for label in row.dice}, key=str)
    header = ["DATASET", "TRAINER", "PLANS", "CONFIG", "FOLD", "STATE", "CASES", "DICE", *(f"DICE {label}" for label in labels)]
    lines = [header]
    for row in rows:
        state = "validated" if row.mean_dice is not None else "trained" if row.finished else "unfinished"
        per_label = [_number(row.dice.get(label)) for label in labels]
        cases = str(row.cases) if row.cases else "-"
        lines.append(
            [row.dataset, row.trainer, row.plans, row.configuration, row.fold, state, cases, _number(row.mean_dice), *per_label]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*text, "", *(str(row.folder) for row in rows)])


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"
