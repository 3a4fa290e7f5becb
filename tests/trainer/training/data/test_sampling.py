import zlib
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.prefetching import prefetched
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from nnunet_trainer.training.data.batch import rank_slots
from nnunet_trainer.training.data.patch_location import choose_origin, forces_foreground, read_patch
from nnunet_trainer.training.data.randomness import Generators, SampleKey
from nnunet_trainer.training.data.sampling import PatchSampler

from .recorded_cases import Store, same, sampler


@pytest.mark.parametrize(("batch", "world"), [(2, 1), (2, 2), (5, 2), (9, 4), (16, 16)])
def test_ranks_share_every_slot(batch, world):
    shares = [rank_slots(batch, rank, world) for rank in range(world)]
    assert [slot for share in shares for slot in share] == list(range(batch))
    sizes = [len(share) for share in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_more_ranks_than_samples_is_told():
    with pytest.raises(BadConfiguration, match="batch of 2 cannot be split over 3"):
        rank_slots(2, 0, 3)


@pytest.mark.reference
@pytest.mark.parametrize("batch", [*range(1, 20), 58, 110])
def test_forced_slots_are_nnunets(batch):
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    loader = SimpleNamespace(batch_size=batch, oversample_foreground_percent=0.33)
    expected = [nnUNetDataLoader._oversample_last_XX_percent(loader, slot) for slot in range(batch)]
    assert [forces_foreground(slot, batch) for slot in range(batch)] == expected


LOCATIONS = {
    1: np.array([[0, 0, 0, 0], [0, 6, 2, 3], [0, 2, 4, 5]]),
    (1, 2): np.array([[0, 6, 4, 0]]),
    2: np.zeros((0, 4), int),
}


@pytest.mark.reference
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("has_ignore", [False, True])
@pytest.mark.parametrize("locations", ["found", "annotated", "none"])
@pytest.mark.parametrize(("shape", "patch", "final"), [((7, 5, 6), (4, 4, 4), (4, 4, 4)), ((7, 5, 6), (9, 6, 5), (6, 3, 5))])
def test_origins_are_nnunets(shape, patch, final, locations, has_ignore, force):
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    annotated = {(-1, 0, 1, 2): np.array([[0, 3, 3, 3], [0, 0, 1, 5]])} if has_ignore else {}
    found = {"found": {**LOCATIONS, **annotated}, "annotated": annotated, "none": {1: np.zeros((0, 4), int)}}[locations]
    if has_ignore and locations == "none":
        found = {**found, (-1, 0, 1, 2): np.zeros((0, 4), int)}
    loader = SimpleNamespace(
        need_to_pad=np.array(patch) - np.array(final),
        patch_size=np.array(patch),
        has_ignore=has_ignore,
        annotated_classes_key=(-1, 0, 1, 2),
    )
    np.random.seed(0)
    with pytest.warns() if has_ignore and locations == "none" and not force else _nothing():
        expected = {tuple(map(int, nnUNetDataLoader.get_bbox(loader, shape, force, found)[0])) for _ in range(2000)}
    rng = np.random.default_rng(0)
    options = {"force_foreground": force, "all_labels": (0, 1, 2), "has_ignore": has_ignore}
    mine = {choose_origin(shape, patch, final, found, rng, **options) for _ in range(2000)}
    if len(expected) < 50:
        assert mine == expected
    for axis in range(3):
        assert {o[axis] for o in mine} == {o[axis] for o in expected}


def _nothing():

    return nullcontext()


def test_classes_are_drawn_alike_however_large_they_are():
    rng = np.random.default_rng(0)
    found = {1: np.tile([[0, 9, 9, 9]], (1000, 1)), 2: np.array([[0, 20, 20, 20]])}
    origins = [choose_origin((40, 40, 40), (4, 4, 4), (4, 4, 4), found, rng, force_foreground=True) for _ in range(1000)]
    assert set(origins) == {(7, 7, 7), (18, 18, 18)}
    assert 400 < origins.count((7, 7, 7)) < 600


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(-12, 12)] * 3), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_patch_is_a_crop_of_the_padded_image(shape, origin, patch):
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape) + 1
    out = np.full((1, *patch), 7, np.float32)
    read_patch(image, origin, out, -1)
    padded = np.pad(image, [(0, 0), *[(24, 24)] * 3], constant_values=-1)
    place = (slice(None), *[slice(o + 24, o + 24 + p) for o, p in zip(origin, patch, strict=True)])
    np.testing.assert_array_equal(out, padded[place])


def test_only_the_patch_is_read():
    store = Store([(30, 40, 50)])
    sampler(store).batch(0, 0)
    case = store.cases["case_0"]
    assert len(case.data.read) == len(case.seg.read) == 4
    assert all(max(shape[1:]) <= 4 for shape in case.data.read + case.seg.read)


def test_outside_is_0_in_images_and_minus_1_in_segmentations():
    batch = sampler(Store([(2, 3, 5)]), initial_patch_size=(9, 9, 9)).batch(0, 0)
    assert batch.data.dtype == np.float32
    assert batch.seg.dtype == np.int16
    outside = batch.data == 0
    assert outside.any()
    assert ((batch.seg == -1) == outside).all()


def test_the_last_samples_show_foreground():
    store = Store([(20, 20, 20)], {1: np.array([[0, 13, 5, 9]])})
    voxel = store.cases["case_0"].data.array[0, 13, 5, 9]
    for iteration in range(5):
        batch = sampler(store).batch(0, iteration)
        assert batch.data[3, 0, 2, 2, 2] == voxel


def test_probabilistic_oversampling_draws_for_each_sample():
    store = Store([(20, 20, 20)], {1: np.array([[0, 13, 5, 9]])})
    voxel = store.cases["case_0"].data.array[0, 13, 5, 9]
    draws = sampler(store, batch_size=200, probabilistic=True).batch(0, 0)
    assert 0.23 < (draws.data[:, 0, 2, 2, 2] == voxel).mean() < 0.43


def test_cases_are_drawn_alike_with_replacement():
    store = Store([(4, 4, 4)] * 4)
    counts = np.unique(sampler(store, batch_size=400).batch(0, 0).cases, return_counts=True)[1]
    assert len(counts) == 4
    assert counts.min() > 60


def test_slices_are_drawn_in_2d():
    store = Store([(6, 8, 9)], {1: np.array([[0, 4, 3, 3]])})
    batch = sampler(store, patch_size=(5, 7)).batch(0, 0)
    assert batch.data.shape == (4, 1, 5, 7)
    assert batch.data[3, 0, 2, 3] == store.cases["case_0"].data.array[0, 4, 3, 3]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_draw_what_one_process_would(world):
    store = Store([(9, 9, 9), (7, 8, 9)])
    whole = sampler(store, batch_size=5).batch(3, 4)
    parts = [sampler(store, batch_size=5, rank=rank, world_size=world).batch(3, 4) for rank in range(world)]
    assert np.array_equal(np.concatenate([part.data for part in parts]), whole.data)
    assert [key for part in parts for key in part.keys] == whole.keys


@pytest.mark.parametrize("change", [{"seed": 8}, {"fold": "1"}, {"fold": "all"}, {"purpose": "val"}])
def test_other_places_draw_other_samples(change):
    store = Store([(9, 9, 9)])
    assert not same(sampler(store).batch(0, 0), sampler(store, **change).batch(0, 0))


def test_epochs_and_iterations_differ():
    draw = sampler(Store([(20, 20, 20)])).batch
    batches = [draw(0, 0), draw(0, 1), draw(1, 0)]
    assert len({b.data.tobytes() for b in batches}) == 3


def test_a_case_that_does_not_say_where_its_classes_lie_is_told(tmp_path):
    write_case(
        tmp_path, "a", np.zeros((1, 8, 8, 8), np.float32), np.zeros((1, 8, 8, 8), np.int16), {"spacing": [1, 1, 1]}, (8, 8, 8)
    )
    folder = PreprocessedFolder(tmp_path)
    with pytest.raises(BadData, match=r"a\.pkl has no class_locations"):
        PatchSampler(folder, folder.cases, patch_size=(4, 4, 4), batch_size=1, seed=0, fold="all").batch(0, 0)


def test_a_fold_without_cases_is_told():
    with pytest.raises(BadData, match="Fold 0 has no cases"):
        PatchSampler(Store([]), [], patch_size=(4, 4, 4), batch_size=2, seed=0, fold="0")


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 4), st.integers(0, 4))
def test_prefetching_keeps_the_order(count, workers, ahead):
    assert list(prefetched(lambda i: i * i, range(count), workers=workers, ahead=ahead)) == [i * i for i in range(count)]


def test_prefetching_stays_within_its_bound():
    begun = []
    items = prefetched(lambda i: begun.append(i) or i, range(100), workers=2, ahead=3)
    assert next(items) == 0
    items.close()
    assert len(begun) <= 6


def test_an_error_in_a_thread_arrives():
    def make(i):
        if i == 2:
            raise BadData("Broken", "case 2 is broken")
        return i

    items = prefetched(make, range(5), workers=2)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(BadData, match="case 2"):
        next(items)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
@pytest.mark.parametrize("streams", [("sampling",), ("sampling", "augmentation", "intensity/0")], ids=len)
def test_generators_of_several_samples_are_those_of_each(seed, streams):
    places = [(0, 0, 0), (3, 17, 7), (999, 249, 1), (2**32 - 1, 2**32 - 1, 2**32 - 1)]
    keys = [SampleKey(seed, "all", *place, "val") for place in places]
    together = Generators(keys, streams)
    for sample, key in enumerate(keys):
        for number, stream in enumerate(streams):
            found, again = together.of(number, sample), together.of(number, sample)
            expected = key.generator(stream)
            assert found.random(3).tolist() == again.random(3).tolist() == expected.random(3).tolist()


@pytest.mark.parametrize("other", [{"seed": 2}, {"fold": "1"}, {"purpose": "val"}, {"iteration": 2**32}], ids=str)
def test_generators_of_other_samples_are_refused(other):
    key = SampleKey(1, "0", 0, 0, 0)
    with pytest.raises((ValueError, OverflowError)):
        Generators([key, key._replace(**other)], ("sampling",))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
@pytest.mark.parametrize("place", [(0, 0, 0), (3, 2**32 + 5, 7)])
def test_generators_are_numpys_of_the_same_numbers(seed, place):
    key = SampleKey(seed, "all", *place)
    names = [zlib.crc32(name.encode()) for name in ("all", "train", "noise")]
    sequence = np.random.SeedSequence([seed, *names, *place])
    assert key.generator("noise").random() == np.random.Generator(np.random.Philox(sequence)).random()
    assert key.torch_seed("noise") == int(sequence.generate_state(1, np.uint64)[0]) & (2**63 - 1)
