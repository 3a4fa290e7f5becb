"""The trial of memory layouts, on a CPU in place of a GPU."""

import copy
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from nnunet_trainer.training.session import memory_layout
from nnunet_trainer.training.session.memory_layout import CHANNELS_LAST, CONTIGUOUS, MemoryLayout, chosen, tried
from nnunet_trainer.training.session.precision import Precision
from torch import nn

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FP32 = Precision("fp32", CPU)


class Recording(nn.Module):
    """Remembers how what it got lay in memory."""

    seen: ClassVar[list[bool]] = []

    def forward(self, x):
        self.seen.append(x.is_contiguous(memory_format=torch.channels_last_3d))
        return x


@pytest.fixture
def network():
    return nn.Sequential(Recording(), nn.Conv3d(2, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Dropout3d(0.5))


@pytest.fixture
def gpu(monkeypatch):
    """One of which only the name counts; what its trials give."""
    seconds = {CHANNELS_LAST: 0.5, CONTIGUOUS: 0.25}
    machine = SimpleNamespace(seconds=seconds, tried=0)

    def trial(*_):
        machine.tried += 1
        if isinstance(machine.seconds, Exception):
            raise machine.seconds
        return machine.seconds

    monkeypatch.setattr(memory_layout, "tried", trial)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return machine


def test_both_are_tried_by_the_clock_and_the_network_stays_as_it_is(network):
    Recording.seen.clear()
    before, strides = copy.deepcopy(network.state_dict()), network[1].weight.stride()
    times = iter([0.0, 1.0, 6.0, 10.0, 20.0, 40.0])
    found = tried(network, (1, 2, 4, 4, 4), FP32, CPU, clock=lambda: next(times))
    steps = memory_layout.WARM_UP + memory_layout.TIMED
    assert found == {CHANNELS_LAST: 1.0, CONTIGUOUS: 4.0}
    assert Recording.seen == [True] * steps + [False] * steps
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network[1].weight.stride() == strides
    assert network[1].weight.grad is None


def test_the_faster_one_is_chosen_and_said(gpu):
    found = chosen(None, (), FP32, GPU)
    assert (found.name, found.device) == (CONTIGUOUS, "H100")
    assert "channels first" in found.said()
    assert "channels last 500.0 ms" in found.said()
    assert found.format(3) is torch.contiguous_format
    gpu.seconds = {CHANNELS_LAST: 0.1, CONTIGUOUS: 0.2}
    assert chosen(None, (), FP32, GPU).format(3) is torch.channels_last_3d
    assert chosen(None, (), FP32, GPU).format(2) is torch.channels_last


def test_a_resumed_training_keeps_its_layout_on_the_same_kind_of_gpu(gpu):
    first = chosen(None, (), FP32, GPU)
    gpu.seconds = {CHANNELS_LAST: 0.1, CONTIGUOUS: 0.2}
    assert chosen(None, (), FP32, GPU, saved=first.saved()) == first
    assert gpu.tried == 1
    elsewhere = {**first.saved(), "device": "A100"}
    assert chosen(None, (), FP32, GPU, saved=elsewhere).name == CHANNELS_LAST
    assert gpu.tried == 2


@pytest.mark.parametrize("saved", [None, {}, {"name": "sideways"}, "text"])
def test_a_deterministic_training_is_not_decided_by_a_clock(gpu, saved):
    assert chosen(None, (), FP32, GPU, saved=saved, fixed=True).name == CHANNELS_LAST
    assert chosen(None, (), FP32, GPU, saved=MemoryLayout(CONTIGUOUS).saved(), fixed=True).name == CONTIGUOUS
    assert gpu.tried == 0


def test_a_trial_that_does_not_fit_ends_nothing(gpu):
    gpu.seconds = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert chosen(None, (), FP32, GPU) == MemoryLayout()
    gpu.seconds = RuntimeError("a shape is wrong")
    with pytest.raises(RuntimeError, match="shape"):
        chosen(None, (), FP32, GPU)


class Uncopied(nn.Module):
    """As a layer whose weight is computed of others."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def __deepcopy__(self, memory):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("only leaves"), TypeError("cannot pickle '_thread.lock' object")], ids=repr)
def test_a_network_that_cannot_be_copied_is_not_tried(monkeypatch, error):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert chosen(nn.Sequential(Uncopied(error)), (1, 1, 2, 2, 2), FP32, GPU) == MemoryLayout()


def test_on_a_cpu_nothing_is_tried(gpu):
    assert chosen(None, (), FP32, CPU) == MemoryLayout()
    assert gpu.tried == 0
