"""The reference, nnunetv2, run in this process on small things."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

EXTRACTOR = "nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor"
PLANNER = "nnunetv2.experiment_planning.experiment_planners.default_experiment_planner"
PLANNERS = "nnunetv2.experiment_planning.experiment_planners"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without its prints and progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def fingerprint(raw: Path, work: Path, samples: float) -> dict[str, Any]:
    """DatasetFingerprintExtractor over a raw dataset, in threads; what it writes, read back."""
    import importlib
    from multiprocessing.pool import ThreadPool

    module = importlib.import_module(EXTRACTOR)
    context = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
    with (
        mock.patch.object(module, "nnUNet_raw", str(raw.parent)),
        mock.patch.object(module, "nnUNet_preprocessed", str(work)),
        mock.patch.object(module, "multiprocessing", context),
        mock.patch("nnunetv2.utilities.utils.Pool", ThreadPool),
        quiet(),
    ):
        extractor = module.DatasetFingerprintExtractor(raw.name, 1)
        extractor.num_foreground_voxels_for_intensitystats = samples
        extractor.run(overwrite_existing=True)
    return json.loads((work / raw.name / "dataset_fingerprint.json").read_text())


def planners() -> dict[str, Any]:
    """Every planner class of the reference by its name; of two with one name, the one that its own commands find."""
    import importlib
    import inspect
    import pkgutil

    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    package = importlib.import_module(PLANNERS)
    base = importlib.import_module(PLANNER).ExperimentPlanner
    names = {
        name
        for found in pkgutil.walk_packages(package.__path__, f"{PLANNERS}.")
        for name, kind in inspect.getmembers(importlib.import_module(found.name), inspect.isclass)
        if issubclass(kind, base)
    }
    return {name: recursive_find_python_class(package.__path__[0], name, PLANNERS) for name in sorted(names)}


def plan(raw: Path, work: Path, planner: str = "ExperimentPlanner", **arguments: Any) -> dict[str, Any]:
    """A planner over `work/<dataset>/dataset_fingerprint.json`, networks on the meta device; the file it writes."""
    import importlib
    from multiprocessing.pool import ThreadPool

    import torch

    module = importlib.import_module(PLANNER)
    kind = planners()[planner]
    estimate = module.ExperimentPlanner.static_estimate_VRAM_usage

    def on_meta(*args: Any) -> Any:
        with torch.device("meta"):
            return estimate(*args)

    with (
        mock.patch.object(module, "nnUNet_raw", str(raw.parent)),
        mock.patch.object(module, "nnUNet_preprocessed", str(work)),
        mock.patch("nnunetv2.utilities.utils.Pool", ThreadPool),
        mock.patch.object(module.ExperimentPlanner, "static_estimate_VRAM_usage", staticmethod(on_meta)),
        quiet(),
    ):
        made = kind(raw.name, **arguments)
        made.plan_experiment()
    return json.loads((work / raw.name / f"{made.plans_identifier}.json").read_text())


def move_plans(plans: dict[str, Any], target: Path, work: Path, name: str | None = None) -> str:
    """move_plans_between_datasets to a raw dataset; the text of the file it writes.

    Args:
        work: where nnUNet_preprocessed is laid out.
        name: of the new plans; None keeps the old one.
    """
    import importlib
    from multiprocessing.pool import ThreadPool

    module = importlib.import_module("nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets")
    for folder in (plans["dataset_name"], target.name):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / plans["dataset_name"] / f"{plans['plans_name']}.json").write_text(json.dumps(plans))
    with (
        mock.patch.object(module, "nnUNet_raw", str(target.parent)),
        mock.patch.object(module, "nnUNet_preprocessed", str(work)),
        mock.patch.object(module, "maybe_convert_to_dataset_name", lambda n: n),
        mock.patch("nnunetv2.utilities.utils.Pool", ThreadPool),
        quiet(),
    ):
        module.move_plans_between_datasets(plans["dataset_name"], target.name, plans["plans_name"], name)
    return (work / target.name / f"{name or plans['plans_name']}.json").read_text()


def preprocess_case(
    images: list[Path], label: Path | None, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
) -> Any:
    """DefaultPreprocessor.run_case: data, seg, properties."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(json.loads(json.dumps(plans)))
    with quiet():
        return DefaultPreprocessor(verbose=False).run_case(
            [str(image) for image in images],
            None if label is None else str(label),
            manager,
            manager.get_configuration(configuration),
            dataset_json,
        )


def convert_msd(source: Path, raw: Path) -> Path:
    """convert_msd_dataset of `TaskXX_Name`, in threads; the folder that it writes below `raw`."""
    import importlib
    from multiprocessing.pool import ThreadPool

    module = importlib.import_module("nnunetv2.dataset_conversion.convert_MSD_dataset")
    context = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
    with (
        mock.patch.object(module, "nnUNet_raw", str(raw)),
        mock.patch.object(module, "multiprocessing", context),
        mock.patch.object(module, "find_candidate_datasets", return_value=[]),
        quiet(),
    ):
        module.convert_msd_dataset(str(source), num_processes=1)
    (made,) = raw.iterdir()
    return made
