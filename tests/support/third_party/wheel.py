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


def find_best_configuration(dataset: int, trainer: str, configurations: list[str], folds: tuple[int, ...]) -> dict[str, Any]:
    """find_best_configuration without ensembles, in threads, in the folders of nnU-Net's variables; what it writes."""
    import importlib
    from multiprocessing.pool import ThreadPool

    module = importlib.import_module("nnunetv2.evaluation.find_best_configuration")
    models = tuple({"plans": "nnUNetPlans", "configuration": name, "trainer": trainer} for name in configurations)
    threads = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
    with (
        mock.patch("nnunetv2.evaluation.evaluate_predictions.multiprocessing", threads),
        mock.patch("nnunetv2.postprocessing.remove_connected_components.multiprocessing", threads),
        quiet(),
    ):
        found: dict[str, Any] = module.find_best_configuration(dataset, models, False, 1, folds=folds)
    return found


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


def preprocess(dataset: int, plans_name: str, configuration: str) -> None:
    """nnUNetv2_preprocess in the folders of nnU-Net's variables, in a thread."""
    import importlib
    from multiprocessing.pool import ThreadPool

    module = importlib.import_module("nnunetv2.preprocessing.preprocessors.default_preprocessor")
    api = importlib.import_module("nnunetv2.experiment_planning.plan_and_preprocess_api")
    context = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
    with mock.patch.object(module, "multiprocessing", context), quiet():
        api.preprocess_dataset(dataset, plans_name, (configuration,), (1,), show_progress_bar=False)


def train(dataset: str, configuration: str, name: str, *, epochs: int, iterations: int, stop_after: int | None = None) -> Path:
    """nnUNetv2_train --c of fold 0 without its validation, on the CPU, in the folders of nnU-Net's variables.

    Args:
        name: of a trainer class that is nnU-Net's own with other numbers.
        stop_after: it is interrupted after so many epochs.

    Returns:
        The fold's folder.
    """
    import torch
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.run.run_training import maybe_load_checkpoint
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class Interrupted(Exception):
        pass

    def on_epoch_end(self: Any) -> None:
        nnUNetTrainer.on_epoch_end(self)
        if self.current_epoch == stop_after:
            raise Interrupted

    folder = Path(nnUNet_preprocessed) / dataset
    kind = type(name, (nnUNetTrainer,), {"on_epoch_end": on_epoch_end, "plot_network_architecture": lambda self: None})
    with mock.patch.dict("os.environ", {"nnUNet_n_proc_DA": "0"}), quiet():
        plans = {**load_json(folder / "nnUNetPlans.json"), "continue_training": True}
        trainer = kind(plans, configuration, 0, load_json(folder / "dataset.json"), device=torch.device("cpu"))
        trainer.num_epochs, trainer.save_every = epochs, 1
        trainer.num_iterations_per_epoch = trainer.num_val_iterations_per_epoch = iterations
        maybe_load_checkpoint(trainer, True, False)
        with contextlib.suppress(Interrupted):
            trainer.run_training()
        return Path(trainer.output_folder)
