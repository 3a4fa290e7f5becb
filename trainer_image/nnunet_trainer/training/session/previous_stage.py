"""The second stage of a cascade: where the previous stage's predictions lie, and whether all of them are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset import splits
from nnunet_trainer.dataset.description import read_json
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing import integrity
from nnunet_trainer.preprocessing.previous_stage import has_previous_stage, previous_stage_file
from nnunet_trainer.preprocessing.storage import PreprocessedFolder

from .setup import TrainingSetup

MOST = 5
"""Names that are shown."""


def open_store(setup: TrainingSetup, configuration: Configuration) -> PreprocessedFolder:
    """The preprocessed cases, with the previous stage's segmentations where the configuration has one.

    Raises:
        BadData: there is no such folder.
    """
    folder = setup.preprocessed / configuration.data_identifier
    return PreprocessedFolder(folder, predictions(setup, configuration) if configuration.previous_stage else None)


def predictions(setup: TrainingSetup, configuration: Configuration) -> Path:
    """Where they lie: as asked (the folder itself, or the model's folder), else where nnU-Net has them, under the same trainer."""
    if setup.previous_stage is not None:
        inside = setup.previous_stage / keys.PREDICTED_NEXT_STAGE / configuration.name
        return inside if inside.is_dir() else setup.previous_stage
    model = f"{setup.trainer}__{setup.plans['plans_name']}__{configuration.previous_stage}"
    return setup.model_folder.with_name(model) / keys.PREDICTED_NEXT_STAGE / configuration.name


def predicted(setup: TrainingSetup, configuration: Configuration, cases: Sequence[str]) -> bool:
    """Whether these cases are predicted for each next stage that the configuration has."""
    folders = [setup.model_folder / keys.PREDICTED_NEXT_STAGE / name for name in configuration.next_stages]
    return all(has_previous_stage(folder, case) for folder in folders for case in cases)


def check(
    setup: TrainingSetup, plans: Plans, configuration: Configuration, store: PreprocessedFolder, cases: Sequence[str]
) -> None:
    """Refuse to begin what could not go on, or not end.

    Raises:
        BadData: cases without a segmentation by the previous stage.
        BadConfiguration: the plans lack a next stage, for which the final validation predicts.
    """
    for following in configuration.next_stages if setup.validates else ():
        plans.configuration(following)
    if not configuration.previous_stage:
        return
    folder = store.previous_stage
    missing = [case for case in dict.fromkeys(cases) if folder is None or not has_previous_stage(folder, case)]
    if not missing:
        return
    more = f" and {len(missing) - MOST} more" if len(missing) > MOST else ""
    message = (
        f"{configuration.name} has the predictions of {configuration.previous_stage} as an input. "
        f"{setup.previous_stage_source or folder} lacks those of {', '.join(missing[:MOST])}{more}.{_damage(folder, missing)}"
    )
    raise BadData("MissingPreviousStage", message, hint=_advice(setup, configuration, store, missing))


def _damage(folder: Path | None, missing: Sequence[str]) -> str:
    """What is wrong with those that are there."""
    there = [] if folder is None else [path for case in missing if (path := previous_stage_file(folder, case)) is not None]
    if not there:
        return ""
    count = f"{len(there)} of them {'is' if len(there) == 1 else 'are'} there, but damaged"
    return f" {count} ({there[0].name}: {integrity.fault(there[0])})."


def _advice(setup: TrainingSetup, configuration: Configuration, store: PreprocessedFolder, missing: Sequence[str]) -> str:
    previous = configuration.previous_stage
    path = setup.preprocessed / "splits_final.json"
    made = read_json(path) if path.is_file() else splits.make_splits(store.cases)
    folds = [str(number) for number, split in enumerate(made) if not set(missing).isdisjoint(split["val"])]
    which = f"fold{'s' if len(folds) > 1 else ''} {', '.join(folds)} of {previous}" if folds else previous
    advice = f"Train {which} with the final validation, which predicts the cases of each fold"
    if not setup.previous_stage_source:
        advice = f"{advice} (what is trained already: --continue)"
    if setup.previous_stage_source:
        return f"{advice}."
    pattern = f"*__{setup.plans['plans_name']}__{previous}/{keys.PREDICTED_NEXT_STAGE}/{configuration.name}"
    others = [str(folder) for folder in sorted(setup.model_folder.parent.glob(pattern)) if folder != store.previous_stage]
    if others:
        return f"{advice}, or say --previous-stage. There is {', '.join(others[:MOST])}."
    return f"{advice}, or say with --previous-stage where they lie."
