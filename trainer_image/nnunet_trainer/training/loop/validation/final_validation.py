"""The validation of a trained fold: each rank predicts its share of the cases, the first one compares them all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import Stopped
from nnunet_trainer.dataset.description import read_json
from nnunet_trainer.dataset.files import is_hidden
from nnunet_trainer.inference.tile_progress import TileProgress
from nnunet_trainer.inference.validation import validate as predict_and_compare

from ...ranks import distributed
from ...ranks.file_gathering import gather
from ...reporting.reporter import VALIDATING, Reporter
from ...session import previous_stage
from ...session.session import Session

SUMMARY = "summary.json"
log = logging.getLogger(__name__)


def validate(session: Session, reporter: Reporter, *, keep_existing: bool) -> dict[str, Any] | None:
    """Predict the validation cases, compare them with the ground truth; the summary, on the first rank.

    Args:
        session: trained.
        reporter: tells how far it is.
        keep_existing: the final checkpoint was there before, so predictions that are there are its own.
    """
    from nnunet_trainer.inference.validation import is_whole

    setup, ranks = session.setup, session.ranks
    out = setup.fold_folder / "validation"
    done = (
        keep_existing
        and ranks.first
        and previous_stage.predicted(setup, session.configuration, session.validation_cases)
        and is_whole(out, session.validation_cases, session.plans, setup.dataset_json, save_probabilities=setup.save_probabilities)
    )
    if distributed.from_first(done):
        return read_json(out / SUMMARY) if ranks.first else None

    result = whole_images(
        session,
        reporter,
        out,
        what="validation",
        kept="what is done is kept",
        mirror_axes=session.mirror_axes or (),
        next_stages=setup.model_folder / keys.PREDICTED_NEXT_STAGE,
        keep_existing=keep_existing,
        save_probabilities=setup.save_probabilities,
    )
    if result is not None:
        reporter.line(f"Mean Validation Dice: {result['foreground_mean']['Dice']}")
    return result


def whole_images(
    session: Session,
    reporter: Reporter,
    out: Path,
    *,
    what: str,
    kept: str,
    mirror_axes: Sequence[int],
    next_stages: Path | None = None,
    keep_existing: bool = False,
    save_probabilities: bool = False,
) -> dict[str, Any] | None:
    """Predict the fold's validation cases as whole images into `out`, and compare them. Every rank calls this.

    Args:
        session: its network predicts.
        reporter: tells how far it is.
        out: in the fold's folder.
        what: it is called when it is stopped.
        kept: what a stop leaves of it.
        mirror_axes: all combinations are averaged.
        next_stages: where the next stages of a cascade find their inputs; None: nothing is predicted for them.
        keep_existing: cases that `out` holds whole are not predicted again.
        save_probabilities: write them too.

    Returns:
        nnU-Net's summary on the first rank, None on others.

    Raises:
        BadData: no cases, or no ground truth of one.
        Stopped: `setup.stop` was set.
    """
    setup, ranks = session.setup, session.ranks

    def tell(done: int, total: int) -> None:
        counted[:] = done, total
        session.leave_steps(f"{what}, {done} of {total} cases")
        reporter.progress(VALIDATING, done, total, force=True)
        ranks.peers.check()
        if setup.stop.is_set():
            raise Stopped("Stopped", f"The {what} was stopped after {done} of {total} cases; {kept}.")

    counted = [0, 0]
    minutely = TileProgress(lambda line: reporter.line(f"{what.capitalize()}: {line}"))

    def look(case: str, tiles: int, of: int) -> None:
        minutely(case, tiles, of)
        reporter.progress(VALIDATING, *counted, share=tiles / of)
        ranks.peers.check()
        if setup.stop.is_set():
            raise Stopped("Stopped", f"The {what} was stopped in the middle of a case; {kept}.")

    def wait() -> None:
        ranks.peers.check()
        if setup.stop.is_set():
            raise Stopped("Stopped", f"The {what} was stopped while other ranks were predicting; {kept}.")

    def warn(text: str) -> None:
        if text not in session.warnings:  # a full evaluation comes upon the same images again and again
            reporter.warn(text)

    if ranks.device.type == "cuda":
        # What training has reserved would count as taken when the sums of a large image look for room.
        session.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()

    # One rank may have far larger images than another, and the first compares while the others wait.
    with distributed.patient() as group:

        def come_together() -> None:
            own = session.validation_cases[ranks.rank :: ranks.world_size]
            gather(setup.model_folder, _files_of(own, (out, next_stages), session.validation_cases), group, wait)

        result = predict_and_compare(
            session.network,
            plans=session.plans,
            configuration=setup.configuration,
            dataset_json=setup.dataset_json,
            store=session.store,
            cases=session.validation_cases,
            ground_truth=setup.preprocessed / "gt_segmentations",
            out=out,
            mirror_axes=mirror_axes,
            precision=session.precision.name,
            next_stages=next_stages,
            device=ranks.device,
            rank=ranks.rank,
            world_size=ranks.world_size,
            barrier=come_together,
            progress=tell,
            on_tiles=look,
            workers=session.workers,
            keep_existing=keep_existing,
            save_probabilities=save_probabilities,
            warn=warn if ranks.first else log.warning,
        )
        distributed.meet(group, wait)
    return result


def _files_of(own: Iterable[str], folders: Iterable[Path | None], cases: Iterable[str]) -> Iterator[Path]:
    """What a rank has written for its cases: predictions, and what the next stage of a cascade takes."""
    own, cases = set(own), set(cases)
    for folder in folders:
        for path in folder.rglob("*") if folder else ():
            if path.is_file() and not is_hidden(path.relative_to(folder)) and _case(path.name, cases) in own:
                yield path


def _case(name: str, cases: set[str]) -> str | None:
    """The case whose name a file bears; a case's name may hold dots."""
    parts = name.split(".")
    return next((case for n in range(len(parts) - 1, 0, -1) if (case := ".".join(parts[:n])) in cases), None)
