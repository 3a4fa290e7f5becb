"""Cases in memory that remember what was read of them, and samplers of their patches."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
from nnunet_trainer.training.data.case_memory import CaseMemory
from nnunet_trainer.training.data.sampling import PatchSampler


class Recorded:
    """An array that remembers what was read of it."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, place):
        part = self.array[place]
        self.read.append(part.shape)
        return part


class Store:
    """Cases in memory; every voxel's value tells where it lies."""

    def __init__(self, shapes, locations=None):
        self.cases, self.opened = {}, []
        for number, shape in enumerate(shapes):
            data = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape) + 1
            seg = np.full((1, *shape), number, np.int16)
            found = locations or {1: np.array([[0, 1, 1, 1]]), 2: np.zeros((0, 4), np.int64)}
            self.cases[f"case_{number}"] = SimpleNamespace(
                data=Recorded(data), seg=Recorded(seg), properties={"class_locations": found}, previous=None
            )

    def open(self, name):
        self.opened.append(name)
        return self.cases[name]

    def reading(self, name):
        return nullcontext()


def sampler(store, **changes):
    options = {"patch_size": (4, 4, 4), "batch_size": 4, "seed": 7, "fold": "0", "memory": CaseMemory(store.cases, 0)}
    return PatchSampler(store, list(store.cases), **{**options, **changes})


def same(a, b):
    return np.array_equal(a.data, b.data) and np.array_equal(a.seg, b.seg) and a.keys == b.keys and a.cases == b.cases
