"""Evaluations in the course of a training (`recipe.fullEvaluation`): the fold's validation cases predicted as whole images.

Each leaves `validation_after_ep_<epoch>/summary.json` in the fold's folder, as nnU-Net v1's nnUNetTrainerV2_fullEvals names it. The
segmentations go once they are compared: those of a thousand epochs would fill the disk.
"""

from __future__ import annotations

import math
import time

from ...ranks import distributed
from ...reporting.reporter import Reporter, class_names
from ...session.session import Session
from . import final_validation

EVALUATED = "validation_after_ep"
"""What their folders' names begin with; the number of the epoch follows, from 0 on."""


def due(session: Session) -> bool:
    """Whether the epoch that is being trained ends with one."""
    asked = session.recipe.full_evaluation
    return asked is not None and (session.epoch + 1) % asked.every_epochs == 0


def evaluate(session: Session, reporter: Reporter) -> list[float]:
    """The Dice of each foreground class or region, the mean over cases. Every rank calls this and gets the same.

    As in nnU-Net v1, nothing is mirrored, so that it takes an eighth of the final validation's time.

    Raises:
        BadData: a case without ground truth.
        Stopped: `setup.stop` was set.
    """
    began, out = time.monotonic(), session.setup.fold_folder / f"{EVALUATED}_{session.epoch:04d}"
    result = final_validation.whole_images(
        session,
        reporter,
        out,
        what="full evaluation",
        kept="it begins anew from the checkpoint that was saved before",
        mirror_axes=(),
    )
    classes = session.labels.foreground_classes
    dice: list[float] = distributed.from_first(result and [float(result["mean"][label]["Dice"]) for label in classes])
    for path in out.iterdir() if out.is_dir() else ():
        if path.name != final_validation.SUMMARY:
            path.unlink(missing_ok=True)  # ranks may share the folder
    if session.ranks.first:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in zip(class_names(session), dice, strict=True))
        reporter.line(f"Dice of whole images: {shown} ({time.monotonic() - began:.1f} s)")
    return dice


def none(session: Session) -> list[float]:
    """What an epoch without an evaluation says of each class: nothing."""
    return [math.nan] * len(session.labels.foreground_classes)
