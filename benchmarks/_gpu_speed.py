"""How fast trainings and predictions of ours are: of epochs, augmentation, the end of an epoch, and of a whole CT."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from gpu import checks, data  # tests/gpu
from nnunet_trainer.inference.export import segmentation_from_logits
from nnunet_trainer.inference.model import Model
from nnunet_trainer.preprocessing.case import preprocess_image, revert_segmentation
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.loop import fold_training
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting import reporter
from nnunet_trainer.training.session.batch_preparation import BatchPreparation
from nnunet_trainer.training.session.network import memory_layout_trial
from nnunet_trainer.training.session.network.memory_layout import MemoryLayout

DRAWN = reporter.progress_plot
Tell = Callable[[dict[str, Any]], None]
"""Takes figures as soon as they are found."""


def epoch_seconds(preprocessed: Path, plan: data.Plan, device: str, steps: int, workers: int | None, **recipe: Any) -> float:
    """Of a training's second epoch, its one validation step included, a step: in the first one kernels are compiled and chosen."""
    checks.clean(torch.device(device))
    with tempfile.TemporaryDirectory() as results:
        recipe = {"epochs": 2, "iterationsPerEpoch": steps, **recipe}
        made = data.setup(preprocessed, Path(results), plan, recipe=recipe, device=device, workers=workers)
        logged = torch.load(train(made).checkpoint, map_location="cpu", weights_only=False)["logging"]
        return (logged["epoch_end_timestamps"][1] - logged["epoch_start_timestamps"][1]) / steps


def memory_layouts(preprocessed: Path, plan: data.Plan, device: torch.device, tell: Tell) -> None:
    """What a training of full length would choose; the time of a step in each layout is told as soon as it is known."""
    session = checks.Bench(preprocessed, preprocessed, plan, device).session()
    shape = plan[2], session.configuration.num_input_channels(data.DATASET_JSON), *plan[1]
    compiles, steps = session.runner is not session.network, memory_layout_trial.WORTH_COMPILING
    tried = memory_layout_trial.tried

    def told(name: str, *arguments: Any, **options: Any) -> memory_layout_trial.Trial:
        begun = time.perf_counter()
        trial = tried(name, *arguments, **options)
        print(f"{name}: {1000 * trial.seconds:.1f} ms a step, tried for {time.perf_counter() - begun:.0f} s", flush=True)
        tell({f"3d_fullres_{name.replace(' ', '_')}_ms": 1000 * trial.seconds})
        return trial

    with mock.patch.object(memory_layout_trial, "tried", told):
        found = memory_layout_trial.chosen(session.network, shape, session.precision, device, compiles=compiles, steps=steps)
    print("\n".join(found.said()), flush=True)
    tell({"layout": found.name, "3d_fullres_layout": found.name, "layouts_left_out": found.left_out, "compiled": compiles})


def speed(
    preprocessed: Path,
    name: str,
    plan: data.Plan,
    device: str,
    steps: int,
    tell: Tell,
    workers: int | None = None,
    layout: MemoryLayout | None = None,
) -> None:
    """One plan's figures, with as many cores as there are; in a layout, or in that which so short a training chooses."""
    given = mock.patch.object(memory_layout_trial, "chosen", return_value=layout) if layout else nullcontext()
    with given:
        whole = epoch_seconds(preprocessed, plan, device, steps, workers)
        tell({f"{name}_seconds_a_patch": whole / plan[2]})
        print(f"{name}: {plan[2] / whole:.1f} patches/s", flush=True)
        fixed = epoch_seconds(preprocessed, plan, device, steps, workers, sampling={"fixedBatch": True})
    tell({f"{name}_epoch_over_fixed_batch": whole / fixed})
    print(f"{name}: {plan[2] / fixed:.1f} patches/s on a fixed batch", flush=True)


def epoch_end_ms(preprocessed: Path, plan: data.Plan, device: str, epochs: int = 4) -> float:
    """Median of what lies between two epochs (log, curves, a plot each time, checkpoints), as long as the next one waits for it."""
    seconds = []
    finish = fold_training.finish_epoch

    def timed(*arguments: Any) -> bool:
        begun = time.perf_counter()
        better = finish(*arguments)
        seconds.append(time.perf_counter() - begun)
        return better

    draws = DRAWN if importlib.util.find_spec("matplotlib") else lambda *_: None
    with (
        mock.patch.object(fold_training, "finish_epoch", timed),
        mock.patch.object(reporter, "progress_plot", draws),
        mock.patch.object(reporter, "PLOT_EVERY_SECONDS", -1.0),
    ):
        epoch_seconds(preprocessed, plan, device, 1, 0, epochs=epochs, compile=False)
    return 1000 * statistics.median(seconds)


def augmentation_ms(preprocessed: Path, plan: data.Plan, device: torch.device, batches: int) -> float:
    """Median of a batch's upload, from page-locked memory as workers leave it there, and augmentation; it is drawn already."""
    bench = checks.Bench(preprocessed, preprocessed, plan, device)
    _, patch, _ = plan
    scales = [[0.5**stage] * len(patch) for stage in range(3)]
    augmenter = Augmenter(config=augmentation_set("default"), patch_size=tuple(patch), deep_supervision_scales=scales)
    prepare = BatchPreparation(augmenter, device, torch.contiguous_format)
    maker = bench.session().loader.maker
    seconds = []

    def allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        kind = torch.from_numpy(np.empty(0, dtype)).dtype
        return torch.empty(shape, dtype=kind, pin_memory=device.type == "cuda").numpy()

    for number in range(batches + 3):
        batch = maker.samplers["train"].batch(0, number, allocate)
        assert maker.planners is not None
        planned = replace(batch, plan=maker.planners["train"](batch))
        _done(device)
        begun = time.perf_counter()
        prepare(planned)
        _done(device)
        seconds.append(1000 * (time.perf_counter() - begun))
    return statistics.median(seconds[3:])


def prediction(model_folder: Path, image: Path, spacing: Sequence[float], device: torch.device) -> tuple[float, np.ndarray]:
    """Seconds from an image in memory to its segmentation (z, y, x), and that."""
    model, images = Model.load(model_folder, device=device), np.load(image)
    _done(device)
    begun = time.perf_counter()
    about = (model.plans, model.configuration, model.dataset_json)
    pixels, _, properties = preprocess_image(images, {"spacing": list(spacing)}, *about, with_segmentation=False)
    goal, tensor = model.goal(pixels.shape[1:], properties), torch.from_numpy(pixels)
    if goal is None:
        found = segmentation_from_logits(model.logits(tensor), properties, model.plans, model.configuration, model.labels)
    else:
        found = revert_segmentation(model.segment(tensor, goal), properties, model.plans, model.labels)
    return time.perf_counter() - begun, found


def _done(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
