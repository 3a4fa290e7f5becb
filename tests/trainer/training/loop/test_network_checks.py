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


SUPERVISED = """

class Supervised(Net):
    def __init__(self, channels, outputs, deep_supervision):
        super().__init__(channels, outputs)
        self.deep_supervision = deep_supervision
        self.heads = nn.ModuleList(nn.Conv3d(outputs, outputs, 1) for _ in range(HEADS))

    def forward(self, x):
        y = super().forward(x)
        outputs = [head(y[..., ::f, ::f, ::f]) for head, f in zip(self.heads, (1, 2))]
        return outputs if ALWAYS else outputs[0]


@register("network", "Supervised")
def supervised(arch_kwargs, channels_in, channels_out, deep_supervision):
    return Supervised(channels_in, channels_out, deep_supervision)
"""


@pytest.mark.parametrize(
    ("heads", "always", "said"),
    [
        ("2", "self.deep_supervision", ""),
        (
            "2 if deep_supervision else 1",
            "self.deep_supervision",
            "has 2 other weights (heads.1.weight: not in the network; heads.1",
        ),
        ("2", "True", "answers list when it is built with deep_supervision=False, as for prediction"),
    ],
)
def test_prediction_builds_the_same_network(setup: Any, tmp_path: Path, heads: str, always: str, said: str) -> None:
    text = TEXT.replace("ANSWER", "y").replace("REFERENCE", "5e8")
    write(tmp_path, "net", net=text + SUPERVISED.replace("HEADS", heads).replace("ALWAYS", always))
    load_plugins(tmp_path, ["net"])
    strides = [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    own = plans(architecture={"network_class_name": "Supervised", "arch_kwargs": {"strides": strides}})
    changes = {"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1, "augmentation": "none"}
    if not said:
        assert train(setup(changes, plans=own)).epochs == 1
        return
    with pytest.raises(BadConfiguration) as refused:
        train(setup(changes, plans=own))
    assert refused.value.reason == "NetworkDoesNotFit"
    assert said in refused.value.message


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
