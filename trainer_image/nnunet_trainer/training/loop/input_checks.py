"""Whether plans, recipe and data fit each other: said before anything is trained, and of a batch before it is."""

from __future__ import annotations

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.inference.validation import require_ground_truth
from nnunet_trainer.planning.validate import validate

from ..data.batch import Batch
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


def check_labels(batch: Batch, labels: LabelManager) -> None:
    """Before a batch is trained on: a label without an output would end a GPU's process without saying which.

    Raises:
        BadData: a label that dataset.json does not name; the case is named.
    """
    highest = max([*labels.all_labels, labels.ignore_label or 0])
    if not batch.seg.numel() or int(batch.seg.max()) <= highest:
        return
    values = batch.seg.flatten(1).amax(1).tolist()
    place = max(range(len(values)), key=lambda slot: values[slot])
    raise BadData(
        "UnknownLabel",
        f"The preprocessed label of {batch.cases[place]} holds the value {values[place]}; dataset.json names 0 to {highest}.",
        hint="Run nnunet-trainer verify, mend the labels or dataset.json, preprocess again.",
    )
