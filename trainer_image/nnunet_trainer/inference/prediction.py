"""Predicting images: one, or a folder of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_trainer.contract.faults import BadData, BadUsage, StorageFault
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.dataset.readers.repairs import read_repaired, zero_nonfinite
from nnunet_trainer.prefetching import prefetched
from nnunet_trainer.preprocessing.case import preprocess_image, revert_segmentation

from .cascade import with_previous_stage
from .export import probabilities_from_logits, segmentation_from_logits, write_probabilities, write_segmentation
from .exporting import exporting
from .images import files_beside, find_images, find_previous, left_out, require_undamaged, said
from .large_images import Goal, require_room_for_probabilities
from .model import Model
from .output_folder import Existing, OutputFolder
from .sliding_window import SlidingWindow, about_case
from .spacing import training_spacings, unit_fault, unlike_training
from .tile_progress import CaseTilesHook

log = logging.getLogger(__name__)


def predict_case(
    model: Model,
    images: np.ndarray,
    properties: dict[str, Any],
    window: SlidingWindow | None = None,
    previous: np.ndarray | None = None,
) -> tuple[np.ndarray, torch.Tensor, dict[str, Any]]:
    """Predict one image that is in memory.

    Args:
        model: to predict with.
        images: float32 (c, z, y, x), as the reader gave it; it may be changed. NaN and infinity are taken as 0, with a warning.
        properties: as the reader gave them; `spacing` along z, y, x.
        window: default `model.window()`.
        previous: in the second stage of a cascade, the previous stage's segmentation (1, z, y, x) in the image's axes.

    Returns:
        segmentation (z, y, x) in the image's axes, logits (heads, z, y, x) at the configuration's spacing, and the properties that
        relate the two.

    Raises:
        BadUsage: the second stage of a cascade without `previous`, or another model with it.
        BadData: `previous` has another shape than the image.
    """
    if count := zero_nonfinite(images):
        log.warning("%d voxels of the image are NaN or infinite; taken as 0.", count)
    data, properties = _preprocess(model, images, properties, previous)
    logits = model.logits(torch.from_numpy(data), window)
    return segmentation_from_logits(logits, properties, model.plans, model.configuration, model.labels), logits, properties


def _preprocess(
    model: Model, images: np.ndarray, properties: dict[str, Any], previous: np.ndarray | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """What the network sees (channels, z, y, x): the previous stage's segmentation is cropped and resampled as a label is."""
    check_previous_stage(model, given=previous is not None)
    about = (model.plans, model.configuration, model.dataset_json)
    data, seg, properties = preprocess_image(
        images, properties, *about, segmentation=previous, with_segmentation=previous is not None
    )
    if previous is None:
        return data, properties
    del properties["class_locations"]
    return with_previous_stage(data, seg[0], model.labels), properties


def check_previous_stage(model: Model, *, given: bool) -> None:
    """Whether the previous stage's segmentations are given exactly when the model is the second stage of a cascade.

    Raises:
        BadUsage: they are not.
    """
    name, previous = model.configuration.name, model.configuration.previous_stage
    if previous and not given:
        message = f"{name} has the segmentations by {previous} as an input."
        hint = f"Predict the images with the model of {previous}, and name that folder: --previous-stage DIR."
        raise BadUsage("NoPreviousStage", message, hint=hint)
    if given and not previous:
        raise BadUsage("PreviousStageNotNeeded", f"{name} is no second stage of a cascade: leave --previous-stage out.")


def predict_folder(
    model: Model,
    images: Path,
    out: Path,
    *,
    window: SlidingWindow | None = None,
    existing: Existing = "refuse",
    previous_stage: Path | None = None,
    save_probabilities: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
    on_tiles: CaseTilesHook | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[Path]:
    """Predict every case of a folder; the next is read and the last is written while one is predicted.

    Args:
        model: to predict with.
        images: folder of `CASE_0000…` files.
        out: folder of the segmentations, `CASE…`; made when missing.
        window: default `model.window()`.
        existing: what to do about segmentations that `out` already holds; those that are kept are whole, and have their
            probabilities where these are asked for.
        previous_stage: in the second stage of a cascade, the folder of the previous stage's segmentations of the same images.
        save_probabilities: write `CASE.npz` and `CASE.pkl` as well, as nnU-Net's ensembling reads them.
        progress: called with (done, total, case) before each case.
        on_tiles: hears how far a case is.
        warn: hears of images that are left out, repaired or unlike the training's, in the thread that reads them too, one text at a
            time; default: the log.

    Returns:
        The segmentations, of this call and kept ones.

    Raises:
        BadUsage: `out` holds predictions and `existing` is "refuse", or it is no folder for this model's predictions; a cascade's
            second stage without `previous_stage`, or another model with it.
        BadData: images that lack channels or the previous stage's segmentation, before anything is predicted; images that cannot be
            read, are in another unit of spacing or too large, when all others are predicted.
        StorageFault: the same, where it is because a storage does not answer.
        BadConfiguration: the network's output for a case is no number.
    """
    check_previous_stage(model, given=previous_stage is not None)
    window = window or model.window()
    output = OutputFolder(out, model, window)
    cases = find_images(images, model.file_ending, len(channel_names(model.dataset_json)), output.reader)
    previous = {} if previous_stage is None else find_previous(previous_stage, cases, model.file_ending, output.reader)
    output.check(cases, existing)
    known = [out, *files_beside(cases, output.reader), *map(output.segmentation, cases)]
    others = left_out(images, model.file_ending, but=known)
    todo, again = output.pending(cases, existing, probabilities=save_probabilities)
    output.begin()
    warn = _Warnings(output, warn or log.warning)
    warn("", [*([said(images, others)] if others else []), *again])
    trained = None if model.folder is None else training_spacings(model.folder)

    def read(index: int) -> tuple[torch.Tensor, dict[str, Any], Goal | None, list[str]] | BadData | StorageFault:
        """The last is to be said before it is predicted; what is known of the file is said here, as resampling takes long."""
        case = todo[index]
        try:
            require_undamaged([*cases[case], *([previous[case]] if previous else [])], output.reader)
            data, properties, notes = read_repaired(output.reader, cases[case])
            about = (properties["spacing"], model.plans, model.configuration, trained)
            if fault := unit_fault(*about):
                raise BadData("InvalidCases", f"{fault}.", hint="Correct the spacing in the image's header: it is in mm.")
            far, voxels = unlike_training(*about), data[0].size
            warn(case, [*notes, *([f"{cases[case][0]}: {far}"] if far else [])])
            before = output.reader.read_seg(previous[case])[0] if previous else None
            data, properties = _preprocess(model, data, properties, before)
            if save_probabilities:
                require_room_for_probabilities(model.labels.num_segmentation_heads, data.shape[1:], properties)
            goal = None if save_probabilities else model.goal(data.shape[1:], properties)
            grown = [f"{cases[case][0]}: {_tiles(data.shape[1:], window)}"] if far and data[0].size > voxels else []
        except (BadData, StorageFault) as fault:
            return _about_file(fault, cases[case][0])
        except MemoryError as error:
            return _about_file(BadData("InvalidCases", f"memory does not suffice for it ({error})."), cases[case][0])
        return torch.from_numpy(data), properties, goal, grown

    def write(case: str, logits: torch.Tensor, properties: dict[str, Any]) -> None:
        about = (properties, model.plans, model.configuration, model.labels)
        if save_probabilities:
            write_probabilities(probabilities_from_logits(logits, *about), output.probabilities(case), properties)
        store(case, segmentation_from_logits(logits, *about), properties)

    def write_cropped(case: str, segmentation: np.ndarray, properties: dict[str, Any]) -> None:
        store(case, revert_segmentation(segmentation, properties, model.plans, model.labels), properties)

    def store(case: str, segmentation: np.ndarray, properties: dict[str, Any]) -> None:
        if not save_probabilities:
            output.forget_probabilities(case)
        write_segmentation(segmentation, output.segmentation(case), properties, output.reader)
        output.finished(case)

    faults: list[BadData | StorageFault] = []
    with exporting() as exporter:
        for place, (case, found) in enumerate(zip(todo, prefetched(read, range(len(todo)), workers=1, ahead=1), strict=True)):
            if progress:
                progress(place, len(todo), case)
            if isinstance(found, BadData | StorageFault):
                faults.append(found)
                warn(case, [f"{found.message.removesuffix('.')}: not predicted."])
                continue
            image, properties, goal, grown = found
            warn(case, grown)
            try:
                with about_case(case):
                    hook = None if on_tiles is None else partial(on_tiles, case)
                    result = model.logits(image, window, hook) if goal is None else model.segment(image, goal, window, hook)
            except BadData as fault:  # its sums do not fit in memory
                faults.append(_about_file(fault, cases[case][0]))
                warn(case, [f"{faults[-1].message.removesuffix('.')}: not predicted."])
                continue
            exporter.submit(result.nbytes, write if goal is None else write_cropped, case, result, properties)
    if faults:
        raise _together(faults, len(todo))
    return [output.segmentation(case) for case in cases]


def _about_file(fault: BadData | StorageFault, file: Path) -> BadData | StorageFault:
    """The fault, with the file where it does not name it."""
    message = fault.message if str(file) in fault.message else f"{file}: {fault.message}"
    kind = BadData if isinstance(fault, BadData) else StorageFault
    return kind(fault.reason, message, hint=fault.hint, findings=fault.findings)


def _together(faults: Sequence[BadData | StorageFault], total: int) -> BadData | StorageFault:
    """One fault of them all; the storage's, where one is: another attempt may go further."""
    if total == 1:
        return faults[0]
    findings = [line for fault in faults for line in (fault.message, *fault.findings)]
    hints = " ".join(dict.fromkeys(fault.hint for fault in faults if fault.hint))
    message = f"{len(faults)} of {total} images {'is' if len(faults) == 1 else 'are'} not predicted; all others are."
    if not all(isinstance(fault, BadData) for fault in faults):
        return StorageFault("StorageUnreachable", message, findings=findings, hint=hints)
    return BadData("InvalidCases", message, findings=findings, hint=hints)


def _tiles(shape: Sequence[int], window: SlidingWindow) -> str:
    """How long it will take, of an image that has grown to a shape (z, y, x)."""
    return f"{'×'.join(map(str, shape))} voxels at the model's spacing, which are predicted as {window.tiles(shape):,} tiles."


class _Warnings:
    """Says each thing once, and keeps all that was said of a case in the folder's record."""

    def __init__(self, output: OutputFolder, say: Callable[[str], None]) -> None:
        self._output, self._say = output, say
        self._said: dict[str, list[str]] = {}
        self._saying = threading.Lock()

    def __call__(self, case: str, texts: list[str]) -> None:
        with self._saying:  # the next image is read in another thread
            for text in texts:
                self._say(text)
            self._said[case] = [*self._said.get(case, []), *texts]
            self._output.tell(case, self._said[case])
