"""Predicting images: one, or a folder of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nnunet_trainer.contract.faults import BadData, BadUsage
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.dataset.readers import Reader, by_name
from nnunet_trainer.prefetching import prefetched
from nnunet_trainer.preprocessing.case import preprocess_image

from .cascade import with_previous_stage
from .export import probabilities_from_logits, segmentation_from_logits, write_probabilities, write_segmentation
from .model import Model
from .sliding_window import SlidingWindow

Existing = Literal["refuse", "keep", "overwrite"]


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
        images: float32 (c, z, y, x), as the reader gave it; it may be changed.
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
    data, properties = _preprocess(model, images, properties, previous)
    logits = model.logits(torch.from_numpy(data), window)
    return segmentation_from_logits(logits, properties, model.plans, model.configuration, model.labels), logits, properties


def _preprocess(
    model: Model, images: np.ndarray, properties: dict[str, Any], previous: np.ndarray | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """What the network sees (channels, z, y, x): the previous stage's segmentation is cropped and resampled as a label is."""
    check_previous_stage(model, given=previous is not None)
    about = (model.plans, model.configuration, model.dataset_json)
    data, seg, properties = preprocess_image(images, properties, *about, segmentation=previous)
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


def find_previous(folder: Path, cases: Iterable[str], file_ending: str) -> dict[str, Path]:
    """The previous stage's segmentation `CASE` of each case.

    Raises:
        BadData: there are cases without one.
    """
    files = {case: folder / f"{case}{file_ending}" for case in cases}
    missing = [case for case, file in files.items() if not file.is_file()]
    if missing:
        message = f"{folder} has no segmentation of {len(missing)} of {len(files)} images."
        hint = "Predict the same images with the previous stage's model first."
        raise BadData("MissingPreviousStage", message, findings=[f"{case}: no {files[case].name}" for case in missing], hint=hint)
    return files


def find_images(folder: Path, file_ending: str, channels: int, reader: Reader) -> dict[str, list[Path]]:
    """Cases of a folder by name, each with its files `{case}_{number:04d}{file_ending}`, which have the model's channels together.

    Args:
        folder: of images.
        file_ending: with its dot.
        channels: that the model takes.
        reader: says how many channels a file has: one each, or all of them in one file, or any mixture.

    Raises:
        BadUsage: no folder, or no image in it.
        BadData: cases with other channels, or files that cannot be read.
    """
    if not folder.is_dir():
        raise BadUsage("NoSuchFolder", f"There is no folder {folder}.")
    pattern = re.compile(r"(.+)_(\d{4})" + re.escape(file_ending))
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        if (match := pattern.fullmatch(path.name)) and not path.name.startswith("."):
            found.setdefault(match[1], {})[int(match[2])] = path
    if not found:
        raise BadUsage("NoImages", f"{folder} has no images named CASE_0000{file_ending}.")
    findings = [f"{case}: {fault}" for case, files in found.items() if (fault := _channels_fault(files, channels, reader))]
    if findings:
        wanted = "1 channel" if channels == 1 else f"{channels} channels"
        numbered = f"CASE_0000{file_ending}" if channels == 1 else f"CASE_0000{file_ending} to CASE_{channels - 1:04d}{file_ending}"
        hint = f"A case is {numbered}, one channel a file, or fewer files that have {wanted} together."
        raise BadData("InvalidCases", f"{folder}: the model needs {wanted} of every case.", findings=findings, hint=hint)
    return {case: [files[c] for c in sorted(files)] for case, files in found.items()}


def _channels_fault(files: dict[int, Path], wanted: int, reader: Reader) -> str:
    """What is wrong with the files of a case, by their numbers; empty if nothing is."""
    if sorted(files) != list(range(len(files))):
        return f"has files {', '.join(f'{c:04d}' for c in sorted(files))}, expected them to be numbered from 0000 on without gaps"
    try:
        counts = [reader.channels(files[number]) for number in sorted(files)]
    except BadData as fault:
        return fault.message
    if sum(counts) == wanted:
        return ""
    each = ", ".join(f"{files[number].name}: {count}" for number, count in enumerate(counts))
    return f"has {'1 channel' if sum(counts) == 1 else f'{sum(counts)} channels'} ({each}), the model needs {wanted}"


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
) -> list[Path]:
    """Predict every case of a folder; the next is read and the last is written while one is predicted.

    Args:
        model: to predict with.
        images: folder of `CASE_0000…` files.
        out: folder of the segmentations, `CASE…`; made when missing.
        window: default `model.window()`.
        existing: what to do about segmentations that `out` already holds.
        previous_stage: in the second stage of a cascade, the folder of the previous stage's segmentations of the same images.
        save_probabilities: write `CASE.npz` as well.
        progress: called with (done, total, case) before each case.

    Returns:
        The segmentations, of this call and kept ones.

    Raises:
        BadUsage: `out` holds predictions and `existing` is "refuse"; a cascade's second stage without `previous_stage`, or another
            model with it.
        BadData: images that cannot be read, lack channels or the previous stage's segmentation.
    """
    check_previous_stage(model, given=previous_stage is not None)
    reader = by_name(model.plans.image_reader_writer)
    cases = find_images(images, model.file_ending, len(channel_names(model.dataset_json)), reader)
    previous = {} if previous_stage is None else find_previous(previous_stage, cases, model.file_ending)
    out.mkdir(parents=True, exist_ok=True)
    targets = {case: out / f"{case}{model.file_ending}" for case in cases}
    there = [case for case, file in targets.items() if file.exists()]
    if there and existing == "refuse":
        hint = "Say --continue to keep them and predict the others, or --overwrite."
        raise BadUsage("AlreadyPredicted", f"{out} already has {len(there)} of these predictions, {there[0]} the first.", hint=hint)
    todo = [case for case in cases if not (existing == "keep" and targets[case].exists())]
    for name, content in (("dataset.json", model.dataset_json), ("plans.json", model.plans.content)):
        (out / name).write_text(json.dumps(content, indent=4))

    def read(index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        case = todo[index]
        data, properties = reader.read_images(cases[case])
        data, properties = _preprocess(model, data, properties, reader.read_seg(previous[case])[0] if previous else None)
        return torch.from_numpy(data), properties

    def write(case: str, logits: torch.Tensor, properties: dict[str, Any]) -> None:
        about = (properties, model.plans, model.configuration, model.labels)
        if save_probabilities:
            write_probabilities(probabilities_from_logits(logits, *about), out / f"{case}.npz")
        write_segmentation(segmentation_from_logits(logits, *about), targets[case], properties, reader)

    with ThreadPoolExecutor(1, thread_name_prefix="export") as exporter:
        pending: list[Future[None]] = []
        for place, (image, properties) in enumerate(prefetched(read, range(len(todo)), workers=1, ahead=1)):
            if progress:
                progress(place, len(todo), todo[place])
            logits = model.logits(image, window)
            while len(pending) > 1:
                pending.pop(0).result()
            pending.append(exporter.submit(write, todo[place], logits, properties))
        for job in pending:
            job.result()
    return list(targets.values())
