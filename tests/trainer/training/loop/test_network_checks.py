"""A plug-in's network is tried before the first epoch: what does not fit is said with numbers, and nothing else changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.training.loop.fold_training import train
from support.plugins import isolated, write

from ..conftest import plans

TEXT = """
import torch
from torch import nn
from nnunet_trainer.extensions import register
from nnunet_trainer.planning.architectures import Architecture, Reference


class Net(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.conv = nn.Conv3d(channels, outputs, 3, padding=1)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x):
        y = self.norm(self.conv(x))
        return ANSWER


@register("network", "Net")
def net(arch_kwargs, channels_in, channels_out, deep_supervision):
    return Net(channels_in, channels_out)


@register("architecture", "Net")
class NetArchitecture(Architecture):
    network = "Net"
    reference = Reference(three=REFERENCE, two=1)

    def estimate(self, patch, arch_kwargs, channels, outputs):
        return float(patch[0] * patch[1] * patch[2])
"""


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with isolated():
        yield


def trained(setup: Any, root: Path, answer: str = "y", reference: float = 5e8, strides: Any = None, **more: Any) -> Any:
    write(root, "net", net=TEXT.replace("ANSWER", answer).replace("REFERENCE", str(reference)))
    load_plugins(root, ["net"])
    architecture = {"network_class_name": "Net", "arch_kwargs": {} if strides is None else {"strides": strides}}
    changes = {"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1, "augmentation": "none"}
    return train(setup({**changes, "deepSupervision": strides is not None}, plans=plans(architecture=architecture), **more))


@pytest.mark.parametrize(
    ("answer", "strides", "said"),
    [
        ("y[:, :2]", None, "answers 1 output: 2×2×8×16×16 to a batch of 2×1×8×16×16; one output: 2×3×8×16×16 was expected"),
        ("y[..., 1:]", None, "answers 1 output: 2×3×8×16×15"),
        ("[y, y]", None, "answers 2 outputs"),
        (
            "y",
            [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "answers 1 output: .*; 2 outputs (deep supervision), the finest first: .*2×3×4×8×8 were",
        ),
        ("{'logits': y}", None, "answers dict"),
        ("y * float('nan')", None, "answers 12288 of 12288 values of output 0 that are NaN or infinite"),
    ],
)
def test_what_does_not_fit(setup: Any, tmp_path: Path, answer: str, strides: Any, said: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        trained(setup, tmp_path, answer, strides=strides)
    pattern = ".*".join(map(re.escape, said.split(".*")))
    assert re.search(pattern, refused.value.message), refused.value.message


@pytest.mark.parametrize("factor", [1e-4, 1.0])
def test_an_estimate_that_is_far_off(setup: Any, tmp_path: Path, factor: float) -> None:
    lines: list[str] = []
    # In fp32 a step of Net on two patches takes about 60 bytes a voxel: half of that is what the estimate is of.
    trained_ = trained(setup, tmp_path, reference=8e9 / 2 / 30 * factor, log=lines.append)
    assert trained_.epochs == 1
    far = [line for line in lines if "far off" in line]
    assert len(far) == (factor != 1)
    if far:
        assert re.search(
            r"The memory estimate of Net is far off: \S+ GB for 2 patches of 8×16×16 \(fp32\), measured were \S+ GB", far[0]
        )


def test_nothing_is_changed_by_it(setup: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunet_trainer.training.loop import network_checks

    weights = []
    for place, look in enumerate((network_checks.check_network, lambda session: [])):
        with isolated(), monkeypatch.context() as patched:
            patched.setattr(network_checks, "check_network", look)
            result = trained(setup, tmp_path / str(place), results=tmp_path / f"results{place}")
            weights.append(torch.load(result.checkpoint, weights_only=False)["network_weights"])
    torch.testing.assert_close(*weights, rtol=0, atol=0)
