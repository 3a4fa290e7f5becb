"""Within the container's cores; and what is said when the GPU's memory is not enough: what was asked for, and what would fit."""

import copy
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.training.loop import gpu_memory, resources
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.loop.gpu_memory import out_of_memory, what_fits
from nnunet_trainer.training.ranks import distributed
from nnunet_trainer.training.ranks.distributed import Ranks

from ..conftest import plans

CPU = torch.device("cpu")


def shared_memory():
    """Bytes of this process's address space that are memory of loaders."""
    with open("/proc/self/maps") as maps:
        spans = [line.split()[0].split("-") for line in maps if "memfd:nnunet-trainer" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in spans)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_leaves_no_shared_memory_mapped(setup, workers):
    before = shared_memory()
    train(setup({"epochs": 1, "iterationsPerEpoch": 2, "validationIterations": 1}, workers=workers))
    assert shared_memory() <= before


def large(patch=(128, 128, 128), batch=4):
    """Plans of a size as people train."""
    content = copy.deepcopy(plans())
    content["configurations"]["3d_fullres"] |= {"patch_size": list(patch), "batch_size": batch}
    return Plans(content)


def estimated(tried, patch=None, batch=None):
    changed = copy.deepcopy(tried.content)
    own = changed["configurations"]["3d_fullres"]
    own |= {"patch_size": patch or own["patch_size"], "batch_size": batch or own["batch_size"]}
    return Plans(changed).configuration("3d_fullres").estimated_gpu_memory_gb


def test_a_smaller_batch_is_the_first_advice():
    tried = large(batch=8)
    whole = estimated(tried)
    said = what_fits(tried, "3d_fullres", gpu_gb=whole * 0.6)
    batch = int(re.match(r"batch (\d+) at this patch", said)[1])
    room = 0.9 * 0.6 * whole
    assert whole * batch / 8 <= room < whole * (batch + 1) / 8


def test_then_a_smaller_patch_that_the_network_can_take():
    tried = large(batch=2)
    whole = estimated(tried)
    said = what_fits(tried, "3d_fullres", gpu_gb=whole / 3)
    patch = [int(n) for n in re.match(r"patch (\d+)×(\d+)×(\d+) with batch 2", said).groups()]
    assert estimated(tried, patch, 2) <= 0.9 * whole / 3
    strides = tried.configuration("3d_fullres").architecture["arch_kwargs"]["strides"]
    for axis, size in enumerate(patch):
        step = torch.tensor([s[axis] for s in strides]).prod().item()
        assert size % step == 0
        assert size < 128


def test_what_did_not_fit_is_not_proposed_whatever_the_gpu_has():
    tried = large(batch=2)
    said = what_fits(tried, "3d_fullres", gpu_gb=1000)
    patch = [int(n) for n in re.match(r"patch (\d+)×(\d+)×(\d+)", said).groups()]
    assert estimated(tried, patch, 2) < estimated(tried)


def test_ranks_share_the_batch():
    tried = large(batch=8)
    whole = estimated(tried)
    # Two of eight patches a GPU; one a GPU fits.
    assert what_fits(tried, "3d_fullres", gpu_gb=whole / 8 / 0.9, world_size=4).startswith("batch 4 at this patch")


@pytest.mark.parametrize("missing", ["features_per_stage", "strides", "n_conv_per_stage", "n_conv_per_stage_decoder"])
def test_nothing_is_advised_where_nothing_is_known(missing):
    tried = large()
    del tried.content["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][missing]
    assert what_fits(tried, "3d_fullres", gpu_gb=8) is None
    assert what_fits(large(patch=(1, 1, 1), batch=2), "3d_fullres", gpu_gb=1e-9) is None


def test_the_message_names_sizes_of_tensors(setup, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=11 * 2**30))
    monkeypatch.setattr(gpu_memory, "_held_by_others", lambda device: 3 * 2**30)
    s = setup({"precision": "fp32", "batchSize": 5}, plans=large().content)
    fault = out_of_memory(s, Ranks(0, 2, 0, CPU), "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has …")
    assert "11.0 GiB of this GPU at patch 128×128×128, batch 5 (2.5 a GPU)" in fault.message
    assert "input is (3, 1, 128, 128, 128), float32" in fault.message
    assert "asked for 2.50 GiB" in fault.message
    assert "Other processes hold 3.0 GiB" in fault.message
    assert "planner's estimate is" in fault.message
    assert "would fit" in fault.hint
    assert "precision" in fault.hint


@pytest.mark.parametrize(("local", "cores"), [(1, 7), (2, 3), (8, 1), (16, 1)])
def test_the_ranks_of_a_node_share_its_cores(monkeypatch, local, cores):
    monkeypatch.setattr(distributed, "cpu_limit", lambda: 7)
    assert Ranks(0, 32, 0, CPU, local).cores == cores


def test_torch_compile_keeps_to_the_cores():
    """In a process of its own: torch reads the variable when it is imported."""
    code = (
        "from nnunet_trainer.training.loop import resources; resources._limit_compilation(3);"
        "import torch._inductor.config as config; print(config.compile_threads)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_COMPILE_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"


@pytest.mark.parametrize(("asked", "threads"), [(None, 3), ("5", 32)])
def test_what_was_asked_of_torch_compile_stays(monkeypatch, asked, threads):
    read_already = SimpleNamespace(compile_threads=32)
    monkeypatch.setitem(sys.modules, "torch._inductor.config", read_already)
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", asked or "")
    if asked is None:
        monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS")
    resources._limit_compilation(3)
    assert read_already.compile_threads == threads
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == (asked or "3")
