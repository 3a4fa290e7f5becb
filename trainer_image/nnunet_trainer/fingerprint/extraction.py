"""Extracting a fingerprint: one pass over the images, no copies of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset import parallel
from nnunet_trainer.dataset.memory import reading_estimate
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.dataset.readers import Reader, by_name
from nnunet_trainer.dataset.values import spacing_fault
from nnunet_trainer.extensions import provenance
from nnunet_trainer.extensions.calls import guarded

from . import extractors
from .intensities import TOTAL_SAMPLES, Histogram, sample, statistics

Extractor = tuple[str, dict[str, Any]]
"""Name and parameters."""


def extract(
    raw: RawDataset,
    workers: int = 1,
    *,
    extractor: str = extractors.DEFAULT,
    parameters: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Extract a dataset's fingerprint.

    Args:
        raw: the dataset.
        workers: processes.
        extractor: its name.
        parameters: of the extractor, by name.
        progress: called with (cases done, cases).

    Returns:
        dataset_fingerprint.json's content.

    Raises:
        BadData: no cases, a file that cannot be read, NaN, or no foreground at all.
        BadConfiguration: an unknown extractor or parameter; what a plug-in's one answers is no fingerprint.
    """
    chosen = (extractor, dict(parameters or {}))
    component, made = extractors.EXTRACTORS[extractor], extractors.make(*chosen)
    cases = raw.cases
    if not cases:
        raise BadData("InvalidCases", f"{raw.folder}: no training cases in imagesTr with the ending {raw.file_ending!r}.")
    samples = int(TOTAL_SAMPLES // len(cases))
    jobs = [(raw.reader, name, case.images, case.label, samples, chosen) for name, case in cases.items()]
    results: list[Any] = [None] * len(jobs)
    workers = parallel.num_workers(workers, len(jobs))
    weights = [reading_estimate(case, raw.reader) for case in cases.values()] if workers > 1 else None
    for done, (index, result) in enumerate(parallel.run(analyze_case, jobs, workers, weights), 1):
        results[index] = result
        if progress:
            progress(done, len(jobs))
    shapes, spacings, histograms, sizes, own = (list(column) for column in zip(*results, strict=True))
    properties = {}
    wanted = len(raw.channel_names)
    if other := [(name, len(h)) for name, h in zip(cases, histograms, strict=True) if len(h) != wanted]:
        name, has = other[0]
        more = f", and {len(other) - 1} more cases have another number" if len(other) > 1 else ""
        raise BadData("InvalidCases", f"{name}: channels in its images: {has}; dataset.json names {wanted}{more}.")
    for channel in range(wanted):
        found = statistics([h[channel] for h in histograms])
        if found is None:
            raise BadData(
                "InvalidCases", f"{raw.name}: no label file has any foreground, so there are no intensities to plan from."
            )
        properties[str(channel)] = found
    fingerprint = {
        "foreground_intensity_properties_per_channel": properties,
        "median_relative_size_after_cropping": float(np.median(sizes)),
        "shapes_after_crop": shapes,
        "spacings": spacings,
    }
    if extractor == extractors.DEFAULT:
        return fingerprint
    where = f"The fingerprint extractor at {component.place}"
    answered = guarded(where, made.dataset, deepcopy(fingerprint), dict(zip(cases, own, strict=True)))
    found = extractors.checked(component, answered, fingerprint)
    plugins = provenance.records([("extractor", extractor), ("reader", raw.reader)])
    return {**found, "extractor": {"name": extractor, "parameters": chosen[1]}, "plugins": plugins}


def analyze_case(
    reader: str, name: str, images: list[Path], label: Path | None, num_samples: int, extractor: Extractor
) -> tuple[list[int], list[float], list[Histogram], float, Any]:
    """Of one case: shape after cropping to the nonzero region, spacing, sampled foreground, relative size, the extractor's own."""
    from nnunet_trainer.dataset.cropping import bounding_box, nonzero, slices

    if label is None:
        raise BadData("InvalidCases", f"{name}: no label.")
    data, properties = by_name(reader).read_images(images)
    seg = by_name(reader).read_label(label)
    if seg.shape[1:] != data.shape[1:]:
        ours, theirs = "×".join(map(str, seg.shape[1:])), "×".join(map(str, data.shape[1:]))
        raise BadData("InvalidCases", f"{label}: shape {ours}, but {images[0]} has {theirs}.")
    if fault := spacing_fault(properties["spacing"]):
        raise BadData("InvalidCases", f"{name}: {images[0]}: {fault}.")
    for file, array in (*_by_file(by_name(reader), images, data), (label, seg)):
        if array.dtype.kind == "f" and np.isnan(array.sum()) and np.isnan(array).any():
            raise BadData("InvalidCases", f"{name}: {file} contains NaN; expected numbers.")
    # Holes need no filling here: they change neither the box nor what is foreground.
    box = bounding_box(nonzero(data))
    shape = [end - start for start, end in box]
    index = (slice(None), *slices(box))
    histograms = sample(data[index], seg[index][0] > 0, num_samples)
    relative = float(np.prod(shape) / np.prod(data.shape[1:]))
    spacing = [float(s) for s in properties["spacing"]]
    component, own = extractors.EXTRACTORS[extractor[0]], None
    if extractor[0] != extractors.DEFAULT:
        where = f"The fingerprint extractor at {component.place}, with case {name},"
        own = guarded(where, extractors.make(*extractor).case, name, data, seg[0], spacing)
    return shape, spacing, histograms, relative, own


def _by_file(reader: Reader, images: list[Path], data: np.ndarray) -> Iterator[tuple[Path, np.ndarray]]:
    """The channels (c, z, y, x) of a case, each file's by themselves."""
    if len(images) == len(data):
        yield from zip(images, data, strict=True)
        return
    start = 0
    for path in images:
        end = start + reader.channels(path)
        yield path, data[start:end]
        start = end
