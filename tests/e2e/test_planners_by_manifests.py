"""Planners' presets and preprocessing steps from manifests to predictions: the operator's orders, carried out in this process."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from nnunet_operator.api.fields.uris import StorageSpec
from nnunet_operator.reconcile.view import Settings
from nnunet_trainer.contract import pod, work_order
from nnunet_trainer.dataset.raw import RawDataset
from nnunet_trainer.inference import prediction
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.sliding_window import SlidingWindow
from nnunet_trainer.preprocessing.storage import PreprocessedFolder
from support.datasets import make_dataset
from support.trainings.predictions import preprocessed_for_prediction
from support.world import MemoryWorld

MANIFESTS = """
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: data}
spec: {name: Dataset001_A, source: {uri: DATA}, fingerprint: {extractor: HistogramLandmarks}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Plans
metadata: {name: plans}
spec:
  datasetRef: {name: data}
  planner:
    name: ExperimentPlanner3D_v21_11GB
    parameters:
      targetSpacingPercentile: 40
      preprocessingSteps:
        - Crop
        - {name: ClipPercentiles, low: 1, high: 99}
        - {name: N4BiasFieldCorrection, channels: [0], shrinkFactor: 2, iterations: [2]}
        - MatchHistogram
        - Normalize
        - Resample
    perConfiguration:
      2d: {name: ExperimentPlanner2D_v21}
  patch: {configurations: {3d_fullres: {batch_size: 2, patch_size: [16, 16, 16], architecture: {arch_kwargs: {
    n_stages: 2, features_per_stage: [4, 8], kernel_sizes: [[3, 3, 3], [3, 3, 3]], strides: [[1, 1, 1], [2, 2, 2]],
    n_conv_per_stage: [1, 1], n_conv_per_stage_decoder: [1]}}}}}
  preprocessing: {configurations: [3d_fullres], shards: 1}
---
apiVersion: nnunet.dev/v1alpha1
kind: TrainingRun
metadata: {name: run}
spec:
  plansRef: {name: plans}
  configuration: 3d_fullres
  folds: ["0"]
  trainer: {name: tiny, base: nnUNetTrainer, recipe: {epochs: 1, iterationsPerEpoch: 1, validationIterations: 1}}
  workers: {gpusPerNode: 0}
  validation: Skip
"""


def carry_out(world: MemoryWorld) -> None:
    """Do what the operator orders, until it orders nothing more."""
    world.settle()
    while open_jobs := [job for job in world.jobs() if not job.get("status")]:
        for job in open_jobs:
            order = work_order.decode(json.dumps(world.order(job)))
            step = importlib.import_module(f"nnunet_trainer.steps.{order.step}")
            world.finish(job, step.carry_out(order, lambda _: None))
        world.settle()


def test_presets_and_steps_from_manifests_to_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / "scratch"))
    monkeypatch.setattr("nnunet_trainer.dataset.parallel.cpu_limit", lambda: 1)
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e4)
    raw = RawDataset.open(make_dataset(tmp_path / "Dataset001_A", cases=5, shape=(12, 20, 20)))
    world = MemoryWorld(Settings(storage=StorageSpec(uri=f"file://{tmp_path}/store"), local_files=True))
    for manifest in yaml.safe_load_all(MANIFESTS.replace("DATA", f"file://{raw.folder}")):
        world.put(manifest)
    carry_out(world)

    def ready(kind: str, name: str) -> str:
        status, _, message = world.condition(kind, name)
        assert status == "True", message
        return message

    ready("Plans", "plans")
    ready("TrainingRun", "run")
    assert world.status("Plans", "plans")["plansName"] == "nnUNetPlansv2.1_big"
    [warning] = world.status("Plans", "plans")["warnings"]
    assert "3d_fullres of these plans: it has no StepwisePreprocessor (Crop, ClipPercentiles (low 1.0, high" in warning
    fold = Path(world.fold("run")["folder"].removeprefix("file://"))
    model = Model.load(fold.parent)
    names = [step["name"] for step in model.plans.configuration("3d_fullres").content["preprocessing_steps"]]
    assert names == ["Crop", "ClipPercentiles", "N4BiasFieldCorrection", "MatchHistogram", "Normalize", "Resample"]
    assert "2d" in model.plans.content["configurations"]

    seen = preprocessed_for_prediction(monkeypatch)
    prediction.predict_folder(
        model, raw.folder / "imagesTr", tmp_path / "predicted", window=SlidingWindow(patch_size=(16, 16, 16), step=1.0)
    )
    assert len(list((tmp_path / "predicted").glob(f"*{raw.file_ending}"))) == len(raw.cases)
    [data] = {path.parent for path in tmp_path.glob("store/**/*.b2nd") if "preprocessed" in str(path)}
    stored = [PreprocessedFolder(data).open(case) for case in raw.cases]
    for case in stored:
        assert np.array_equal(case.data[:], seen[str(case.properties["spacing"])]), "training saw other voxels"
