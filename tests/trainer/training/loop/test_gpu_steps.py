"""Whole steps on a pretended GPU: none waits for it, mixes devices, or leaves a fused optimizer tensors that it refuses."""

import importlib.util
import itertools

import pytest
import torch
from gpu import checks, data
from nnunet_trainer.inference.sliding_window import SlidingWindow, finished_slabs
from nnunet_trainer.training.loop import iteration
from nnunet_trainer.training.loop.batches import batches
from nnunet_trainer.training.loop.fold_training import start_epoch
from nnunet_trainer.training.loop.loss_accumulator import LossAccumulator
from nnunet_trainer.training.reporting.epoch_statistics import StatisticsCollector
from nnunet_trainer.training.session.network.memory_layout import COMPILED, CONTIGUOUS, FUSED, MemoryLayout
from support.pretended_gpu import Copies, pretended_training

GPU = torch.device("cuda", 0)
KERNELS = FUSED if importlib.util.find_spec("triton") else COMPILED
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2]}
TRAININGS = {
    "default": ("3d_fullres", {}, KERNELS, {"precision": "fp16"}),
    "regions": ("2d", REGIONS, CONTIGUOUS, {"precision": "bf16", "optimizer": {"name": "AdamW"}, "deepSupervision": "soft"}),
}
"""Plan, labels, memory layout, recipe."""


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory):
    return data.write(tmp_path_factory.mktemp("preprocessed"), edge=24, cases=2)


@pytest.mark.parametrize(("plan", "labels", "layout", "recipe"), TRAININGS.values(), ids=TRAININGS)
def test_a_step_waits_for_nothing(plan, labels, layout, recipe, preprocessed, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "DATASET_JSON", data.DATASET_JSON | labels)
    with pretended_training():
        session = checks.Bench(preprocessed, tmp_path, data.SMALL_PLANS[plan], GPU).session(compile=False, **recipe)
        session.lay_out(MemoryLayout(layout))
        watch, losses = StatisticsCollector(session), LossAccumulator(session)
        with session.loader, Copies() as copies:
            for batch in batches(session, session.sampler, session.augmenter, 2, 0, watch.waits):
                loss = iteration.train_step(session, *batch)
                losses.add(loss)
                watch.step(batch[1])
                session.phases.look()
            assert (loss.device, loss.dtype, copies.mixed) == (GPU, torch.float32, set())
            assert copies.uploads > 0
            session.network.eval()
            for batch in batches(session, session.validation_sampler, session.validation_augmenter, 1):
                loss, counts = iteration.validation_step(session, *batch)
            assert (loss.device, counts.device, counts.shape, copies.mixed) == (GPU, GPU, (3, 2), set())


def test_network_and_loss_are_compiled_once_as_one_graph(preprocessed, tmp_path, monkeypatch):
    graphs, compile = [], torch.compile

    def taken(module, inputs):
        graphs.append({str(node.target) for node in module.graph.nodes})
        return module.forward

    monkeypatch.setattr(torch, "compile", lambda made: compile(made, backend=taken, fullgraph=True))
    torch.compiler.reset()
    with pretended_training():
        plan = data.architecture(3, [4, 8]), [8, 8, 8], 2
        session = checks.Bench(preprocessed, tmp_path, plan, GPU).session(compile=True, epochs=2, augmentation="none")
        session.lay_out(MemoryLayout(KERNELS))
        with session.loader:
            for session.epoch in range(2):
                start_epoch(session)
                for batch in batches(session, session.sampler, session.augmenter, 2):
                    iteration.train_step(session, *batch)
                session.network.eval()
                for batch in batches(session, session.validation_sampler, session.validation_augmenter, 1):
                    iteration.validation_step(session, *batch)
    assert len(graphs) == 2, "one to train, one to validate"
    assert KERNELS != FUSED or all(any("nnunet.instance_norm" in target for target in graph) for graph in graphs)


@pytest.mark.parametrize(("plan", "precision", "size"), [("3d_fullres", "fp16", (20, 16, 18)), ("2d", "bf16", (3, 34, 24))])
def test_tiles_and_their_sums_stay_on_the_gpu(plan, precision, size):
    architecture, patch, _ = data.SMALL_PLANS[plan]
    window = SlidingWindow(patch_size=tuple(patch), mirror_axes=(0,), precision=precision, batch=4)
    with pretended_training():
        network = data.build(architecture, 1, 3, False).to(GPU, memory_format=torch.preserve_format).eval()
        image = torch.empty(1, *size)
        with Copies(waits=True) as copies:
            slabs = finished_slabs(network, image, 3, window, GPU)
            found = [tuple(slab.values.shape[1:]) for slab in itertools.islice(slabs, 1)]
            rest = sum(slab.values.shape[1] for slab in slabs)
    assert (found[0][1:], found[0][0] + rest) == (size[1:], size[0])
    assert copies.mixed == set()
