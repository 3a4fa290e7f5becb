"""A source with another number of input channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.work_order import PretrainedPolicies
from nnunet_trainer.training import pretrained
from nnunet_trainer.training.pretrained import channels

from .conftest import build, state

Save = Callable[..., Path]
NETWORKS = [(kind, dimension) for kind in ("plain", "residual") for dimension in (2, 3)]


def stem_of(kind: str) -> str:
    return "encoder.stages.0.0.convs.0.conv.weight" if kind == "plain" else "encoder.stem.convs.0.conv.weight"


@pytest.mark.parametrize(("kind", "dimension"), NETWORKS)
@pytest.mark.parametrize(("there", "here"), [(1, 3), (2, 4), (3, 1)])
@pytest.mark.parametrize("policy", ["Repeat", "Average"])
def test_the_first_convolution_answers_as_before(
    kind: str, dimension: int, there: int, here: int, policy: Any, saved: Save
) -> None:
    source, target = build(kind, dimension, channels=there), build(kind, dimension, channels=here, seed=1)
    report = pretrained.load(target, saved(source), policies=PretrainedPolicies(input_channels=policy))
    assert [key for key, _ in report.adapted] == [stem_of(kind)]
    assert f"{there} input channel" in report.adapted[0][1]
    image = torch.randn(2, 1, *[8] * dimension, generator=torch.Generator().manual_seed(2))
    ours, theirs = (next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d)) for net in (target, source))
    if (policy, there, here) != ("Repeat", 3, 1):
        same = ours(image.expand(-1, here, *[-1] * dimension)), theirs(image.expand(-1, there, *[-1] * dimension))
        torch.testing.assert_close(*same, rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(ours.weight, theirs.weight[:, :1] * 3)
    expected = state(source)
    adapted = [key for key, value in state(target).items() if key not in report.skipped and value.shape != expected[key].shape]
    assert len(adapted) == 4, "the stem has four keys"
    for key, value in state(target).items():
        if key in adapted:
            assert torch.equal(value, ours.weight)
        elif key not in report.skipped:
            assert torch.equal(value, expected[key]), key


@given(st.integers(1, 5), st.integers(1, 7))
def test_a_repeated_channel_shares_its_weight(there: int, here: int) -> None:
    weight = torch.randn(2, there, 3, 3, generator=torch.Generator().manual_seed(there), dtype=torch.float64)
    repeated = channels.repeat(weight, here)
    assert repeated.shape == (2, here, 3, 3)
    for source in range(min(there, here)):
        copies = repeated[:, source::there]
        torch.testing.assert_close(copies.sum(1), weight[:, source] * max(1.0, there / here))
        torch.testing.assert_close(copies, copies[:, :1].expand_as(copies))
    averaged = channels.average(weight, here)
    torch.testing.assert_close(averaged.sum(1), weight.sum(1))
    torch.testing.assert_close(averaged, averaged[:, :1].expand_as(averaged))


@pytest.mark.parametrize(("kind", "dimension"), NETWORKS)
def test_a_stem_begins_anew_when_that_is_asked(kind: str, dimension: int, saved: Save) -> None:
    source, target = build(kind, dimension), build(kind, dimension, channels=2, seed=1)
    before = state(target)
    report = pretrained.load(target, saved(source), policies=PretrainedPolicies(input_channels="Reinitialize"))
    assert stem_of(kind) in report.skipped
    assert "1 input channel, this one 2" in report.notes[0]
    assert "1 asked to begin anew" in str(report)
    for key, value in state(target).items():
        same = before if key in report.skipped or value.shape != source.state_dict()[key].shape else source.state_dict()
        assert torch.equal(value, same[key]), key


@pytest.mark.parametrize(("kind", "dimension"), NETWORKS)
def test_without_a_policy_it_is_an_error_that_says_what_to_do(kind: str, dimension: int, saved: Save) -> None:
    target = build(kind, dimension, channels=2, seed=1)
    before = state(target)
    with pytest.raises(BadConfiguration, match="1 tensors have another shape") as refused:
        pretrained.load(target, saved(build(kind, dimension)))
    assert refused.value.reason == "PretrainedMismatch"
    assert "has 1 input channel, this one 2" in refused.value.hint
    assert "spec.pretrained.inputChannels" in refused.value.hint
    assert "Repeat, Average or Reinitialize" in refused.value.hint
    assert len(refused.value.findings) == 1
    assert stem_of(kind) in refused.value.findings[0]
    assert all(torch.equal(value, before[key]) for key, value in state(target).items())


@pytest.mark.parametrize("policy", ["Match", "Repeat", "Average", "Reinitialize"])
def test_the_policy_does_nothing_where_channels_are_the_same(policy: Any, saved: Save) -> None:
    source, target = build(channels=2), build(channels=2, seed=1)
    report = pretrained.load(target, saved(source), policies=PretrainedPolicies(input_channels=policy))
    assert (report.adapted, report.mismatched) == ([], [])
    assert all(torch.equal(value, state(source)[key]) for key, value in state(target).items() if key not in report.skipped)


def test_another_kernel_is_no_matter_of_channels(saved: Save) -> None:
    source, target = build(anisotropic=True), build(channels=2)
    with pytest.raises(BadConfiguration) as refused:
        pretrained.load(target, saved(source), policies=PretrainedPolicies(input_channels="Repeat"))
    assert any("4×1×1×3×3 in the file, 4×2×3×3×3 in the network" in line for line in refused.value.findings)
