"""Deterministic kernels where they are asked for; what is not deterministic all the same is told."""

import logging

import torch
from nnunet_trainer.training.loop import iteration
from nnunet_trainer.training.loop.determinism import deterministic
from nnunet_trainer.training.loop.fold_training import train


class Put(torch.autograd.Function):
    """Its gradient needs a kernel that is deterministic on no device."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient).put_(torch.arange(gradient.numel()), gradient.flatten())


def test_a_kernel_that_is_not_deterministic_is_named_in_log_and_progress(setup, monkeypatch):
    step = iteration.train_step

    def with_put(session, data, targets):
        Put.apply(torch.ones(3, requires_grad=True)).sum().backward()
        return step(session, data, targets)

    monkeypatch.setattr(iteration, "train_step", with_put)
    lines, heard = [], []
    train(setup({"epochs": 2}, deterministic=True, log=lines.append, listener=heard.append))
    said = [line for line in lines if "deterministic" in line]
    assert len(said) == 1
    assert "no deterministic kernel for put_ on this device" in said[0]
    assert said[0].removeprefix("Warning: ") in heard[-1].warnings
    lines.clear()
    train(setup({"epochs": 1}, trainer="another", log=lines.append))
    assert not any("deterministic" in line for line in lines)


def test_a_training_on_a_cpu_is_deterministic(setup):
    lines = []
    train(setup({"epochs": 1}, deterministic=True, log=lines.append))
    assert not any("deterministic" in line for line in lines)


def test_it_is_asked_for_as_long_as_the_block_runs(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for asked in (True, False):
        with deterministic(asked):
            assert torch.are_deterministic_algorithms_enabled() == asked
            assert torch.backends.cudnn.benchmark == (not asked)
        assert not torch.are_deterministic_algorithms_enabled()


def test_other_warnings_are_told_as_ever(caplog):
    import warnings

    with caplog.at_level(logging.WARNING), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with deterministic(True) as kernels:
            warnings.warn("something else", stacklevel=1)
    assert [str(w.message) for w in caught] == ["something else"]
    assert kernels.news() == []
