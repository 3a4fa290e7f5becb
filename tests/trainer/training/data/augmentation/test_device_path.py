"""What is done on a GPU, without one: tensors that only pretend to lie there refuse whatever would have to wait for it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.extensions.schema import Choice
from nnunet_trainer.training.components import making
from nnunet_trainer.training.components.losses.context import LossContext
from nnunet_trainer.training.components.registries import LOSSES
from nnunet_trainer.training.data.augmentation import augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter, validation_augmenter
from nnunet_trainer.training.data.augmentation.functional import previous_stage, separable
from nnunet_trainer.training.data.augmentation.functional.channels import TogetherChannels, channels_of
from nnunet_trainer.training.data.augmentation.interpolation import label_meetings, labels, sampling_grid
from nnunet_trainer.training.data.augmentation.transforms.previous_stage import OPERATORS, Operation, PreviousStageTransform
from nnunet_trainer.training.data.augmentation.transforms.separable import down_and_up
from nnunet_trainer.training.data.augmentation.upload import mapped, packed, uploaded
from nnunet_trainer.training.data.randomness import SampleKey
from nnunet_trainer.training.loop.validation import pseudo_dice
from support.pretended_gpu import Copies, pretended_gpu
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
PATCHES = [(12, 16, 10), (3, 16, 16), (16, 16)]


@pytest.fixture
def gpu():
    """Makes the tensors of an array that would lie on a GPU."""
    with pretended_gpu() as there:
        yield there


def always(config):
    """Every transform, of every channel."""
    changes = {}
    for field in dataclasses.fields(config):
        part = getattr(config, field.name)
        if dataclasses.is_dataclass(part) and hasattr(part, "probability"):
            whole = {"probability": 1.0, **({"channel_probability": 1.0} if hasattr(part, "channel_probability") else {})}
            changes[field.name] = dataclasses.replace(part, **whole)
    spatial = dataclasses.replace(config.spatial, rotation_probability=0.5, scale_probability=0.5)
    if spatial.elastic_probability:
        spatial = dataclasses.replace(spatial, elastic_probability=0.5)
    return dataclasses.replace(config, spatial=spatial if config.spatial.active else config.spatial, **changes)


def numpy_batch(made, stages=1, samples=6):
    """With its plan, as a worker makes it."""
    rng, size = np.random.default_rng(0), made.initial_patch_size
    data = torch.from_numpy(rng.normal(size=(samples, 2, *size)).astype(np.float32))
    seg = torch.from_numpy(rng.integers(-1, 3, (samples, stages, *size)).astype(np.int16))
    keys = [SampleKey(9, "0", 0, 0, slot) for slot in range(samples)]
    batch = made.divided(data, seg, keys).mapped(torch.Tensor.numpy)
    return dataclasses.replace(batch, plan=made.planner("cuda")(batch))


OFTEN = PreviousStageTransform(operator_probability=1.0, operator_label_probability=1.0, removal_probability=1.0)


SETS = [*itertools.product(["default", "DA5", "DA5V1", "DA3"], PATCHES), ("order0", PATCHES[0])]
"""Each transform, interpolation and deformation."""


@pytest.mark.parametrize(("name", "patch"), SETS, ids=str)
def test_no_set_waits_for_the_gpu_or_copies_to_it(name, patch, gpu):
    config = dataclasses.replace(always(augmentation_set(name)), previous_stage=OFTEN)
    scales = [[1.0] * len(patch), [0.5] * len(patch), [0.3] * len(patch)]
    made = Augmenter(config=config, patch_size=patch, deep_supervision_scales=scales, mask_channels=(False, True))
    cascade = dataclasses.replace(made, previous_stage_labels=(1, 2), regions=[(1, 2), 2], ignore_label=2)
    for each, stages, constants in ((made, 1, True), (cascade, 2, False)):
        with torch.utils._python_dispatch._disable_current_modes():
            batch = numpy_batch(each, stages, samples=4)
        assert 0 < len(batch.rows) < 4, "some are resampled"
        batch = batch.mapped(gpu)
        if constants:  # are copied once
            with Copies():
                each.augment(batch)
        with Copies() as copies:
            data, targets = each.augment(batch)
        assert (copies.uploads, copies.mixed) == (0, set())
        assert {x.device.type for x in (data, *targets)} == {"cuda"}
        assert data.shape == (4, 2 if stages == 1 else 4, *patch)


class Largest(TorchDispatchMode):
    """The most bytes that one operation has made."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.bytes = max(self.bytes, out.numel() * out.element_size())
        return out


@pytest.mark.parametrize(("samples", "patch"), [(2, (192, 192, 192)), (49, (512, 512))], ids=str)
def test_labels_of_large_batches_take_little_memory_at_a_time(samples, patch, gpu):
    dimensions = len(patch)
    seg = torch.empty(samples, 1, *patch, dtype=torch.int16, device="cuda")
    where = sampling_grid.places(torch.empty(samples, dimensions, dimensions, device="cuda"), patch, patch)
    assert all(each.is_contiguous() for each in where.coordinates), "they are flattened for each part, which is to copy nothing"
    with Largest() as largest:
        sampled = labels.label_sampler(seg, 1)(where)
    assert sampled.shape == seg.shape
    weights = 2**dimensions * labels.PART * 4
    assert weights <= largest.bytes <= max(weights, 2.2 * sampled.numel() * sampled.element_size())


@pytest.mark.parametrize(("regions", "ignored"), [(False, None), (False, 3), (True, None), (True, 3)])
def test_counting_for_the_pseudo_dice_does_not_wait(regions, ignored, gpu):
    channels = 3 + (ignored is not None) if regions else 1
    logits = torch.empty(2, 3, 8, 8, 8, device="cuda")
    target = torch.empty(2, channels, 8, 8, 8, dtype=torch.bool if regions else torch.int16, device="cuda")
    pseudo_dice.counts(logits, target, regions=regions, ignore_label=ignored)
    with Copies() as copies:
        found = pseudo_dice.counts(logits, target, regions=regions, ignore_label=ignored)
    assert (found.shape, found.dtype, found.device.type, copies.uploads) == ((3, 3 if regions else 2), torch.float64, "cuda", 0)


@pytest.mark.parametrize("ignored", [None, 3])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", list(LOSSES))
def test_no_loss_waits(name, regions, ignored, gpu):
    for batch_dice, soft in itertools.product((False, True), repeat=2):
        context = LossContext(regions=regions, ignore_label=ignored, batch_dice=batch_dice)
        loss = making.make("loss", Choice(name=name, parameters={}), context)
        channels = 3 + (ignored is not None) if regions or soft else 1
        kind = torch.float32 if soft else torch.bool if regions else torch.int16
        target = torch.empty(2, channels, 8, 8, 8, dtype=kind, device="cuda")
        with Copies() as copies:
            found = loss(torch.empty(2, 3, 8, 8, 8, device="cuda"), target)
        assert (found.device.type, found.ndim, copies.uploads) == ("cuda", 0, 0)


def test_validation_patches_do_not_wait_either(gpu):
    made = validation_augmenter((16, 16), deep_supervision_scales=[[1.0, 1.0], [0.5, 0.5]], previous_stage_labels=(1, 2))
    with torch.utils._python_dispatch._disable_current_modes():
        batch = numpy_batch(made, 2)
    with Copies() as copies:
        made.augment(batch.mapped(gpu))
    assert copies.uploads == 0


def test_what_waits_is_refused(gpu):
    there = gpu(np.zeros(3, np.float32))
    with pytest.raises(DataDependentOutputException):
        there.sum().item()
    with pytest.raises(AssertionError, match="waits for it"):
        torch.tensor([1, 2], device="cuda")
    with Copies() as copies:
        torch.empty(3).to("cuda", non_blocking=True)
        there.copy_(there + 1)
        there.copy_(torch.empty(3), non_blocking=True)
        for waits in (lambda: there.copy_(torch.empty(3)), lambda: torch.empty(3).to("cuda"), lambda: there.to("cpu")):
            with pytest.raises(AssertionError, match="waited for"):
                waits()
    assert copies.uploads == 2


@pytest.mark.parametrize("name", ["default", "DA5", "v1", "insaneDA"])
@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_a_plan_is_packed_into_one_buffer_and_out_of_it(name, patch):
    plan = numpy_batch(Augmenter(config=always(augmentation_set(name)), patch_size=patch)).plan
    buffers = []

    def allocate(size):
        buffers.append(torch.zeros(size, dtype=torch.uint8))
        return buffers[-1]

    buffer, unpack = packed(plan, allocate)
    found, expected = ([], []), ([], [])
    arrays = []
    mapped(plan, arrays.append)
    assert len(buffers) == 1
    assert len(arrays) > 5
    for tree, (tensors, _) in ((unpack(buffer.clone()), found), (uploaded(plan, CPU), expected)):
        _tensors(tree, tensors)
    assert len(found[0]) == len(expected[0]) == len(arrays)
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(found[0], expected[0], strict=True))


def _tensors(tree, into):
    if isinstance(tree, torch.Tensor):
        into.append(tree)
    elif isinstance(tree, list | tuple):
        for part in tree:
            _tensors(part, into)
    elif dataclasses.is_dataclass(tree):
        for field in dataclasses.fields(tree):
            _tensors(getattr(tree, field.name), into)


# ---- a GPU's way and a CPU's, both on the CPU


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8]), st.sampled_from([1, 2, 3, 40]))
def test_the_majority_is_that_of_each_label_alone(seed, corners, count):
    rng = np.random.default_rng(seed)
    found = torch.from_numpy(rng.integers(-1, count - 1, (corners, 300)).astype(np.int16))
    # Of few values, so that many are tied; as weights of corners they sum to 1.
    weights = torch.from_numpy(rng.integers(1, 4, (corners, 300))).float()
    weights /= weights.sum(0)
    nearest = found.gather(0, torch.from_numpy(rng.integers(0, corners, (1, 300))))[0]
    weights *= 1000
    scores = torch.stack([(weights * (found == label)).sum(0).half() for label in range(-1, count)])
    best, of_nearest = scores.max(0), scores.gather(0, nearest[None].long() + 1)[0]
    lowest = (scores == best.values).int().argmax(0) - 1
    expected = torch.where(of_nearest == best.values, nearest, lowest.to(nearest.dtype))
    assert torch.equal(labels.majority_of_corners(found, weights, nearest), expected)
    numbers = [each.numpy() for each in (found, weights, nearest)]
    assert np.array_equal(label_meetings.majority(*numbers), expected)
    two, unsettled = label_meetings.majority_of_two(*numbers[:2])
    settled = np.setdiff1d(np.arange(300), unsettled)
    assert np.array_equal(two[settled], expected[settled])
    assert count != 2 or len(unsettled) < 200, "only ties are left where there are two labels"


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("labelled", [[-1, 3], [-1, 0, 126, 127], [-1, 0, 127, 128], [-128, 0], [-1, 300, 2**15 - 1]], ids=str)
def test_labels_of_several_batches_are_settled_together(order, labelled):
    rng, patch = np.random.default_rng(0), (9, 12)
    meetings, apart, together = label_meetings.Meetings(order), [], []
    for count in (1, 2, 3):
        seg = torch.from_numpy(rng.choice(labelled, (count, 2, *patch)).astype(np.int16))
        matrices = torch.eye(2) + torch.from_numpy(rng.uniform(-0.3, 0.3, (count, 2, 2))).float()
        where = sampling_grid.places(matrices, patch, patch)
        apart.append(labels.label_sampler(seg, order)(where))
        together.append(labels.label_sampler(seg, order, meetings)(where))
        padded = [torch.nn.functional.pad(seg, [2] * 4, value=-1)[:, channel].flatten() for channel in range(2)]
        expected = [labels.settle_all(each, where, order).view(count, *patch) for each in padded]
        assert torch.equal(apart[-1].short(), torch.stack(expected, dim=1))
    meetings.settle()
    assert all(torch.equal(a, b) for a, b in zip(apart, together, strict=True))


@pytest.mark.parametrize("part", [1, 300, 1080, 2**21])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("patch", [(9, 12, 10), (14, 11)], ids=str)
def test_labels_resampled_at_every_place_are_those_resampled_where_labels_meet(patch, order, part, monkeypatch):
    monkeypatch.setattr(labels, "PART", max(part, np.prod(patch) // 20))
    rng = np.random.default_rng(0)
    seg = torch.from_numpy(rng.integers(-1, 4, (2, 2, *patch)).astype(np.int16))
    matrices = torch.eye(len(patch)) + torch.from_numpy(rng.uniform(-0.3, 0.3, (2, len(patch), len(patch)))).float()
    where = sampling_grid.places(matrices, patch, patch)
    expected = labels.label_sampler(seg, order)(where)
    for channel in range(2):
        padded = torch.nn.functional.pad(seg, [2] * (2 * len(patch)), value=-1)[:, channel].flatten()
        found = labels.settle_all(padded, where, order)
        assert torch.equal(found.view(2, *patch), expected[:, channel].short())


@pytest.mark.parametrize("shape", [(5, 6, 7), (8, 9), (3, 300, 301)], ids=str)
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_places_where_labels_meet_are_marked(shape, dtype):
    rng = np.random.default_rng(0)
    volume = rng.choice([-1, 0, 3], p=[0.05, 0.9, 0.05], size=shape).astype(dtype)
    found = label_meetings.marked(volume.reshape(-1), sampling_grid.strides_of(shape)).reshape(shape)
    around = np.lib.stride_tricks.sliding_window_view(volume, [2] * len(shape)).reshape(*(n - 1 for n in shape), -1)
    inner = tuple(slice(n - 1) for n in shape)
    expected = np.where(around.min(-1) == around.max(-1), volume[inner], np.iinfo(dtype).min)
    assert np.array_equal(found[inner], expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_channels_apart_are_those_of_one_tensor(count, layout):
    """Some samples written in slabs, all turned, some changed in place or not, some mirrored."""
    generator = torch.Generator().manual_seed(0)
    there, written = torch.randn(3, count, 6, 6, generator=generator), torch.randn(2, count, 6, 6, generator=generator)
    rows, others = torch.tensor([4, 0, 2]), torch.tensor([3, 1])
    whole = torch.empty(5, count, 6, 6).index_copy_(0, rows, there)
    together, apart = TogetherChannels(whole), channels_of(there.clone(), rows.tolist(), rows, 5)
    places = [count * 4, count * 3 + count - 1, 0]
    for made in (together, apart):
        for slab in (slice(0, 4), slice(4, 6)):
            made.write(others, written[:, :, slab].flatten(), 2, slab)
        made.change_samples(torch.tensor([1, 4]), lambda x: x.transpose(-1, -2))
        made.change_channels(places, torch.tensor(places), lambda x: x + 1)
        made.change_channels(places[:1], torch.tensor(places[:1]), lambda x: x.mul_(2))
    flips = [((0,), torch.tensor([1, 2])), ((0, 1), torch.tensor([4]))]
    expected, found = (made.mirrored(flips, layout, np.empty) for made in (together, apart))
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("shape", [(9, 14, 11), (17, 23)], ids=str)
def test_low_resolution_of_all_rows_at_once_is_that_of_each(shape):
    rows = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    counts = [[max(1, round(edge * scale)) for edge in shape] for scale in (0.5, 0.71, 1.0)]
    for reduced in (counts, [[None, *some[1:]] for some in counts]):
        numbers = uploaded(down_and_up(shape, reduced), CPU)
        assert torch.equal(separable.by_voxels(rows, numbers), separable.by_lines(rows, numbers))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("size", [3, 4, 9, 16])
def test_an_operator_on_the_whole_patch_is_the_one_near_the_label(operator, size):
    rng = np.random.default_rng(size)
    labels = np.kron(rng.integers(0, 4, (4, 4, 4)), np.ones((5, 4, 6), int))
    for channels in (np.stack([labels == label for label in (1, 2, 3)]), np.zeros((3, 8, 9, 7), bool)):
        near, whole = torch.from_numpy(channels), torch.from_numpy(channels.copy())
        previous_stage.apply_operator(near, Operation(1, operator, size))
        previous_stage.apply_to_all(whole, Operation(1, operator, size))
        assert torch.equal(near, whole)
