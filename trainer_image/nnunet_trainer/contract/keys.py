"""Where artifacts lie below a storage's URI, and the digests that address them.

An artifact's digest is that of its inputs, so that the same work is done once and found again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

MANIFEST = "manifest.json"
"""Written last, and only if absent: an artifact without it is not whole."""

FINAL_CHECKPOINT = "checkpoint_final.pth"
VALIDATION_SUMMARY = "validation/summary.json"
PROGRESS_PLOT = "progress.png"
"""In a fold's folder, as nnU-Net names them."""

PREDICTED_NEXT_STAGE = "predicted_next_stage"
"""The folder in a model's folder that holds, by configuration, what its final validation predicted for the next stage."""

PREPROCESSED_FORMAT = 1
"""Bumped when preprocessing writes something else for the same input."""


LONGEST_NAME = 255
"""Bytes of a file's or folder's name, on all usual file systems."""


def is_one_name(value: Any) -> bool:
    """Whether a text can be the name of one file or folder, below the one where it is looked for: it leads nowhere else."""
    if not isinstance(value, str) or value in ("", ".", "..") or not value.isprintable():
        return False
    return "/" not in value and "\\" not in value and len(value.encode()) <= LONGEST_NAME


def digest(*parts: Any) -> str:
    """sha256 over canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def short(full: str) -> str:
    """A digest as it stands in a key: 16 hexadecimal digits."""
    return full[:16]


def dataset_digest(files: Iterable[tuple[str, int, str]]) -> str:
    """sha256 over the sorted (path, size, sha256) of all files of a dataset."""
    return digest("dataset", sorted([path, size, sha] for path, size, sha in files))


def preprocessed_digest(dataset: str, preprocessing: dict[str, Any]) -> str:
    """From the dataset's digest and those fields of a configuration that decide its preprocessed data."""
    return digest("preprocessed", PREPROCESSED_FORMAT, dataset, preprocessing)


def run_digest(preprocessed: str, plans: str, configuration: str, recipe: Any, seed: int, pretrained: str | None) -> str:
    """From all that decides a training's result. Image, resources and the number of GPUs are not in it."""
    return digest("run", preprocessed, plans, configuration, recipe, seed, pretrained)


def dataset(name: str, full: str) -> str:
    """`datasets/<name>/<digest>`"""
    return f"datasets/{name}/{short(full)}"


def plans(name: str, full: str) -> str:
    """`plans/<dataset name>/<digest>`"""
    return f"plans/{name}/{short(full)}"


def preprocessed(name: str, full: str) -> str:
    """`preprocessed/<dataset name>/<digest>`"""
    return f"preprocessed/{name}/{short(full)}"


def runs(namespace: str, name: str) -> str:
    """`runs/<namespace>/<run>`: below it one folder for each digest."""
    return f"runs/{namespace}/{name}"


def run(namespace: str, name: str, full: str) -> str:
    """`runs/<namespace>/<run>/<digest>`"""
    return f"{runs(namespace, name)}/{short(full)}"


def owners(run_prefix: str) -> str:
    """The folder, below a run's prefix, in which the objects are named whose results lie there."""
    return f"{run_prefix}/owners"


def fold_folder(dataset_name: str, trainer: str, plans_name: str, configuration: str, fold: str) -> str:
    """nnU-Net's own results folder, below a run's prefix."""
    return f"nnUNet_results/{dataset_name}/{trainer}__{plans_name}__{configuration}/fold_{fold}"
