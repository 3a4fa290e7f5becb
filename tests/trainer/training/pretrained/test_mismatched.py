"""A source whose network is another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.work_order import PretrainedPolicies
from nnunet_trainer.training import pretrained

from trainer.architecture.plans import plain

from ..conftest import plans
from .conftest import build, shallow, state

Save = Callable[..., Path]
SKIP = PretrainedPolicies(mismatched="Skip")


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_what_fits_is_loaded_and_the_rest_is_named(kind: str, dimension: int, saved: Save) -> None:
    source, target = build(kind, dimension, features_per_stage=[4, 8, 16]), build(kind, dimension, seed=1)
    before, theirs = state(target), state(source)
    report = pretrained.load(target, saved(source), policies=SKIP)
    other = {key for key, value in before.items() if value.shape != theirs[key].shape}
    named = {key for key, _, _ in report.mismatched}
    assert named == {key for key in other if ".all_modules." not in key and not key.startswith("decoder.encoder.")}
    assert named
    for key, value in state(target).items():
        assert torch.equal(value, before[key] if key in other or key in report.skipped else theirs[key]), key
    lines = "\n".join(report.lines())
    assert all(f"begins anew: {key}: " in lines for key in named)
    assert f"{len(named)} of another shape begin anew" in str(report)
    assert report.summary()["mismatched"] == len(named) == len(report.tensors()["mismatched"])


def test_a_deeper_source_is_matched_from_the_finest_resolution(saved: Save) -> None:
    source, target = build(), build(seed=1, **shallow())
    report = pretrained.load(target, saved(source), policies=SKIP)
    assert (report.mismatched, report.missing, report.adapted) == ([], [], [])
    assert any("decoder has 2 stages, this one 1" in note for note in report.notes)
    theirs, ours = state(source), state(target)
    assert torch.equal(ours["decoder.stages.0.convs.0.conv.weight"], theirs["decoder.stages.1.convs.0.conv.weight"])
    assert torch.equal(ours["decoder.transpconvs.0.weight"], theirs["decoder.transpconvs.1.weight"])
    assert any(key.startswith("encoder.stages.2.") for key in report.unused)
    assert not any(".all_modules." in key for key in report.unused)


def test_a_shallower_source_leaves_the_bottom_anew(saved: Save) -> None:
    source, target = build(**shallow()), build(seed=1)
    before = state(target)
    report = pretrained.load(target, saved(source), policies=SKIP)
    assert report.missing
    assert all(key.startswith(("encoder.stages.2.", "decoder.stages.0.", "decoder.transpconvs.0.")) for key in report.missing)
    theirs, ours = state(source), state(target)
    assert torch.equal(ours["decoder.stages.1.convs.0.conv.weight"], theirs["decoder.stages.0.convs.0.conv.weight"])
    assert all(torch.equal(ours[key], before[key]) for key in report.missing)


@pytest.mark.parametrize("policies", [SKIP, PretrainedPolicies()], ids=["Skip", "Fail"])
def test_nothing_fits(policies: PretrainedPolicies, saved: Save) -> None:
    with pytest.raises(BadConfiguration, match=", 0 fit"):
        pretrained.load(build(dimension=3), saved(build(dimension=2, features_per_stage=[5, 6, 7])), policies=policies)


def test_what_differs_about_the_plans_is_said(tmp_path: Path) -> None:
    content = plans(architecture=plain(3, features_per_stage=[4, 8, 16]))
    arguments = {"plans": content, "configuration": "3d_fullres"}
    source = build(features_per_stage=[4, 8, 16])
    checkpoint.save(tmp_path / "c.pth", {"network_weights": source.state_dict(), "init_args": arguments})
    with pytest.raises(BadConfiguration) as refused:
        pretrained.load(build(seed=1), tmp_path / "c.pth", architecture=plain(3))
    assert refused.value.findings[0].endswith("arch_kwargs.features_per_stage: [4, 8, 16] → [4, 8, 12]")
    assert "mismatched: Skip" in refused.value.hint


def test_policies_go_together(saved: Save) -> None:
    """Another depth, other channels and other labels at once."""
    from nnunet_trainer.dataset.labels import LabelManager

    source, target = build(channels=1, heads=3), build(channels=2, heads=2, seed=1, **shallow())
    path = saved(source, {"background": 0, "a": 1, "b": 2})
    policies = PretrainedPolicies(input_channels="Repeat", heads="MatchByLabel", mismatched="Skip")
    report = pretrained.load(target, path, policies=policies, labels=LabelManager({"labels": {"background": 0, "b": 1}}))
    assert report.kept_labels == ["background", "b"]
    assert {key for key, _ in report.adapted} == {
        "encoder.stages.0.0.convs.0.conv.weight",
        "decoder.seg_layers.0.weight",
        "decoder.seg_layers.0.bias",
    }
    ours, theirs = state(target), state(source)
    assert torch.equal(ours["decoder.seg_layers.0.weight"], theirs["decoder.seg_layers.1.weight"][[0, 2]])


def test_a_report_survives_a_checkpoint(saved: Save) -> None:
    from dataclasses import asdict

    report = pretrained.load(build(seed=1), saved(build(features_per_stage=[4, 8, 16])), policies=SKIP)
    again: Any = asdict(report)
    assert pretrained.LoadReport(**again) == report


def test_the_counts_survive_a_short_termination_message(saved: Save) -> None:
    from nnunet_trainer.contract.report import Report, decode, encode

    report = pretrained.load(build(seed=1), saved(build(features_per_stage=[4, 8, 16])), policies=SKIP)
    tensors = {name: lines * 30 for name, lines in report.tensors().items()}
    sent = encode(Report(step="train", summary={"pretrained": report.summary(), "pretrainedTensors": tensors}))
    heard = decode(sent)
    assert heard is not None
    assert heard.summary == {"pretrained": report.summary(), "cut": True}
