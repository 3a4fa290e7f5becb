"""What is kept of cases between two patches, by all processes and by each."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from nnunet_trainer.training.data import case_cache
from nnunet_trainer.training.data.case_memory import CaseMemory
from nnunet_trainer.training.data.sampling import PatchSampler

from .recorded_cases import Recorded, Store, same, sampler


def test_decoded_cases_are_kept_as_far_as_is_allowed():
    store = Store([(8, 8, 8)] * 9)
    one, memory = 6 * 512, CaseMemory(list(Store([(1, 1, 1)] * 9).cases), 2**20)
    memory.allow(4 * one + one // 2)
    drawing = sampler(store, memory=memory)
    for iteration in range(40):
        drawing.batch(0, iteration)
    whole = [case for case in store.cases.values() if (1, 8, 8, 8) in case.data.read]
    assert len(whole) == 4
    assert memory.used == 4 * one
    assert all(len(case.data.read) == 1 for case in whole), "what is kept is not read again"
    memory.allow(2**20)
    for iteration in range(40):
        drawing.batch(1, iteration)
    assert memory.used == 9 * one, "those too that were opened before there was room"
    read = [len(case.data.read) for case in store.cases.values()]
    for iteration in range(40):
        drawing.batch(2, iteration)
    assert [len(case.data.read) for case in store.cases.values()] == read


def test_a_memory_that_was_cleared_holds_nothing():
    store = Store([(8, 8, 8)])
    memory = CaseMemory(store.cases, 2**20)
    drawing = sampler(store, memory=memory)
    before = drawing.batch(0, 0)
    memory.clear()
    assert memory.used == 0
    assert same(drawing.batch(0, 0), before)
    assert store.cases["case_0"].data.read.count((1, 8, 8, 8)) == 2


@pytest.mark.parametrize(("highest", "value", "bytes_each"), [(2, 2, 1), (127, 127, 1), (128, 128, 2), (2, 300, None)])
def test_labels_are_kept_in_as_few_bits_as_hold_them(highest, value, bytes_each):
    store = Store([(8, 8, 8)])
    store.cases["case_0"].seg.array[0, 7, 7, 7] = value
    memory = CaseMemory(store.cases, 2**20, highest_label=highest)
    batch = sampler(store, memory=memory, patch_size=(8, 8, 8)).batch(0, 0)
    assert batch.seg.dtype == np.int16
    assert (batch.seg.max() == value).all(), "also one that dataset.json does not name"
    kept = memory.find("case_0", store.cases["case_0"])
    assert (kept and kept.seg.itemsize) == bytes_each


def test_a_case_that_a_process_was_decoding_when_it_died_is_decoded_by_another():
    store = Store([(8, 8, 8)])
    memory, case = CaseMemory(store.cases, 2**20), store.cases["case_0"]

    class Killing(Recorded):
        def __getitem__(self, place):
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        memory.keep("case_0", SimpleNamespace(data=Killing(case.data.array), seg=case.seg, previous=None))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert memory.find("case_0", case) is None
    assert memory.keep("case_0", case) is None, "the other one may still be at it"
    memory.forget(child)
    assert np.array_equal(memory.keep("case_0", case).data, case.data.array)


@pytest.mark.parametrize("ends", ["before another one decodes it", "while another one does", "when another one has"])
def test_what_a_process_writes_that_was_given_up_falls_on_nothing_that_is_kept(ends):
    """One that was killed and does not end has begun; what it was to decode, and more, is decoded by others."""
    store = Store([(8, 8, 8)] * 3)
    memory, case = CaseMemory(store.cases, 2**20), store.cases["case_0"]
    begun, let_go = os.pipe(), os.pipe()

    class Hanging(Recorded):
        def __getitem__(self, place):
            os.write(begun[1], b".")
            os.read(let_go[0], 1)
            return super().__getitem__(place)

    class Waiting(Recorded):
        def __getitem__(self, place):
            if ends == "while another one does":
                end()
                assert memory.find("case_0", case) is None, "it is not decoded yet"
            return super().__getitem__(place)

    def end():
        os.write(let_go[1], b".")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    child = os.fork()
    if child == 0:
        code = 1
        try:
            other = SimpleNamespace(data=Hanging(np.full_like(case.data.array, 7)), seg=case.seg, previous=None)
            code = int(memory.keep("case_0", other) is not None)
        finally:
            os._exit(code)
    os.close(begun[1])
    assert os.read(begun[0], 1) == b"."
    memory.forget(child)
    if ends.startswith("before"):
        end()
        assert memory.find("case_0", case) is None
    own = SimpleNamespace(data=Waiting(case.data.array), seg=case.seg, previous=None)
    kept = {name: memory.keep(name, own if name == "case_0" else store.cases[name]) for name in store.cases}
    if ends.startswith("when"):
        end()
    for name, arrays in kept.items():
        found = memory.find(name, store.cases[name])
        assert np.array_equal(arrays.data, store.cases[name].data.array)
        assert np.array_equal(found.data, store.cases[name].data.array)


def test_few_large_cases_stay_open(monkeypatch):
    monkeypatch.setattr(case_cache, "OPEN_CASES", 3)
    store = Store([(8, 8, 8)] * 6)
    drawing = sampler(store)
    for iteration in range(20):
        drawing.batch(0, iteration)
    assert len(drawing._cache) == 3


def test_where_classes_lie_is_kept_up_to_a_bound(monkeypatch):
    store = Store([(8, 8, 8)] * 6)
    cache = case_cache.CaseCache(store, CaseMemory(store.cases, 0), limit=20)
    for name in store.cases:
        cache.open(name)
    assert cache.bytes <= 20
    assert len(cache) == 2


def test_cached_and_uncached_agree(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        data, seg = rng.normal(size=(2, 20, 24, 16)).astype(np.float32), rng.integers(-1, 3, (1, 20, 24, 16))
        write_case(tmp_path, name, data, seg, {"class_locations": {1: np.argwhere(seg == 1), 2: np.argwhere(seg == 2)}}, (8, 8, 8))
    options = {"patch_size": (8, 8, 8), "batch_size": 3, "seed": 1, "fold": "all"}
    folder = PreprocessedFolder(tmp_path)
    kept, read = (PatchSampler(folder, folder.cases, memory=CaseMemory(folder.cases, size), **options) for size in (2**30, 0))
    assert all(same(kept.batch(0, iteration), read.batch(0, iteration)) for iteration in range(4))
