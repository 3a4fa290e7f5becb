"""From logits of a preprocessed case to a segmentation file in the image's own geometry."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from nnunet_trainer.contract.faults import StorageFault
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.dataset.readers import Reader
from nnunet_trainer.planning.plans import Configuration, Plans
from nnunet_trainer.preprocessing.case import revert_logits, revert_probabilities, revert_segmentation


def segmentation_from_logits(
    logits: torch.Tensor | np.ndarray, properties: dict[str, Any], plans: Plans, configuration: Configuration, labels: LabelManager
) -> np.ndarray:
    """A network's output as a segmentation in the image's shape and axes.

    Args:
        logits: float32 (heads, z, y, x), at the configuration's spacing.
        properties: of preprocessing.
        plans: of the model.
        configuration: of the model.
        labels: of the dataset.
    """
    array = logits if isinstance(logits, np.ndarray) else logits.cpu().numpy()
    cropped = tuple(properties["shape_after_cropping_and_before_resampling"])
    segmentation = segmentation_by_heads(array, cropped, lambda head: revert_logits(head, properties, plans, configuration), labels)
    return revert_segmentation(segmentation, properties, plans, labels)


def segmentation_by_heads(
    logits: np.ndarray, shape: tuple[int, ...], resample: Callable[[np.ndarray], np.ndarray], labels: LabelManager
) -> np.ndarray:
    """Logits (heads, z, y, x) as a segmentation of a shape. No more than two heads are ever held at that shape.

    Args:
        logits: of a network.
        shape: z, y, x.
        resample: brings (1, z, y, x) to that shape.
        labels: of the dataset.
    """
    if logits.shape[1:] == shape:
        return np.asarray(labels.convert_logits_to_segmentation(logits))
    return segmentation_of_heads((resample(logits[head : head + 1])[0] for head in range(len(logits))), labels)


def segmentation_of_heads(heads: Iterator[np.ndarray], labels: LabelManager) -> np.ndarray:
    """The logits (z, y, x) of one head after the other as a segmentation, as `LabelManager` makes it of all of them."""
    first = next(heads)
    if labels.has_regions:
        assert labels.regions_class_order is not None
        segmentation = np.zeros(first.shape, np.uint16)
        segmentation[_exceeds_half(first)] = labels.regions_class_order[0]
        for value, head in zip(labels.regions_class_order[1:], heads, strict=True):
            segmentation[_exceeds_half(head)] = value
    else:
        best, segmentation = np.array(first), np.zeros(first.shape, np.uint16)
        for value, head in enumerate(heads, start=1):
            # Strictly greater: of equal logits the lowest head wins, as with argmax.
            wins = head > best
            np.copyto(segmentation, value, where=wins)
            np.maximum(best, head, out=best)
    return segmentation


def greatest_heads(logits: np.ndarray) -> np.ndarray:
    """`logits.argmax(0)` of logits (heads, n) that fit into a core's cache, where it takes libraries several times as long."""
    count = len(logits)
    kind = np.uint8 if count < 256 else np.uint16
    falling = np.arange(count, 0, -1, dtype=kind)[:, None]
    greatest = (logits == logits.max(0)).view(np.uint8)
    # Of equal ones the lowest head counts most.
    found = count - (np.multiply(greatest, falling, out=greatest) if kind is np.uint8 else greatest * falling).max(0)
    return logits.argmax(0) if found.max(initial=0) == count else found  # NaN equals nothing


def _exceeds_half(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits.astype(np.float32))) > 0.5


def probabilities_from_logits(
    logits: torch.Tensor | np.ndarray, properties: dict[str, Any], plans: Plans, configuration: Configuration, labels: LabelManager
) -> np.ndarray:
    """A network's output as probabilities (heads, z, y, x) in the image's shape and axes."""
    array = logits if isinstance(logits, np.ndarray) else logits.cpu().numpy()
    resampled = revert_logits(array, properties, plans, configuration)
    return revert_probabilities(labels.convert_logits_to_probabilities(resampled), properties, plans, labels)


def write_segmentation(segmentation: np.ndarray, file: Path, properties: dict[str, Any], reader: Reader) -> None:
    """Write a segmentation in the image's geometry, at once or not at all.

    Raises:
        BadData: the format cannot hold it.
        StorageFault: it cannot be written.
    """
    reader.write(segmentation, file, properties)


def write_probabilities(probabilities: np.ndarray, file: Path, properties: dict[str, Any]) -> None:
    """Write nnU-Net's `case.npz` (key `probabilities`) and, before it, the `case.pkl` that its ensembling reads, each at once.

    Args:
        probabilities: (heads, z, y, x).
        file: `case.npz`.
        properties: what the reader needs to write a segmentation of that case.

    Raises:
        StorageFault: it cannot be written.
    """
    _write_beside(file.with_suffix(".pkl"), lambda stream: pickle.dump(properties, stream, protocol=4))
    _write_beside(file, lambda stream: np.savez_compressed(stream, probabilities=probabilities))


def _write_beside(file: Path, write: Callable[[BinaryIO], None]) -> None:
    # Its name ends otherwise than those that nnU-Net looks for in a folder.
    beside = file.with_name(f".{os.getpid()}.{file.name}.partial")
    try:
        with beside.open("wb") as stream:
            write(stream)
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageFault("CannotWrite", f"{file} cannot be written: {error}.") from error
