"""Only what augmentation looks at is read, and the augmented patches are the same, to the last bit, as from all of the margin."""

import numpy as np
import pytest
import torch
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from nnunet_trainer.training.data.augmentation import Spatial, augmentation_set
from nnunet_trainer.training.data.augmentation.augmenter import Augmenter
from nnunet_trainer.training.data.augmentation.config import AugmentationConfig
from nnunet_trainer.training.data.augmentation.upload import mapped
from nnunet_trainer.training.data.loading.batch_maker import BatchMaker, Place
from nnunet_trainer.training.data.sampling import PatchSampler

ALWAYS = {"rotation_probability": 1.0, "scale_probability": 1.0}
SETS = {
    "default": augmentation_set("default"),
    "none": augmentation_set("none"),
    "always": AugmentationConfig(spatial=Spatial(**ALWAYS)),
    "small": AugmentationConfig(spatial=Spatial(**ALWAYS, scale=(0.3, 0.4))),
    "large": AugmentationConfig(spatial=Spatial(**ALWAYS, scale=(1.8, 2.0))),
    "axes": AugmentationConfig(spatial=Spatial(**ALWAYS, scale_axis_probability=1.0, scale_along="image")),
    "nearest": AugmentationConfig(spatial=Spatial(**ALWAYS, image_order=0, segmentation_order=0)),
    "cubic": AugmentationConfig(spatial=Spatial(**ALWAYS, image_order=3)),
    "elastic": AugmentationConfig(spatial=Spatial(elastic_probability=0.5, elastic_alpha=(0.0, 900.0))),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Cases larger and smaller than a patch."""
    folder, rng = tmp_path_factory.mktemp("cases"), np.random.default_rng(0)
    for number, shape in enumerate([(40, 44, 36), (12, 30, 50)]):
        data, seg = rng.normal(size=(2, *shape)).astype(np.float32), rng.integers(-1, 3, (1, *shape))
        write_case(folder, f"case_{number}", data, seg, {"class_locations": {1: np.argwhere(seg == 1)}}, (16, 16, 16))
    return PreprocessedFolder(folder)


def samplers(store, augmenter, batch=4):
    """One that reads what is needed, one that reads all."""
    options = {"patch_size": augmenter.patch_size, "batch_size": batch, "seed": 3, "fold": "0"}
    options["initial_patch_size"] = augmenter.initial_patch_size
    return (PatchSampler(store, store.cases, placements=placements, **options) for placements in (augmenter.placements, None))


def poisoned(shape, dtype):
    """Memory whose content shows wherever it is used."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 99, dtype)


@pytest.mark.parametrize("patch", [(20, 20, 20), (6, 24, 28), (24, 28)], ids=["3d", "anisotropic", "2d"])
@pytest.mark.parametrize("name", SETS)
def test_patches_are_the_same_as_from_the_whole_margin(store, name, patch):
    augmenter = Augmenter(config=SETS[name], patch_size=patch)
    needed, whole = samplers(store, augmenter)
    for iteration in range(3):
        all_of_it = whole.batch(0, iteration).mapped(torch.from_numpy)
        data, targets = augmenter(all_of_it.data, all_of_it.seg, all_of_it.keys)
        found, labels = augmenter.augment(needed.batch(0, iteration, poisoned).mapped(torch.from_numpy))
        assert torch.equal(found, data)
        assert torch.equal(labels[0], targets[0])


@pytest.mark.parametrize("name", SETS)
def test_a_plan_is_the_same_whether_its_beginning_was_drawn_for_reading_or_not(store, name):
    augmenter = Augmenter(config=SETS[name], patch_size=(20, 20, 20))
    needed = next(samplers(store, augmenter))
    batch, sent = needed.batch(0, 0), BatchMaker({"train": needed}, 2)(Place("train", 0, 0))
    assert set(batch.begun) == set(batch.keys)
    assert not sent.begun, "generators stay in the process that reads"
    plans = [mapped(augmenter.planner()(each), np.ndarray.tolist) for each in (batch, batch, sent)]
    assert plans[0] == plans[1] == plans[2]


def test_patches_that_are_not_resampled_are_read_as_they_are(store):
    augmenter = Augmenter(config=SETS["default"], patch_size=(20, 20, 20))
    batch = next(samplers(store, augmenter, batch=50)).batch(0, 0)
    assert batch.data.shape[2:] == (20, 20, 20)
    assert 0.5 < len(batch.rows) / 50 < 0.8, "0.8 · 0.8 are neither rotated nor scaled"
    assert batch.enlarged is not None
    assert sorted([*batch.rows, *batch.enlarged.rows]) == list(range(50))


def test_a_larger_scale_shows_more_and_reads_more(store):
    sizes = {}
    for name in ("small", "large"):
        augmenter = Augmenter(config=SETS[name], patch_size=(20, 20, 20))
        sizes[name] = np.mean([next(samplers(store, augmenter, 1)).batch(0, i).enlarged.data[0, 0].size for i in range(5)])
        initial = np.prod(augmenter.initial_patch_size)
    assert sizes["small"] < 0.15 * initial < sizes["large"] <= initial
