"""Labels, regions and the ignore label: the one authority on what a network's outputs mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnunet_trainer.contract.faults import BadData

Region = int | tuple[int, ...]


class LabelManager:
    """What the values of a segmentation are, and how a network's output becomes one.

    Without regions the network has one softmax head a label (background too, ignore not). With regions, which exist as soon as one
    label is a list of more than one value, it has one sigmoid head a foreground region, painted in the order of
    `regions_class_order`. The ignore label is no class: it is the highest value, and nothing is learned there.

    Args:
        dataset_json: dataset.json's content; only `labels` and `regions_class_order` are read.

    Raises:
        BadData: labels that contradict these rules, all of them named.
    """

    def __init__(self, dataset_json: dict[str, Any]) -> None:
        labels, order = dataset_json.get("labels"), dataset_json.get("regions_class_order")
        found = label_faults(labels, order)
        if found:
            raise BadData("InvalidDatasetJson", f"dataset.json: {'; '.join(found)}.")
        assert isinstance(labels, dict)
        self.label_dict: dict[str, int | list[int]] = labels
        self.regions_class_order: list[int] | None = None if order is None else [int(value) for value in order]
        self.has_regions = any(isinstance(value, (list, tuple)) and len(value) > 1 for value in labels.values())
        self.ignore_label: int | None = labels.get("ignore")
        self.has_ignore_label = self.ignore_label is not None
        named = {name: value for name, value in labels.items() if name != "ignore"}
        self.all_labels: list[int] = sorted({v for value in named.values() for v in _values(value)})
        self.foreground_labels: list[int] = [value for value in self.all_labels if value != 0]
        self.foreground_regions: list[Region] = []
        if self.has_regions:
            kept = (value for value in named.values() if set(_values(value)) != {0})
            self.foreground_regions = [tuple(value) if isinstance(value, (list, tuple)) else value for value in kept]

    @property
    def num_segmentation_heads(self) -> int:
        """Output channels of the network."""
        return len(self.foreground_regions) if self.has_regions else len(self.all_labels)

    @property
    def foreground_classes(self) -> list[Region]:
        """What is sampled and scored: foreground regions, or foreground labels where there are none."""
        return list(self.foreground_regions) if self.has_regions else list(self.foreground_labels)

    @property
    def head_names(self) -> list[str]:
        """A name for each output channel, in their order."""
        if self.has_regions:
            return [name for name, value in self.label_dict.items() if name != "ignore" and set(_values(value)) != {0}]
        by_value = {_values(value)[0]: name for name, value in self.label_dict.items() if name != "ignore"}
        return [by_value[value] for value in self.all_labels]

    def convert_logits_to_segmentation(self, logits: Any) -> Any:
        """Logits (heads, …) to label values (…); numpy arrays and torch tensors alike, on the tensor's device."""
        if not self.has_regions:
            self._check_heads(logits)
            return logits.argmax(0)
        if isinstance(logits, np.ndarray):
            with np.errstate(over="ignore"):
                return self.convert_probabilities_to_segmentation(1 / (1 + np.exp(-logits.astype(np.float32))))
        return self.convert_probabilities_to_segmentation(logits.float().sigmoid())

    def convert_probabilities_to_segmentation(self, probabilities: Any) -> Any:
        """Probabilities (heads, …) to label values (…). A region is painted where its probability exceeds 0.5."""
        self._check_heads(probabilities)
        if not self.has_regions:
            return probabilities.argmax(0)
        assert self.regions_class_order is not None
        if isinstance(probabilities, np.ndarray):
            segmentation: Any = np.zeros(probabilities.shape[1:], np.uint16)
        else:
            segmentation = (probabilities[0] * 0).short()  # torch has no uint16
        for head, value in enumerate(self.regions_class_order):
            segmentation[probabilities[head] > 0.5] = value
        return segmentation

    def convert_logits_to_probabilities(self, logits: Any) -> Any:
        """Softmax over the heads, or a sigmoid each with regions; float32."""
        if not isinstance(logits, np.ndarray):
            return logits.float().sigmoid() if self.has_regions else logits.float().softmax(0)
        logits = logits.astype(np.float32)
        with np.errstate(over="ignore"):
            if self.has_regions:
                return 1 / (1 + np.exp(-logits))
            powers = np.exp(logits - logits.max(0, keepdims=True))
        return powers / powers.sum(0, keepdims=True)

    def _check_heads(self, outputs: Any) -> None:
        if outputs.shape[0] != self.num_segmentation_heads:
            raise ValueError(f"{outputs.shape[0]} channels, expected {self.num_segmentation_heads} (heads, z, y, x)")


def label_faults(labels: Any, regions_class_order: Any) -> list[str]:
    """All that is wrong with dataset.json's `labels` and `regions_class_order`."""
    if not isinstance(labels, dict) or not labels:
        return ['field labels must name the labels, as {"background": 0, "liver": 1}']
    if all(isinstance(value, str) and str(name).isdigit() for name, value in labels.items()):
        swapped = json.dumps({value: int(name) for name, value in labels.items()}, ensure_ascii=False)
        return [f"field labels has values that name labels, as in version 1; expected names and values, as {swapped}"]
    lines = [
        f"field labels.{name} is {value!r}, expected an integer or a list of integers (a region)"
        for name, value in labels.items()
        if not _is_label(value)
    ]
    if lines:
        return lines
    if "background" not in labels:
        lines.append("field labels.background is missing; it must be 0")
    elif labels["background"] != 0:
        lines.append(f"field labels.background is {labels['background']}, expected 0")
    values = sorted({v for name, value in labels.items() if name != "ignore" for v in _values(value)})
    if values and values[0] < 0:
        lines.append(f"field labels has the value {values[0]}, expected none below 0")
    elif values and values != list(range(values[0], values[0] + len(values))):
        lines.append(f"field labels has the values {', '.join(map(str, values))}, expected consecutive ones (0, 1, 2, …)")
    if "ignore" in labels and (isinstance(labels["ignore"], list) or (values and labels["ignore"] != values[-1] + 1)):
        expected = values[-1] + 1 if values else 1
        lines.append(f"field labels.ignore is {labels['ignore']}, expected {expected}, the value after the highest label")
    return lines + _region_faults(labels, regions_class_order)


def _region_faults(labels: dict[str, Any], order: Any) -> list[str]:
    regions = [name for name, value in labels.items() if name != "ignore" and set(_values(value)) != {0}]
    if order is not None and (not isinstance(order, list) or not all(_is_label(v) and not isinstance(v, list) for v in order)):
        return [f"field regions_class_order is {order!r}, expected a list of integers"]
    if not any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        return []
    if order is None:
        return ["field regions_class_order is missing; with regions it names the value to paint for each of them"]
    if len(order) != len(regions):
        return [f"field regions_class_order has {len(order)} values, expected one for each of the {len(regions)} regions"]
    return []


def _values(label: int | Sequence[int]) -> list[int]:
    return [int(value) for value in label] if isinstance(label, (list, tuple)) else [int(label)]


def _is_label(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    return isinstance(value, int) and not isinstance(value, bool)
