"""summary.json as nnU-Net writes it: metrics per case, their mean per label or region, and the mean over the foreground."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadData

from .metrics import LabelOrRegion, Metrics, overlap

ReadSegmentation = Callable[[Path], np.ndarray]
CaseMetrics = dict[str, Any]


def summarize(cases: Iterable[CaseMetrics], labels_or_regions: Sequence[LabelOrRegion]) -> dict[str, Any]:
    """Means over cases. A case where a label is in neither has Dice NaN and does not count in its mean.

    Args:
        cases: each `{"reference_file", "prediction_file", "metrics": overlap(…)}`.
        labels_or_regions: as in `overlap`.
    """
    listed = list(cases)
    names = ("Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref")
    with warnings.catch_warnings():
        # A label that no case has: its mean is NaN, which is what is meant.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: dict[LabelOrRegion, Metrics] = {
            label: {name: float(np.nanmean([case["metrics"][label][name] for case in listed])) for name in names}
            for label in labels_or_regions
        }
        foreground = {name: float(np.mean([values[name] for label, values in mean.items() if label != 0])) for name in names}
    return {"foreground_mean": foreground, "mean": mean, "metric_per_case": listed}


def summary(
    reference_folder: Path,
    prediction_folder: Path,
    *,
    labels_or_regions: Sequence[LabelOrRegion],
    file_ending: str,
    read: ReadSegmentation,
    ignore_label: int | None = None,
    require_all: bool = False,
    cases: Sequence[str] | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Compare every prediction of a folder with the reference of the same file name.

    Args:
        reference_folder: ground truth.
        prediction_folder: what to judge.
        labels_or_regions: `LabelManager.foreground_regions` or `.foreground_labels`.
        file_ending: of both, with the dot.
        read: a segmentation from a file.
        ignore_label: of the reference.
        require_all: every reference must have been predicted.
        cases: only these, which must have been predicted; default: all that were.
        workers: threads.

    Raises:
        BadData: no predictions, a prediction without reference, shapes that differ, or a reference without prediction.
    """
    predictions = files_of(Path(prediction_folder), file_ending)
    if cases is not None:
        wanted = {f"{case}{file_ending}" for case in cases}
        predictions = [p for p in predictions if p.name in wanted]
    if not predictions:
        raise BadData("NoPredictions", f"{prediction_folder} holds no file that ends in {file_ending}.")
    references = {p.name for p in files_of(Path(reference_folder), file_ending)}
    findings = [f"{p.name}: no reference of that name in {reference_folder}" for p in predictions if p.name not in references]
    if require_all or cases is not None:
        missing = sorted((references if cases is None else wanted) - {p.name for p in predictions})
        findings += [f"{name}: not predicted" for name in missing]
    if findings:
        raise BadData("CasesDiffer", f"{prediction_folder} and {reference_folder} do not hold the same cases.", findings=findings)

    def compare(prediction: Path) -> CaseMetrics:
        reference = Path(reference_folder) / prediction.name
        truth, found = read(reference), read(prediction)
        if truth.shape != found.shape:
            message = f"{prediction.name}: the prediction's shape is {found.shape}, the reference's {truth.shape}."
            raise BadData("ShapesDiffer", message, hint="Predictions must have the geometry of the image they were made from.")
        metrics = overlap(truth, found, labels_or_regions, ignore_label)
        return {"metrics": metrics, "prediction_file": str(prediction), "reference_file": str(reference)}

    if workers <= 1:
        return summarize(map(compare, predictions), labels_or_regions)
    with ThreadPoolExecutor(workers) as pool:
        return summarize(pool.map(compare, predictions), labels_or_regions)


def files_of(folder: Path, file_ending: str) -> list[Path]:
    """Files by name; hidden ones are still being written."""
    if not folder.is_dir():
        raise BadData("NoSuchFolder", f"There is no folder {folder}.")
    return sorted(p for p in folder.iterdir() if p.name.endswith(file_ending) and not p.name.startswith(".") and p.is_file())


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    """Labels and regions as JSON keys: `1`, `(1, 2)`."""
    cases = [{**case, "metrics": {str(k): v for k, v in case["metrics"].items()}} for case in result["metric_per_case"]]
    return {**result, "mean": {str(k): v for k, v in result["mean"].items()}, "metric_per_case": cases}


def _label(key: str) -> LabelOrRegion:
    if key.startswith("("):
        return tuple(int(part) for part in key.strip("()").split(",") if part.strip())
    return int(key)


def write_summary(result: dict[str, Any], file: Path) -> None:
    """Write summary.json in nnU-Net's form, at once or not at all."""
    file = Path(file)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_text(json.dumps(_plain(result), sort_keys=True, indent=4))
    os.replace(beside, file)


def read_summary(file: Path) -> dict[str, Any]:
    """Read ours or nnU-Net's summary.json, labels and regions as keys.

    Raises:
        BadData: not such a file.
    """
    try:
        result = json.loads(Path(file).read_text())
        result["mean"] = {_label(k): v for k, v in result["mean"].items()}
        for case in result["metric_per_case"]:
            case["metrics"] = {_label(k): v for k, v in case["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData("InvalidSummary", f"{file} is not a summary.json of nnU-Net: {error}.") from error
    return result
