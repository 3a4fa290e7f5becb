"""Whether plans, recipe and data fit each other: said before anything is trained."""

from __future__ import annotations

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.inference.validation import require_ground_truth
from nnunet_trainer.planning.plans.validate import validate

from ..session.session import Session
from ..session.setup import TrainingSetup


def check_plans(setup: TrainingSetup) -> None:
    """Before anything is built.

    Raises:
        BadConfiguration: fields of the plans that are missing, impossible, or contradict each other or dataset.json.
    """
    validate(setup.plans, setup.dataset_json, spare_channels=True)


def check_data(session: Session) -> None:
    """Before anything is trained.

    Raises:
        BadData: the preprocessed data have other channels than dataset.json, or labels for the final validation are missing.
    """
    setup, case = session.setup, session.training_cases[0]
    expected, found = len(channel_names(setup.dataset_json)), session.store.open(case).data.shape[0]
    if found != expected:
        raise BadData(
            "ChannelMismatch",
            f"The preprocessed case {case} has {found} {'channels' if found > 1 else 'channel'}; dataset.json has {expected}.",
            hint=f"Remove {session.store.folder}, then preprocess this configuration again, with these plans.",
        )
    if setup.validates or session.recipe.full_evaluation is not None:
        require_ground_truth(session.validation_cases, setup.preprocessed / "gt_segmentations", setup.dataset_json["file_ending"])
