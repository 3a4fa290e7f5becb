"""The trial of memory layouts, on a CPU in place of a GPU."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from nnunet_trainer.architecture import fused_norm_check
from nnunet_trainer.architecture.blocks import ConvBlock, Ops
from nnunet_trainer.training.session.network import memory_layout_trial
from nnunet_trainer.training.session.network.memory_layout import CHANNELS_LAST, COMPILED, CONTIGUOUS, FUSED, OWN, MemoryLayout
from nnunet_trainer.training.session.network.memory_layout_trial import WORTH_COMPILING, Trial, chosen, tried
from nnunet_trainer.training.session.optimization.precision import Precision
from torch import nn

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FP32 = Precision("fp32", CPU)
SHAPE = (1, 2, 4, 4, 4)
PLAIN = nn.Conv3d(2, 2, 3)
OPS = Ops(dimension=3, norm=nn.InstanceNorm3d, norm_kwargs={"affine": True}, dropout_kwargs={}, nonlin_kwargs={})
OURS = nn.Sequential(ConvBlock(OPS, 2, 3, 3))
LONG = {"compiles": True, "steps": WORTH_COMPILING}


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
    """One of which only the name counts; what its trials give, by layout, and what the check of fused kernels says."""
    machine = SimpleNamespace(found={CHANNELS_LAST: 0.5, CONTIGUOUS: 0.25}, problem=None, tried=[], compiled=set())

    def trial(name, *_, compiled):
        machine.tried.append(name)
        machine.compiled.add(compiled)
        if isinstance(machine.found, Exception):
            raise machine.found
        found = machine.found[name]
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Trial) else Trial(found, 1.0, 2.0)

    monkeypatch.setattr(memory_layout_trial, "tried", trial)
    monkeypatch.setattr(fused_norm_check, "problem", lambda *_: machine.problem)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    torch_zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *size, device=None: torch_zeros(*size))
    return machine


@pytest.mark.parametrize(("name", "last"), [(CHANNELS_LAST, True), (CONTIGUOUS, False)])
def test_a_layout_is_tried_by_the_clock_and_the_network_stays_as_it_is(network, name, last):
    Recording.seen.clear()
    before, strides = copy.deepcopy(network.state_dict()), network[1].weight.stride()
    times, drawn = iter([0.0, 1.0, 6.0]), torch.get_rng_state()
    found = tried(name, network, SHAPE, FP32, CPU, clock=lambda: next(times))
    assert found.seconds == 1.0
    assert Recording.seen == [last] * (memory_layout_trial.WARM_UP + memory_layout_trial.TIMED)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network[1].weight.stride() == strides
    assert network[1].weight.grad is None
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_compiled_for_a_trial_is_forgotten(monkeypatch, fails):
    def compile(module):
        made.append(module)
        return (lambda _: 1 / 0) if fails else module

    made, forgotten = [], []
    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch.compiler, "reset", lambda: forgotten.append(len(made)))
    with pytest.raises(ZeroDivisionError) if fails else nullcontext():
        tried(COMPILED, OURS, SHAPE, FP32, CPU, compiled=True)
    assert made[0][0].normalized_by == "expression"
    assert OURS[0].normalized_by == "torch"
    assert forgotten == [1]


def test_layouts_agree_of_one_network_and_not_of_another(network):
    first, second = (tried(name, network, SHAPE, FP32, CPU) for name in OWN)
    assert first.agrees(second)
    network[1].weight.data *= 1.2
    assert not tried(CHANNELS_LAST, network, SHAPE, FP32, CPU).agrees(second)
    assert not Trial(1.0, float("nan"), 1.0).agrees(Trial(1.0, float("nan"), 1.0))


def test_the_faster_one_is_chosen_and_said(gpu):
    found = chosen(PLAIN, SHAPE, FP32, GPU)
    assert (found.name, found.device) == (CONTIGUOUS, "H100")
    (said,) = found.said()
    assert "channels first" in said
    assert "channels last 500.0 ms" in said
    assert found.format(3) is torch.contiguous_format
    gpu.found = {CHANNELS_LAST: 0.1, CONTIGUOUS: 0.2}
    assert chosen(PLAIN, SHAPE, FP32, GPU).format(3) is torch.channels_last_3d
    assert chosen(PLAIN, SHAPE, FP32, GPU).format(2) is torch.channels_last


def test_a_resumed_training_keeps_its_layout_on_the_same_kind_of_gpu(gpu):
    first = chosen(PLAIN, SHAPE, FP32, GPU)
    gpu.found = {CHANNELS_LAST: 0.1, CONTIGUOUS: 0.2}
    assert chosen(PLAIN, SHAPE, FP32, GPU, saved=first.saved()) == first
    assert len(gpu.tried) == 2
    elsewhere = {**first.saved(), "device": "A100"}
    assert chosen(PLAIN, SHAPE, FP32, GPU, saved=elsewhere).name == CHANNELS_LAST
    assert len(gpu.tried) == 4


@pytest.mark.parametrize("saved", [None, {}, {"name": "sideways"}, "text"])
def test_a_deterministic_training_is_not_decided_by_a_clock(gpu, saved):
    assert chosen(PLAIN, SHAPE, FP32, GPU, saved=saved, fixed=True).name == CHANNELS_LAST
    assert chosen(PLAIN, SHAPE, FP32, GPU, saved=MemoryLayout(CONTIGUOUS).saved(), fixed=True).name == CONTIGUOUS
    assert not gpu.tried


def test_a_trial_that_does_not_fit_ends_nothing(gpu):
    gpu.found = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert chosen(PLAIN, SHAPE, FP32, GPU) == MemoryLayout()
    gpu.found = RuntimeError("a shape is wrong")
    with pytest.raises(RuntimeError, match="shape"):
        chosen(PLAIN, SHAPE, FP32, GPU)


ALL = {CHANNELS_LAST: 0.5, CONTIGUOUS: 0.25, COMPILED: 0.125, FUSED: 0.0625}


@pytest.mark.parametrize(
    ("network", "how", "names"),
    [
        (OURS, {"steps": 10**6}, [CHANNELS_LAST, CONTIGUOUS, FUSED]),
        (OURS, LONG, [CHANNELS_LAST, CONTIGUOUS, COMPILED, FUSED]),
        (OURS, {"compiles": True, "steps": WORTH_COMPILING - 1}, [CHANNELS_LAST, CONTIGUOUS]),
        (PLAIN, LONG, [CHANNELS_LAST, CONTIGUOUS]),
    ],
    ids=["eager", "compiled", "compiled, too short to try that", "no block of ours"],
)
def test_candidates_are_what_the_training_can_run(gpu, network, how, names):
    gpu.found = ALL
    found = chosen(network, SHAPE, FP32, GPU, **how)
    assert gpu.tried == names
    assert found.name == names[-1]
    assert gpu.compiled == {how is LONG}
    assert found.compiled is (how is LONG)
    again = chosen(network, SHAPE, FP32, GPU, saved=found.saved(), **how)
    assert again == found
    assert gpu.tried == names


@pytest.mark.parametrize(
    ("found", "problem", "why"),
    [
        (0.1, "of 2×3, the output differs", "of 2×3, the output differs"),
        (RuntimeError("ptxas failed\nlong text"), None, "RuntimeError: ptxas failed"),
        (ValueError(), None, "ValueError"),
        (Trial(0.1, 1.5, 2.0), None, "loss 1.5, gradient 2 where torch finds 1, 2"),
        (Trial(0.1, 1.0, float("nan")), None, "loss 1, gradient nan where torch finds 1, 2"),
    ],
    ids=["check", "compiler", "no words", "another loss", "no number"],
)
def test_fused_kernels_that_fail_are_left_out_with_one_line(gpu, found, problem, why):
    gpu.found, gpu.problem = {**ALL, FUSED: found}, problem
    layout = chosen(OURS, SHAPE, FP32, GPU, **LONG)
    assert layout.name == COMPILED
    assert layout.normalized_by == "expression"
    assert layout.said()[1:] == [f"Memory layout: not {FUSED}: {why}."]
    assert list(layout.seconds) == [CHANNELS_LAST, CONTIGUOUS, COMPILED]


def test_a_resumed_training_whose_kernels_fail_now_tries_anew(gpu):
    gpu.found = ALL
    first = chosen(OURS, SHAPE, FP32, GPU)
    assert first.name == FUSED
    gpu.problem = "ImportError: there is no Triton"
    assert chosen(OURS, SHAPE, FP32, GPU, saved=first.saved()).name == CONTIGUOUS


@pytest.mark.parametrize("name", [FUSED, COMPILED])
def test_a_deterministic_training_runs_torchs_own(gpu, name):
    assert chosen(OURS, SHAPE, FP32, GPU, saved=MemoryLayout(name).saved(), fixed=True) == MemoryLayout()


@pytest.mark.parametrize("name", OWN)
def test_layouts_of_older_checkpoints_are_known(gpu, name):
    old = {"name": name, "device": "H100", "seconds": {CHANNELS_LAST: 0.5, CONTIGUOUS: 0.25}}
    assert chosen(OURS, SHAPE, FP32, GPU, saved=old) == MemoryLayout(**old)
    assert not gpu.tried


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
    assert chosen(PLAIN, SHAPE, FP32, CPU) == MemoryLayout()
    assert not gpu.tried
