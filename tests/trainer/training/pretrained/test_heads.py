"""Segmentation layers that go on for labels of the same name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.work_order import PretrainedPolicies
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.training import pretrained

from .conftest import build, state

Save = Callable[..., Path]
BY_LABEL = PretrainedPolicies(heads="MatchByLabel")
SOURCE = {"background": 0, "liver": 1, "spleen": 2, "kidney": 3}


def heads(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state(network).items() if pretrained.HEADS in key}


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    ("labels", "rows", "kept", "new"),
    [
        ({"background": 0, "kidney": 1, "tumor": 2}, {0: 0, 1: 3}, ["background", "kidney"], ["tumor"]),
        ({"background": 0, "spleen": 1, "liver": 2, "kidney": 3}, {0: 0, 1: 2, 2: 1, 3: 3}, None, []),
        ({"background": 0, "Liver": 1, "ignore": 2}, {0: 0}, ["background"], ["Liver"]),
    ],
    ids=["some", "another order", "case matters"],
)
def test_rows_of_the_same_name_go_on(
    kind: str, dimension: int, labels: dict[str, Any], rows: dict[int, int], kept: list[str] | None, new: list[str], saved: Save
) -> None:
    manager = LabelManager({"labels": labels})
    source = build(kind, dimension, heads=4)
    target = build(kind, dimension, heads=manager.num_segmentation_heads, seed=1)
    initial, theirs = heads(target), heads(source)
    report = pretrained.load(target, saved(source, SOURCE), policies=BY_LABEL, labels=manager)
    assert (report.kept_labels, report.new_labels) == (manager.head_names if kept is None else kept, new)
    assert {key for key, _ in report.adapted} == set(initial)
    for key, value in heads(target).items():
        for row in range(len(value)):
            assert torch.equal(value[row], theirs[key][rows[row]] if row in rows else initial[key][row]), (key, row)
    assert f"heads kept: {', '.join(report.kept_labels)}" in str(report)


def test_the_same_labels_are_loaded_whole(saved: Save) -> None:
    source, target = build(heads=4), build(heads=4, seed=1)
    report = pretrained.load(target, saved(source, SOURCE), policies=BY_LABEL, labels=LabelManager({"labels": SOURCE}))
    assert (report.adapted, report.skipped, report.new_labels) == ([], [], [])
    assert all(torch.equal(value, state(source)[key]) for key, value in state(target).items())


REGIONS = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}


def test_regions_match_by_name(saved: Save) -> None:
    theirs = {"background": 0, "core": 2, "edema": 1, "whole": [1, 2]}
    source, target = build(heads=3), build(heads=2, seed=1)
    manager = LabelManager({"labels": REGIONS, "regions_class_order": [1, 2]})
    before = heads(source)
    path = saved(source, theirs, regions_class_order=[1, 2, 3])
    report = pretrained.load(target, path, policies=BY_LABEL, labels=manager)
    assert report.kept_labels == manager.head_names == ["whole", "core"]
    for key, value in heads(target).items():
        assert torch.equal(value, before[key][[2, 0]])


def test_a_softmax_that_becomes_a_sigmoid_is_told(saved: Save) -> None:
    source, target = build(heads=3), build(heads=2, seed=1)
    path = saved(source, {"background": 0, "edema": 1, "core": 2})
    manager = LabelManager({"labels": REGIONS, "regions_class_order": [1, 2]})
    report = pretrained.load(target, path, policies=BY_LABEL, labels=manager)
    assert (report.kept_labels, report.new_labels) == (["core"], ["whole"])
    assert any("softmax" in note and "sigmoid" in note for note in report.notes)


def test_nothing_in_common(saved: Save) -> None:
    source, target = build(heads=3), build(heads=2, seed=1)
    manager = LabelManager({"labels": REGIONS, "regions_class_order": [1, 2]})
    initial = heads(target)
    report = pretrained.load(target, saved(source, {"background": 0, "a": 1, "b": 2}), policies=BY_LABEL, labels=manager)
    assert (report.kept_labels, report.new_labels) == ([], ["whole", "core"])
    assert set(report.skipped) == set(initial)
    assert all(torch.equal(value, initial[key]) for key, value in heads(target).items())


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "no init_args.dataset_json"), ({"liver": 1}, "background is missing")],
    ids=["none", "not labels"],
)
def test_a_source_must_name_its_labels(given: Any, message: str, saved: Save) -> None:
    path = saved(build(), given)
    with pytest.raises(BadConfiguration, match=message) as refused:
        pretrained.load(build(seed=1), path, policies=BY_LABEL, labels=LabelManager({"labels": SOURCE}), source="s3://b/c.pth")
    assert refused.value.reason == "PretrainedWithoutLabels"
    assert "s3://b/c.pth" in refused.value.message
    assert "Reinitialize" in refused.value.hint


def test_heads_whose_labels_do_not_count_them_do_not_fit(saved: Save) -> None:
    path = saved(build(heads=5), SOURCE)
    with pytest.raises(BadConfiguration, match="tensors have another shape") as refused:
        pretrained.load(build(heads=4, seed=1), path, policies=BY_LABEL, labels=LabelManager({"labels": SOURCE}))
    assert any("decoder.seg_layers.0.weight: 5×" in line for line in refused.value.findings)


def test_a_hundred_labels_leave_the_sentence_short(saved: Save) -> None:
    labels = {"background": 0, **{f"organ with a long name {i:03}": i for i in range(1, 119)}}
    source, target = build(heads=119), build(heads=60, seed=1)
    manager = LabelManager({"labels": dict(list(labels.items())[:60])})
    report = pretrained.load(target, saved(source, labels), policies=BY_LABEL, labels=manager)
    assert "and 52 more; heads that begin anew: none" in report.sentence()
    assert len(str(report.summary())) < 1000
    assert len(report.tensors()["keptLabels"]) == 60
