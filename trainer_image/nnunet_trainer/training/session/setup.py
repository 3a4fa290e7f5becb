"""What a training is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Literal

from nnunet_trainer.contract.progress import ProgressHook
from nnunet_trainer.contract.work_order import CheckpointPolicy, PretrainedPolicies

from ..pretrained import LoadReport
from ..recipes.recipe import Recipe

CheckpointHook = Callable[[Path, int, str], None]
"""Called by the first rank's writing thread with each name of a checkpoint that is on disk, its finished epochs and its sha256."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContinuedTraining:
    """A finished training that another one goes on from.

    Args:
        checkpoint: its checkpoint_final.pth.
        epochs: those that it has finished.
        additional_epochs: those that are to follow.
        schedule: what the learning rate, and all else that changes over the epochs, does in those: Stretch, as if all epochs had
            been planned from the start; Restart, as in a training of the additional epochs alone.
        source: what messages say it is.
    """

    checkpoint: Path
    epochs: int
    additional_epochs: int
    schedule: Literal["Stretch", "Restart"]
    source: str

    @property
    def all_epochs(self) -> int:
        """Its own and the additional ones."""
        return self.epochs + self.additional_epochs

    def about(self) -> dict[str, Any]:
        """What decides the result, as data."""
        return {"epochs": self.epochs, "additionalEpochs": self.additional_epochs, "schedule": self.schedule}


@dataclass(kw_only=True, slots=True)
class TrainingSetup:
    """One fold of one trainer on one configuration.

    Args:
        preprocessed: the dataset's folder, nnUNet_preprocessed/DatasetXXX_Name.
        results: nnUNet_results; the fold's folder below it follows from all the names.
        plans: plans.json's content.
        dataset_json: dataset.json's content.
        configuration: its name in the plans.
        fold: "0", "1" … or "all".
        trainer: the name that stands in the folder.
        recipe: what the trainer is; with `continues` its epochs are all of them.
        seed: of everything random.
        device: auto, cpu, cuda or cuda:N.
        device_reason: why that one, for the log; None: it was asked for by hand.
        workers: processes that prepare batches, 0: none; None: by the container's limits, on a CPU one thread.
        checkpoint: how often one is written.
        resume: go on from what is in the fold's folder; False refuses a folder that has checkpoints.
        resume_from: more checkpoints to choose the most advanced one from (those of other attempts).
        continues: a finished training that this one goes on from.
        pretrained: a checkpoint whose weights begin a new training.
        pretrained_policies: what becomes of those that do not fit as they are; default: all but the heads are loaded.
        pretrained_source: what reports say the weights are from.
        previous_stage: in the second stage of a cascade, the folder of the previous stage's predictions, or its model's folder;
            None: nnU-Net's place, `Trainer__Plans__Previous/predicted_next_stage/Configuration` beside this model's folder.
        previous_stage_source: what messages say they are from.
        allow_pickle: execute what a checkpoint contains.
        deterministic: only deterministic kernels (slower); those that torch has none of are named in the warnings.
        profile: log how long each phase of a step takes, after each epoch.
        validation: predict the validation cases at the end; None: unless the fold is "all".
        save_probabilities: of the validation cases too, as nnU-Net's --npz.
        listener: hears of progress, every epoch and every few seconds.
        on_checkpoint: called after each checkpoint.
        before_abort: called with the seconds there are, before this process is ended from another thread (its main one is stuck).
        log: hears each line of the training log.
        on_step: hears every few iterations how many of the epoch's are done, and of how many.
        stop: when set, a checkpoint is written and `Stopped` raised.
    """

    preprocessed: Path
    results: Path
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    configuration: str
    fold: str
    trainer: str = "nnUNetTrainer"
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 12345
    device: str = "auto"
    device_reason: str | None = None
    workers: int | None = None
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    resume: bool = False
    resume_from: Sequence[Path] = ()
    continues: ContinuedTraining | None = None
    pretrained: Path | None = None
    pretrained_policies: PretrainedPolicies = field(default_factory=PretrainedPolicies)
    pretrained_source: str | None = None
    previous_stage: Path | None = None
    previous_stage_source: str | None = None
    allow_pickle: bool = False
    deterministic: bool = False
    profile: bool = False
    validation: bool | None = None
    save_probabilities: bool = False
    listener: ProgressHook | None = None
    on_checkpoint: CheckpointHook | None = None
    before_abort: Callable[[float], object] | None = None
    log: Callable[[str], None] | None = None
    on_step: Callable[[int, int], None] | None = None
    stop: Event = field(default_factory=Event)

    @property
    def model_folder(self) -> Path:
        """`Dataset/Trainer__Plans__Configuration` below the results."""
        return self.results / self.plans["dataset_name"] / f"{self.trainer}__{self.plans['plans_name']}__{self.configuration}"

    @property
    def fold_folder(self) -> Path:
        """`fold_K` below the model's folder."""
        return self.model_folder / f"fold_{self.fold}"

    @property
    def begins_with(self) -> int:
        """Epochs that were finished before this training."""
        return self.continues.epochs if self.continues else 0

    @property
    def scheduled(self) -> tuple[int, int]:
        """What schedules count: the epoch that is the first one to them, and how many they are."""
        if self.continues and self.continues.schedule == "Restart":
            return self.continues.epochs, self.continues.additional_epochs
        return 0, self.recipe.epochs

    @property
    def validates(self) -> bool:
        """Whether the final validation runs."""
        return self.fold != "all" if self.validation is None else self.validation


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """The end of a training. Losses and Dice are of the last epoch; `validation` is summary.json's content."""

    folder: Path
    checkpoint: Path
    checkpoint_sha256: str
    best: Path | None
    epochs: int
    train_loss: float | None
    val_loss: float | None
    ema_pseudo_dice: float | None
    resumed_from_epoch: int | None
    pretrained: LoadReport | None
    continued: str | None = None
    """What was gone on from, and what the learning rate did there."""
    found: bool
    """The training was done already; nothing was trained."""
    seconds: float
    validation: dict[str, Any] | None = None

    @property
    def validation_dice(self) -> float | None:
        """Mean foreground Dice of the final validation."""
        return None if self.validation is None else self.validation["foreground_mean"]["Dice"]

    @property
    def dice_per_label(self) -> dict[str, float]:
        """Dice by label or region, as summary.json names them."""
        return {} if self.validation is None else {str(k): v["Dice"] for k, v in self.validation["mean"].items()}
