"""Batches get through shared memory as they are: numbers, types, the order of axes in memory."""

import numpy as np
import pytest
import torch
from nnunet_trainer.training.data.loading.slots import Slots


def through(item, size=2**20):
    slots = Slots(2, size)
    return slots.read(1, slots.writer(1).message(item))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.bool])
def test_tensors_keep_type_and_layout(layout, channels, dtype):
    tensor = (torch.randn(2, channels, 4, 5, 6) > 0).to(dtype).contiguous(memory_format=layout)
    found, others = through((tensor, [tensor[:, :1], tensor[..., ::2], tensor[:0]]))
    assert found.dtype == dtype
    assert found.stride() == tensor.stride()
    assert torch.equal(found, tensor)
    assert all(torch.equal(a, b) for a, b in zip(others, [tensor[:, :1], tensor[..., ::2], tensor[:0]], strict=True))


@pytest.mark.parametrize("size", [0, 5000, 2**20])
def test_what_does_not_fit_comes_too(size):
    items = [np.random.default_rng(0).normal(size=(n, 40)) for n in (0, 1, 50, 60)]
    found = through([*items, *map(torch.from_numpy, items), "text"], size)
    assert all(np.array_equal(a, b) for a, b in zip(found, [*items, *items, "text"], strict=True))


def test_arrays_that_were_made_in_the_slot_are_not_copied():
    slots = Slots(1, 2**16)
    writer = slots.writer(0)
    array = writer.allocate((8, 1, 9), np.float32)
    message = writer.message(array[:, 0])
    array[:] = 7
    assert (slots.read(0, message) == 7).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_tensors_over_memory_of_the_slot_are_not_copied(channels):
    slots = Slots(1, 2**16)
    writer = slots.writer(0)
    tensor = torch.from_numpy(writer.allocate((2, 4, 5, channels), np.float32)).movedim(-1, 1)
    message = writer.message([tensor])
    tensor.fill_(7)
    (found,) = slots.read(0, message)
    assert found.stride() == tensor.stride()
    assert (found == 7).all()
