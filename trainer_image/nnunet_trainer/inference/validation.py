"""The final validation of a fold: every validation case predicted as a whole, exported, compared with its ground truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.contract.precision import PrecisionName
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.dataset.readers.repairs import zero_nonfinite
from nnunet_trainer.evaluation.summary import summary, write_summary
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.prefetching import prefetched
from nnunet_trainer.preprocessing import integrity
from nnunet_trainer.preprocessing.case import revert_segmentation
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, StoredCase

from .cascade import NextStages, with_previous_stage
from .existing import probabilities_are_whole, segmentation_is_whole
from .export import probabilities_from_logits, segmentation_from_logits, write_probabilities, write_segmentation
from .exporting import exporting
from .large_images import Goal, goal, require_room_for_probabilities, segment
from .sliding_window import SlidingWindow, about_case, predict_logits, widest_features
from .tile_progress import CaseTilesHook

CaseHook = Callable[[int, int], None]
"""Called with how many of a rank's cases are done, and of how many."""
SUMMARY = "summary.json"
log = logging.getLogger(__name__)


def validate(
    network: torch.nn.Module,
    *,
    plans: Plans,
    configuration: str,
    dataset_json: dict[str, Any],
    store: PreprocessedFolder,
    cases: Sequence[str],
    ground_truth: Path,
    out: Path,
    mirror_axes: Sequence[int] = (),
    device: torch.device | str = "cpu",
    batch: int | None = None,
    precision: PrecisionName = "auto",
    next_stages: Path | None = None,
    rank: int = 0,
    world_size: int = 1,
    barrier: Callable[[], None] | None = None,
    progress: CaseHook | None = None,
    on_tiles: CaseTilesHook | None = None,
    workers: int = 1,
    keep_existing: bool = False,
    save_probabilities: bool = False,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any] | None:
    """Predict the cases into `out` and write `out/summary.json`.

    Args:
        network: trained; put into evaluation mode and without deep supervision while this runs, and back afterwards.
        plans: of the run.
        configuration: its name.
        dataset_json: of the dataset.
        store: the preprocessed cases; in the second stage of a cascade with the previous stage's segmentations.
        cases: of the whole fold; each rank predicts its share.
        ground_truth: folder of label files (`gt_segmentations`).
        out: the fold's `validation` folder; made when missing.
        mirror_axes: that training mirrored; all combinations are averaged.
        device: where the network is.
        batch: `SlidingWindow.batch`.
        precision: number format of the network: that which it is trained in.
        next_stages: the model's folder `predicted_next_stage`, where the next stages of a cascade find their inputs; None: nothing
            is predicted for them.
        rank: of this process.
        world_size: processes.
        barrier: waits for all processes; needed with more than one.
        progress: called with (done, total) of this rank before each case and at the end; what it raises ends the validation, with
            the cases so far kept.
        on_tiles: hears how far a case is; what it raises ends the validation in the same way, in the middle of a case.
        workers: threads that compare.
        keep_existing: cases that `out` holds whole are not predicted again (after an interruption, with the same weights).
        save_probabilities: write `CASE.npz` and `CASE.pkl` too, from which nnU-Net's find_best_configuration makes ensembles.
        warn: hears of images that hold what is no number; default: the log.

    Returns:
        nnU-Net's summary on rank 0, None on others.

    Raises:
        BadData: no cases, no ground truth for one, or no segmentation of it by the previous stage.
        BadConfiguration: the plans lack a next stage.
        BadConfiguration: the network's output for a case is no number.
        GpuOutOfMemory: not even one tile fits.
    """
    settings, labels = plans.configuration(configuration), LabelManager(dataset_json)
    reader, ending = by_name(plans.image_reader_writer), str(dataset_json["file_ending"])
    require_ground_truth(cases, ground_truth, ending)
    following = None if next_stages is None else NextStages(next_stages, plans, settings)
    out.mkdir(parents=True, exist_ok=True)
    mine, warn = list(cases)[rank::world_size], warn or log.warning

    def is_done(case: str) -> bool:
        file = out / f"{case}{ending}"
        probable = not save_probabilities or probabilities_are_whole(out / f"{case}.npz")
        return probable and segmentation_is_whole(file, reader) and (following is None or following.done(case))

    todo = [case for case in mine if not (keep_existing and is_done(case))]
    window = SlidingWindow(
        patch_size=tuple(settings.patch_size),
        mirror_axes=tuple(mirror_axes),
        batch=batch,
        features=widest_features(settings.architecture),
        precision=precision,
    )

    def read(index: int) -> tuple[torch.Tensor, StoredCase, int]:
        name = todo[index]
        case = store.open(name)
        with store.reading(name):
            image = case.data[:]
        bad = zero_nonfinite(image)
        if settings.previous_stage:
            if case.previous is None:
                raise BadData("NoPreviousStage", f"{configuration} needs the predictions of {settings.previous_stage} as an input.")
            with store.reading(name):
                image = with_previous_stage(image, case.previous[:], labels)
        return torch.from_numpy(image), case, bad

    def export(case: str, logits: torch.Tensor, properties: dict[str, Any], probable: bool) -> None:
        if following is not None:
            following.write(case, following.segmentations(logits, properties, labels))
        if probable:
            probabilities = probabilities_from_logits(logits, properties, plans, settings, labels)
            write_probabilities(probabilities, out / f"{case}.npz", properties)
        segmentation = segmentation_from_logits(logits, properties, plans, settings, labels)
        write_segmentation(segmentation, out / f"{case}{ending}", properties, reader)

    def export_cropped(case: str, segmentations: list[np.ndarray], properties: dict[str, Any]) -> None:
        own, *others = segmentations
        if following is not None:
            following.write(case, others)
        write_segmentation(revert_segmentation(own, properties, plans, labels), out / f"{case}{ending}", properties, reader)

    def goals(image: torch.Tensor, properties: dict[str, Any]) -> list[Goal] | None:
        """What to make of an image whose logits do not fit in memory; None: they do, or they have to."""
        own = goal(image.shape[1:], properties, plans, settings, labels)
        others = [] if own is None or following is None else following.goals(image.shape[1:], properties)
        return None if own is None or others is None else [own, *others]

    done = len(mine) - len(todo)
    with predicting(network), exporting() as exporter:
        for name, (image, stored, bad) in zip(todo, prefetched(read, range(len(todo)), workers=1, ahead=1), strict=True):
            if progress:
                progress(done, len(mine))
            if bad:
                warn(_not_finite(store, name, bad))
            probable, properties = save_probabilities, stored.properties
            if probable:
                try:
                    require_room_for_probabilities(labels.num_segmentation_heads, image.shape[1:], properties)
                except BadData as fault:
                    warn(f"{name}: {fault.message} They are left out.")
                    probable = False
            wanted = None if probable else goals(image, properties)
            hook = None if on_tiles is None else partial(on_tiles, name)
            with about_case(name):
                if wanted is None:
                    logits = predict_logits(network, image, labels.num_segmentation_heads, window, device, hook)
                    exporter.submit(logits.nbytes, export, name, logits, properties, probable)
                else:
                    made = segment([network], image, wanted, labels, window, device, hook)
                    exporter.submit(sum(each.nbytes for each in made), export_cropped, name, made, properties)
            done += 1
    if progress:
        progress(done, len(mine))
    if barrier:
        barrier()
    if rank != 0:
        return None
    result = summary(
        ground_truth,
        out,
        labels_or_regions=labels.foreground_classes,
        file_ending=ending,
        read=lambda file: reader.read_seg(file)[0].astype("int32"),
        ignore_label=labels.ignore_label,
        cases=cases,
        workers=workers,
    )
    write_summary(result, out / SUMMARY)
    return result


def is_whole(
    out: Path, cases: Sequence[str], plans: Plans, dataset_json: dict[str, Any], *, save_probabilities: bool = False
) -> bool:
    """Whether a validation's folder holds its summary and, whole, all that it wrote of these cases."""
    reader, ending = by_name(plans.image_reader_writer), str(dataset_json["file_ending"])
    return integrity.is_json(out / SUMMARY) and all(
        segmentation_is_whole(out / f"{case}{ending}", reader)
        and (not save_probabilities or probabilities_are_whole(out / f"{case}.npz"))
        for case in cases
    )


def _not_finite(store: PreprocessedFolder, case: str, count: int) -> str:
    what = f"{count} {'voxel is' if count == 1 else 'voxels are'} NaN or infinite; taken as 0"
    mended = "Run nnunet-trainer verify, mend the image, preprocess again"
    return f"{store.folder / case}.b2nd, the preprocessed image: {what}. {mended}."


def require_ground_truth(cases: Sequence[str], folder: Path, file_ending: str) -> None:
    """Check that there is something to compare predictions with.

    Raises:
        BadData: no cases, or no label of one.
    """
    missing = [case for case in cases if not (folder / f"{case}{file_ending}").is_file()]
    if not cases or missing:
        what = f"{folder} has no label of {', '.join(missing[:5])}." if missing else "The fold has no validation cases."
        raise BadData("NoGroundTruth" if missing else "NoCases", what, hint="Preprocess the dataset again, or skip the validation.")


@contextmanager
def predicting(network: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without deep supervision, and back."""
    training, supervised = network.training, getattr(network, "deep_supervision", None)
    network.eval()
    if supervised is not None:
        network.deep_supervision = False  # type: ignore[assignment]
    try:
        yield
    finally:
        network.train(training)
        if supervised is not None:
            network.deep_supervision = supervised
