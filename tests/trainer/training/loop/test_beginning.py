"""What a training does with its GPU before the first step; no GPU is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nnunet_trainer.architecture.blocks import ConvBlock, Ops
from nnunet_trainer.training.loop import beginning
from nnunet_trainer.training.session.network import memory_layout_trial
from nnunet_trainer.training.session.network.memory_layout import COMPILED, CONTIGUOUS, FUSED, MemoryLayout
from nnunet_trainer.training.session.session import Session
from torch import nn


def session(*, compiled: bool) -> Any:
    """As far as the beginning looks at it."""
    ops = Ops(dimension=3, norm=nn.InstanceNorm3d, norm_kwargs={"affine": True}, dropout_kwargs={}, nonlin_kwargs={})
    network = nn.Sequential(ConvBlock(ops, 2, 3, 3))
    made = SimpleNamespace(
        network=network,
        runner=nn.Sequential(network) if compiled else network,
        optimizer=torch.optim.SGD(network.parameters()),
        ranks=SimpleNamespace(device=torch.device("cuda"), first=True, world_size=1),
        configuration=SimpleNamespace(batch_size=2, patch_size=[4, 6, 8], dimensions=3, num_input_channels=lambda _: 2),
        setup=SimpleNamespace(dataset_json={}, deterministic=False),
        recipe=SimpleNamespace(epochs=10, iterations_per_epoch=25),
        precision=SimpleNamespace(name="fp16"),
        layout=MemoryLayout(),
    )
    made.lay_out = lambda layout: Session.lay_out(made, layout)
    return made


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("name", "way", "last"), [(COMPILED, "expression", True), (CONTIGUOUS, "torch", False)])
def test_the_chosen_layout_is_taken_and_said(monkeypatch, compiled, name, way, last):
    asked, lines = {}, []

    def chosen(network, shape, *_, **about):
        asked.update(about, network=network, shape=shape)
        return MemoryLayout(name, "H100", {CONTIGUOUS: 0.2, COMPILED: 0.1}, compiled, {FUSED: "ImportError: no triton"})

    monkeypatch.setattr(memory_layout_trial, "chosen", chosen)
    monkeypatch.setattr(beginning, "check_convolutions", lambda *given: 3)
    made = session(compiled=compiled)
    beginning.try_gpu(made, {"memory_layout": "an earlier one"}, lines.append)
    assert asked == {
        "network": made.network,
        "shape": (2, 2, 4, 6, 8),
        "saved": "an earlier one",
        "fixed": False,
        "compiles": compiled,
        "steps": 250,
    }
    assert made.layout.name == name
    assert made.network[0].normalized_by == way
    assert made.network[0].conv.weight.is_contiguous(memory_format=torch.channels_last_3d) is last
    assert lines[0] == (
        f"Memory layout: {name}; forward and backward {'compiled, on' if compiled else 'on'} H100 take: "
        f"{CONTIGUOUS} 200.0 ms, {COMPILED} 100.0 ms."
    )
    assert lines[1] == f"Memory layout: not {FUSED}: ImportError: no triton."
