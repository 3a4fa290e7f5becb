"""Cascade: the previous stage's segmentation as channels, and its augmentation, beside the reference's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter, validation_augmenter
from nnunet_trainer.training.data.augmentation.functional import previous_stage as operators
from nnunet_trainer.training.data.augmentation.transforms import previous_stage as module
from nnunet_trainer.training.data.augmentation.transforms.previous_stage import Operation, PreviousStageTransform
from nnunet_trainer.training.data.randomness import SampleKey
from scipy import ndimage

KEYS = [SampleKey(1, "0", 0, 0, slot) for slot in range(64)]
NEVER = PreviousStageTransform(operator_probability=0, removal_probability=0)


def one_hot(seed: int, shape: tuple[int, ...] = (14, 17, 20), labels: int = 3) -> torch.Tensor:
    """Channels (labels, *shape) of a smooth label map, some of it at the border."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), 1.5) for _ in range(labels + 1)])
    fields[0] += fields.std()
    best = fields.argmax(0)
    return torch.from_numpy(np.stack([best == label + 1 for label in range(labels)]))


@pytest.mark.reference
@pytest.mark.parametrize("radius", [1.0, 1.4, 1.5, 2.7, 3.0, 5.75, 8.0])  # others round at exact squares
@pytest.mark.parametrize("name", ["dilation", "erosion", "closing", "opening"])
def test_operators_are_the_references(name: str, radius: float) -> None:
    from batchgeneratorsv2.transforms.nnunet import random_binary_operator as reference

    mine = {"dilation": "dilate", "erosion": "erode", "closing": "close", "opening": "open"}[name]
    theirs = getattr(reference, f"binary_{name}_torch")
    for seed in (0, 1):
        channels = one_hot(seed)
        transform = reference.ApplyRandomBinaryOperatorTransform(channel_idx=[0, 1, 2], any_of_these=(theirs,))
        wanted = transform._apply_to_image(
            channels.float(), apply_to_channels=[2, 0], operators=[theirs, theirs], strel_size=[radius, radius]
        )
        for label in (2, 0):
            operators.apply_operator(channels, Operation(label, mine, module.edge(radius)))
        assert torch.equal(channels.float(), wanted)


@pytest.mark.reference
def test_a_component_is_removed_as_by_the_reference() -> None:
    """The reference, and ours, over many draws: the same set of possible outcomes."""
    from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
        RemoveRandomConnectedComponentFromOneHotEncodingTransform as Reference,
    )

    limit = 0.02
    transform = Reference([0], fill_with_other_class_p=0, dont_do_if_covers_more_than_x_percent=limit)
    np.random.seed(0)
    theirs, ours = set(), set()
    for draw in range(60):
        channels = np.random.default_rng(5).random((1, 6, 7, 8)) > 0.9
        theirs.add(transform._apply_to_image(torch.from_numpy(channels).float(), apply_to_channels=[0]).bool().numpy().tobytes())
        labels = 3 * channels[0].astype(np.int16)
        module.remove_component(labels, 3, limit * labels.size, np.random.default_rng(draw))
        ours.add((labels == 3).tobytes())
    assert len(ours) > 2
    assert ours == theirs


def test_a_component_is_really_removed_and_large_ones_stay() -> None:
    labels = np.full((10, 10, 10), 2, np.int16)
    labels[:6] = 1
    labels[8, 8, 8] = labels[9, 9, 9] = 1
    expected = labels.copy()
    expected[8, 8, 8] = expected[9, 9, 9] = 0
    module.remove_component(labels, 1, 150, np.random.default_rng(0))
    assert np.array_equal(labels, expected)
    module.remove_component(labels, 1, 150, np.random.default_rng(0))
    assert np.array_equal(labels, expected), "the last one covers more than 15 %"
    module.remove_component(labels, 7, 150, np.random.default_rng(0))
    assert np.array_equal(labels, expected), "a label that is not there"


def test_how_often_operators_and_removals_are_drawn() -> None:
    """Counted over many samples: the probabilities are those of the settings."""
    settings, samples = PreviousStageTransform(), 1000
    generators = [SampleKey(1, "0", 0, 0, slot).generator("previous stage") for slot in range(samples)]
    operations = [settings.operations(4, rng) for rng in generators]
    removed = [settings.removed(4, rng) for rng in generators]
    assert sum(map(len, operations)) / (4 * samples) == pytest.approx(0.4 * 0.5, abs=0.03)
    assert sum(map(bool, operations)) / samples == pytest.approx(0.4 * (1 - 0.5**4), abs=0.05)
    assert sum(map(len, removed)) / (4 * samples) == pytest.approx(0.2 * 0.5, abs=0.02)
    assert sum(map(bool, removed)) / samples == pytest.approx(0.2 * (1 - 0.5**4), abs=0.04)
    sizes = {operation.size for some in operations for operation in some}
    assert {3, 16} <= sizes <= set(range(3, 18))
    assert {operation.operator for some in operations for operation in some} == set(module.OPERATORS)
    assert len({tuple(operation.channel for operation in some) for some in operations if len(some) == 2}) == 12, "in any order"


def batch(count: int = 2, shape: tuple[int, ...] = (12, 14, 16)) -> tuple[torch.Tensor, torch.Tensor]:
    seg = torch.zeros(count, 2, *shape, dtype=torch.int16)
    for sample in range(count):
        channels = one_hot(sample, shape, 2)
        seg[sample, 1] = channels[0] + 2 * channels[1]
    seg[:, :, 0] = -1
    return torch.randn(count, 1, *shape, generator=torch.Generator().manual_seed(0)), seg


def cascade(previous: PreviousStageTransform | None) -> Augmenter:
    config = replace(augmentation_set("none"), previous_stage=previous)
    return Augmenter(config=config, patch_size=(12, 14, 16), previous_stage_labels=(1, 2))


def test_samples_depend_on_their_keys_alone() -> None:
    data, seg = batch(4)
    always = PreviousStageTransform(operator_probability=1, operator_label_probability=1, removal_probability=1)
    together, _ = cascade(always)(data, seg, KEYS[:4])
    alone = [cascade(always)(data[i : i + 1], seg[i : i + 1], KEYS[i : i + 1])[0] for i in range(4)]
    assert torch.equal(together, torch.cat(alone))
    plain, _ = cascade(NEVER)(data, seg, KEYS[:4])
    assert torch.equal(plain[:, :1], together[:, :1])
    assert not torch.equal(plain, together)
    assert set(together[:, 1:].unique().tolist()) == {0.0, 1.0}
    assert together[:, 1:].sum(1).max() == 1, "labels do not overlap"


def test_what_is_not_augmented() -> None:
    data, seg = batch()
    plain, targets = validation_augmenter((12, 14, 16), previous_stage_labels=(1, 2))(data, seg, KEYS[:2])
    assert torch.equal(plain[:, 1], (seg[:, 1] == 1).float())
    assert torch.equal(targets[0], seg[:, :1].clamp(min=0))
    assert augmentation_set("none").previous_stage is None
    assert augmentation_set("noMirroring").previous_stage == PreviousStageTransform()
    assert replace(augmentation_set("default"), previous_stage=None).previous_stage is None


@pytest.mark.parametrize("read", [(20, 12), (21, 12, 9)], ids=str)
def test_of_more_than_will_be_seen_only_what_reaches_into_the_patch_is_removed(read: tuple[int, ...]) -> None:
    patch = tuple(size - 7 for size in read)
    middle = tuple(size // 2 for size in read)
    for draw in range(8):
        labels = np.zeros(read, np.int8)
        labels[middle] = labels[(0,) * len(read)] = labels[tuple(size - 1 for size in read)] = 1
        module.remove_component(labels, 1, 5, np.random.default_rng(draw), patch)
        assert not labels[middle]
        assert labels.sum() == 2
        module.remove_component(labels, 1, 5, np.random.default_rng(draw), patch)
        assert labels.sum() == 2, "nothing of it would be seen"
