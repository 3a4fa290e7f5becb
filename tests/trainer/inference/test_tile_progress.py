import pytest
import torch
from nnunet_trainer.inference import large_images
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.tile_progress import EVERY_SECONDS, TileProgress, summed

from . import models


def test_a_line_a_minute_and_none_of_images_that_take_less():
    lines, now = [], [0.0]
    told = TileProgress(lines.append, lambda: now[0])
    for case, seconds, step, tiles in (("quick", 10.0, 1, 4), ("slow", 31.0, 1, 6), ("large", EVERY_SECONDS, 500, 1_500)):
        for done in range(0, tiles, step):
            told(case, done, tiles)
            now[0] += seconds
    assert lines == [
        "slow: 2 of 6 tiles, about 2m04s left",
        "slow: 4 of 6 tiles, about 1m02s left",
        "large: 500 of 1,500 tiles, about 2m00s left",
        "large: 1,000 of 1,500 tiles, about 1m00s left",
    ]


@pytest.mark.parametrize(("patch", "shape"), [((8, 8, 8), (30, 9, 8)), ((8, 8), (5, 20, 8))])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("folds", [1, 3])
def test_the_tiles_of_all_folds_are_counted(patch, shape, planes, folds, tmp_path, monkeypatch):
    """Whether the logits are there as a whole or plane after plane, and whether the networks follow each other or take turns."""
    monkeypatch.setattr(large_images, "logits_fit", lambda heads, shape: not planes)
    content = models.plans(patch=patch, spacing=(1.0, 1.0, 1.0)[-len(patch) :])
    model = Model.load(models.write(tmp_path, content, models.DATASET, folds=tuple("012"[:folds])))
    window, heard = model.window(batch=1, mirroring=False), []
    image = torch.zeros(1, *shape)
    tell = lambda done, total: heard.append((done, total))  # noqa: E731
    if planes:
        around = {"shape_before_cropping": shape, "shape_after_cropping_and_before_resampling": shape, "spacing": [1.0, 1.0, 1.0]}
        model.segment(image, model.goal(shape, around), window, tell)
    else:
        model.logits(image, window, tell)
    tiles = window.tiles(shape)
    assert {total for _, total in heard} == {folds * tiles}
    assert len(heard) == folds * tiles
    done = [done for done, _ in heard]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, folds * (tiles - 1))


def test_who_wants_nothing_hears_nothing():
    assert summed(None, 3) == [None, None, None]
