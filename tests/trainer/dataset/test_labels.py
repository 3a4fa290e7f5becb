"""The one authority on labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.labels import LabelManager, label_faults

PLAIN = {"labels": {"background": 0, "a": 1, "b": 2}}
IGNORE = {"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
REGIONS = {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "en": 3}, "regions_class_order": [1, 2, 3]}
BOTH = {"labels": {**REGIONS["labels"], "ignore": 4}, "regions_class_order": [1, 2, 3]}


@pytest.mark.parametrize(
    ("dataset_json", "heads", "foreground", "names"),
    [
        (PLAIN, 3, [1, 2], ["background", "a", "b"]),
        (IGNORE, 3, [1, 2], ["background", "a", "b"]),
        (REGIONS, 3, [(1, 2, 3), (2, 3), 3], ["whole", "core", "en"]),
        (BOTH, 3, [(1, 2, 3), (2, 3), 3], ["whole", "core", "en"]),
    ],
)
def test_heads_and_classes(dataset_json: dict[str, Any], heads: int, foreground: list[Any], names: list[str]) -> None:
    labels = LabelManager(dataset_json)
    assert labels.num_segmentation_heads == heads
    assert labels.foreground_classes == foreground
    assert labels.head_names == names


@pytest.mark.parametrize(
    ("labels", "order", "said"),
    [
        ({"a": 1}, None, "labels.background is missing"),
        ({"background": 1, "a": 2}, None, "labels.background is 1, expected 0"),
        ({"background": 0, "a": 2}, None, "values 0, 2, expected consecutive"),
        ({"background": 0, "a": 1, "ignore": 1}, None, "labels.ignore is 1, expected 2"),
        ({"background": 0, "a": 1, "ignore": [2, 3]}, None, "labels.ignore"),
        ({"background": 0, "a": "1"}, None, "labels.a is '1'"),
        ({"background": 0, "a": True}, None, "labels.a is True"),
        ({"background": 0, "w": [1, 2], "c": 2}, None, "regions_class_order is missing"),
        ({"background": 0, "w": [1, 2], "c": 2}, [1], "has 1 values, expected one for each of the 2 regions"),
        ({"background": 0, "w": [1, 2], "c": 2}, "12", "expected a list of integers"),
        ({"0": "background", "1": "Ödem"}, None, 'expected names and values, as {"background": 0, "Ödem": 1}'),
        ([], None, "must name the labels"),
    ],
)
def test_every_fault_is_named(labels: Any, order: Any, said: str) -> None:
    assert any(said in fault for fault in label_faults(labels, order))
    with pytest.raises(BadData, match=r"dataset\.json"):
        LabelManager({"labels": labels, "regions_class_order": order})


@pytest.mark.reference
@pytest.mark.parametrize("dataset_json", [PLAIN, IGNORE, REGIONS, BOTH])
def test_as_the_wheel(dataset_json: dict[str, Any]) -> None:
    import torch
    from nnunetv2.utilities.label_handling.label_handling import LabelManager as Theirs

    ours = LabelManager(dataset_json)
    theirs = Theirs(dataset_json["labels"], dataset_json.get("regions_class_order"))
    assert ours.all_labels == [int(v) for v in theirs.all_labels]
    assert ours.foreground_labels == [int(v) for v in theirs.foreground_labels]
    assert ours.has_regions == theirs.has_regions
    assert ours.ignore_label == theirs.ignore_label
    assert ours.num_segmentation_heads == theirs.num_segmentation_heads
    logits = np.random.default_rng(0).normal(0, 1, (ours.num_segmentation_heads, 5, 6, 7)).astype(np.float32)
    expected = np.asarray(theirs.convert_logits_to_segmentation(torch.from_numpy(logits)))
    assert np.array_equal(ours.convert_logits_to_segmentation(logits), expected)
    assert np.array_equal(ours.convert_logits_to_segmentation(torch.from_numpy(logits)).numpy(), expected)
    probabilities = theirs.apply_inference_nonlin(torch.from_numpy(logits)).numpy()
    assert np.allclose(ours.convert_logits_to_probabilities(logits), probabilities, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 6), ignore=st.booleans(), seed=st.integers(0, 99))
def test_a_one_hot_output_comes_back(count: int, ignore: bool, seed: int) -> None:
    labels = {"background": 0, **{f"l{v}": v for v in range(1, count + 1)}}
    if ignore:
        labels["ignore"] = count + 1
    manager = LabelManager({"labels": labels})
    segmentation = np.random.default_rng(seed).integers(0, count + 1, (3, 4, 5))
    logits = np.where(np.arange(count + 1)[:, None, None, None] == segmentation, 5.0, -5.0)
    assert np.array_equal(manager.convert_logits_to_segmentation(logits), segmentation)
