"""A whole dataset, or a shard of it: each case in a process of its own, kept as soon as it is finished."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset import files, parallel
from nnunet_trainer.dataset.raw import Case, RawDataset, files_of
from nnunet_trainer.extensions import slow_calls
from nnunet_trainer.planning.plans import Configuration, Plans, plugins

from . import storage
from .case import read_and_preprocess
from .memory import memory_estimate
from .resampling.resampling import BY_TORCH

STALE_SECONDS = 3600
SOURCES = storage.MARKER.parent / "sources"
"""In a folder that was made here: what files each case was made of."""
PRELOAD = ("scipy.ndimage",)  # not blosc2: its import starts threads, so that no worker could be forked


def preprocess_dataset(
    raw: RawDataset,
    plans: Plans | dict[str, Any],
    configuration: Configuration | str,
    out_folder: str | os.PathLike[str],
    *,
    workers: int = 1,
    cases: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Preprocess cases for one configuration; those that are finished already are left alone.

    Args:
        raw: the dataset.
        plans: of this dataset.
        configuration: its name in the plans.
        out_folder: where `case.b2nd`, `case_seg.b2nd` and `case.pkl` go (nnU-Net: `Dataset…/<data_identifier>`).
        workers: processes.
        cases: a shard; all cases when None.
        progress: called with (cases done, cases), the finished ones counted.

    Returns:
        the cases worked on, in order.

    Raises:
        BadData: a case that cannot be worked with, or a folder that holds data of other preprocessing.
        BadConfiguration: plans that cannot be worked with, or need a plug-in that is missing or another.
        StorageFault: no space.
    """
    plans = plans if isinstance(plans, Plans) else Plans(plans)
    plugins.require(plans.content, plugins.FOR_DATA)
    if isinstance(configuration, str):
        configuration = plans.configuration(configuration)
    folder = Path(out_folder)
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, configuration)
    _sweep(folder)
    names = list(raw.cases) if cases is None else list(cases)
    if not names:
        raise BadData("InvalidCases", f"{raw.folder}: no training cases in imagesTr with the ending {raw.file_ending!r}.")
    pending = [name for name in names if not _finished(folder, name, raw.case(name), plans.image_reader_writer)]
    done = len(names) - len(pending)
    if progress:
        progress(done, len(names))
    jobs = [(name, raw.case(name), plans.content, configuration.name, raw.dataset_json, folder) for name in pending]
    sources = [
        _sources(raw.case(name), plans.image_reader_writer) for name in pending
    ]  # before they are read: what changes meanwhile is seen later
    workers = parallel.num_workers(workers, len(jobs))
    weights = [memory_estimate(raw.case(name), configuration) for name in pending] if workers > 1 else None
    for index, _ in parallel.run(preprocess_and_store, jobs, workers, weights, preload(configuration)):
        files.write_json(folder / SOURCES / f"{pending[index]}.json", sources[index])
        done += 1
        if progress:
            progress(done, len(names))
    return pending


def preload(configuration: Configuration) -> list[str]:
    """Modules that every worker needs."""
    functions = (configuration.content.get(f"resampling_fn_{what}") for what in ("data", "seg"))
    by_torch = any(name in BY_TORCH for name in functions)
    return [*PRELOAD, *([f"{__package__}.torch_resampling"] if by_torch else [])]


def preprocess_and_store(
    name: str, case: Case, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any], folder: Path
) -> int:
    """One case, from files to files; returns the bytes written."""
    loaded = Plans(plans)
    resolved = loaded.configuration(configuration)
    try:
        with slow_calls.concerning(f"Case {name}"):
            data, seg, properties = read_and_preprocess(case, loaded, resolved, dataset_json)
    except BadData as fault:
        raise BadData(fault.reason, f"Case {name}: {fault.message}", hint=fault.hint, findings=fault.findings) from fault
    return storage.write_case(folder, name, data, seg, properties, resolved.patch_size)


def shard(cases: Sequence[str], index: int, count: int) -> list[str]:
    """Every `count`-th case from `index` on: all shards together have each case once."""
    return list(cases)[index::count]


def claim(folder: Path, configuration: Configuration) -> None:
    """Write down what a folder holds, or make sure that it holds just that.

    Raises:
        BadData: the folder holds the data of other plans, of another format, or of nobody knows what.
    """
    wanted = {"format": keys.PREPROCESSED_FORMAT, "fields": json.loads(json.dumps(configuration.preprocessing_fields()))}
    marker = folder / storage.MARKER
    hint = "Remove the folder, or choose another one (the configuration's data_identifier names it)."
    found = storage.read_marker(folder)
    if found is None and not any(path.suffix in (".b2nd", ".npz", ".pkl") for path in folder.iterdir()):
        marker.parent.mkdir(exist_ok=True)
        files.write_json(marker, wanted)
        return
    found = found or storage.read_marker(folder)  # another shard may have begun between the two looks
    if found is None:
        message = f"{folder} holds preprocessed cases that were not made here, so that it is not known for which plans."
        raise BadData("OtherPreprocessedData", message, hint=hint)
    for field, value in wanted["fields"].items():
        if found.get("fields", {}).get(field) != value:
            was = found.get("fields", {}).get(field)
            message = f"{folder} holds data of other plans: {field} was {was}, in these plans it is {value}."
            raise BadData("OtherPreprocessedData", message, hint=hint)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind; what is young may be another process's work."""
    for path in folder.glob(".partial-*"):
        try:
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:  # another process was quicker
            continue


def _finished(folder: Path, name: str, case: Case, reader: str) -> bool:
    """Whether a case is there, whole, and made of the files that are there now.

    Where no record tells what it was made of (it was killed just then, or made by an earlier version), no file may be newer.
    """
    if not storage.is_whole(folder, name):
        return False
    now = _sources(case, reader)
    if now is None:
        return False
    made = (folder / f"{name}.pkl").stat().st_mtime
    try:
        # A mended file may well be older than the damaged one that it replaces.
        made_of = json.loads((folder / SOURCES / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made_of = now
    return made_of == now and all(path.stat().st_mtime <= made for path in files_of(case, reader))


def _sources(case: Case, reader: str) -> list[list[Any]] | None:
    """Name, bytes and time of change (s) of a case's files; None where one is missing or says nothing of its companions."""
    try:
        return [[path.name, (found := path.stat()).st_size, int(found.st_mtime)] for path in files_of(case, reader)]
    except (OSError, BadData):
        return None
