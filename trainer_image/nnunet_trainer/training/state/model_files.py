"""The files beside the checkpoints, from which a model is rebuilt."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from nnunet_trainer.contract.comparison import differences
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import provenance

from ..recipes import recipe as recipes
from ..session.session import Session


def write_model_files(session: Session) -> None:
    """plans.json, dataset.json and dataset_fingerprint.json beside the folds, the recipe in the fold's folder.

    Raises:
        BadConfiguration: other folds of this folder were trained with other plans or labels.
    """
    if not session.ranks.first:
        return
    setup, model = session.setup, session.setup.model_folder
    setup.fold_folder.mkdir(parents=True, exist_ok=True)
    _write_same(model / "plans.json", session.plans.content)
    _write_same(model / "dataset.json", setup.dataset_json)
    fingerprint = setup.preprocessed / "dataset_fingerprint.json"
    if fingerprint.is_file() and not (model / fingerprint.name).exists():
        _write(model / fingerprint.name, fingerprint.read_text())
    about = {
        "trainer": setup.trainer,
        "recipe": recipes.write(setup.recipe),
        **({"continues": {"source": setup.continues.source, **setup.continues.about()}} if setup.continues else {}),
        "seed": setup.seed,
        "device": str(session.ranks.device),
        "worldSize": session.ranks.world_size,
        "torch": torch.__version__,
        **({"plugins": plugins} if (plugins := provenance.records(recipes.used(setup.recipe))) else {}),
        "trainingCases": session.training_cases,
        "validationCases": session.validation_cases,
    }
    _write(setup.fold_folder / "training.json", json.dumps(about, indent=4))


def _write_same(path: Path, value: Any) -> None:
    if path.exists():
        found = differences("", json.loads(path.read_text()), json.loads(json.dumps(value)), "there")
        if not found:
            return
        raise BadConfiguration(
            "ResultsOfOtherPlans",
            f"{path} differs from this training's: the folder holds a model of other plans or labels.",
            findings=found[:20],
            hint="Use another results folder (-o), or another plans name.",
        )
    _write(path, json.dumps(value, indent=4, sort_keys=False))


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(text)
    os.replace(beside, path)
