"""Where a fold's results lie, and how the storage is reached: from the statuses of its TrainingRun and its Plans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_operator.inspection.parts import Part
from nnunet_operator.reconcile.view import Manifest
from nnunet_trainer.contract import keys, uri
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.work_order import Location

_RESULTS = re.compile(r"^(?P<run>.*)/nnUNet_results/(?P<below>[^/]+/[^/]+/fold_[^/]+)/?$")
_ATTEMPT = re.compile(r"^(?P<run>.*)/attempts/[^/]+/fold_[^/]+/[^/]+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldPlace:
    """One fold in its storage.

    Attributes:
        fold: its name.
        run: the URI below which all that the run made lies; its attempts lie in `attempts/`.
        below: nnU-Net's fold folder below nnUNet_results: `Dataset…/Trainer__Plans__Configuration/fold_0`.
        done: whether that folder is there: the fold is trained.
        checkpoint: of an unfinished fold, the newest one that is safe: `uri`, `epoch`, `sha256`.
        access: `endpoint`, `region`, `pathStyle`, `caConfigMap` of the storage.
    """

    fold: str
    run: str
    below: str
    done: bool
    checkpoint: Mapping[str, Any]
    access: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The URI of nnU-Net's fold folder."""
        return f"{self.run}/nnUNet_results/{self.below}"

    def location(self, endpoint: str | None = None) -> Location:
        """The run's prefix, to be reached with the caller's own credentials.

        Args:
            endpoint: instead of the one that the cluster uses.

        Raises:
            BadConfiguration: it is in no object store.
        """
        if uri.parse(self.run).scheme != "s3":
            text = f"{self.run} is in no object store: it can only be read where it is mounted."
            raise BadConfiguration("NotInS3", text, hint="Copy it out of a pod that mounts it: kubectl cp")
        style = self.access.get("pathStyle")
        return Location(
            uri=self.run,
            endpoint=endpoint or self.access.get("endpoint"),
            region=self.access.get("region"),
            path_style=style if isinstance(style, bool) else None,
        )


def of_fold(run: Manifest, part: Part, plans: Manifest | None) -> FoldPlace | None:
    """Where a fold lies; None while nothing of it is safe in the storage.

    Args:
        run: the TrainingRun.
        part: its fold.
        plans: its Plans, or None where they are gone.
    """
    status = part.status
    fold, checkpoint = str(status.get("name", "")), status.get("checkpoint") or {}
    access = status.get("artifact") or (run["spec"].get("storage") or _storage_of(plans))
    if done := _RESULTS.match(str(status.get("folder", ""))):
        return FoldPlace(fold=fold, run=done["run"], below=done["below"], done=True, checkpoint={}, access=access)
    if going := _ATTEMPT.match(str(checkpoint.get("uri", ""))):
        below = _below(run, plans, fold)
        return FoldPlace(fold=fold, run=going["run"], below=below, done=False, checkpoint=checkpoint, access=access)
    return None


def _storage_of(plans: Manifest | None) -> Mapping[str, Any]:
    return ((plans or {}).get("status") or {}).get("storage") or {}


def _below(run: Manifest, plans: Manifest | None, fold: str) -> str:
    """The folder that nnU-Net would give an unfinished fold."""
    spec, made = run["spec"], (plans or {}).get("status") or {}
    trainer = str((spec.get("trainer") or {}).get("name") or "nnUNetTrainer")
    names = (str(made.get("datasetName") or "Dataset"), trainer, str(made.get("plansName") or "nnUNetPlans"))
    return keys.fold_folder(*names, str(spec.get("configuration") or "3d_fullres"), fold).removeprefix("nnUNet_results/")
