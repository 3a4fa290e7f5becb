import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import GpuOutOfMemory
from nnunet_trainer.inference.sliding_window import SlidingWindow, axis_weights, predict_logits, tile_starts

STEPS = st.sampled_from([0.25, 0.5, 0.7, 1.0])


@given(st.integers(1, 200), st.integers(4, 64), STEPS)
def test_tiles_cover_the_axis_and_overlap_as_asked(size, tile, step):
    size = max(size, tile)
    starts = tile_starts(size, tile, step)
    assert starts[0] == 0
    assert starts[-1] == size - tile
    assert all(0 < b - a <= np.ceil(tile * step) for a, b in itertools.pairwise(starts))


@pytest.mark.reference
@given(st.integers(1, 200), st.integers(1, 64), STEPS)
def test_tiles_are_nnunets(size, tile, step):
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    size = max(size, tile)
    assert tile_starts(size, tile, step) == compute_steps_for_sliding_window((size,), (tile,), step)[0]


@pytest.mark.reference
@pytest.mark.parametrize("patch", [(20, 24, 18), (7, 31, 16), (32, 40)])
def test_weights_are_nnunets(patch):
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    expected = compute_gaussian(patch, value_scaling_factor=1, dtype=torch.float64, device=torch.device("cpu")).numpy()
    along = [axis_weights(n, True) for n in patch]
    product = along[0]
    for weights in along[1:]:
        product = product[..., None] * weights
    np.testing.assert_allclose(product, expected, rtol=1e-9)


def echo(tiles):
    """Two heads: the image, and twice the image."""
    return torch.cat((tiles, 2 * tiles), dim=1)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.integers(3, 40)] * 3),
    st.sampled_from([(16, 8, 12), (9, 9, 9), (8, 16)]),
    STEPS,
    st.booleans(),
    st.integers(1, 5),
)
def test_what_the_network_says_everywhere_is_what_comes_out(shape, patch, step, gaussian, tile_batch):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    axes = tuple(range(len(patch)))
    window = SlidingWindow(patch_size=patch, step=step, gaussian=gaussian, tile_batch=tile_batch, mirror_axes=axes)
    logits = predict_logits(echo, image, 2, window)
    torch.testing.assert_close(logits, torch.cat((image, 2 * image)), rtol=1e-4, atol=1e-5)


def test_every_combination_of_axes_is_mirrored_once():
    seen = []

    def network(tiles):
        seen.append(tiles[0, 0].clone())
        return tiles

    image = torch.arange(8.0).view(1, 2, 2, 2)
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(2, 2, 2), mirror_axes=(0, 2), gaussian=False))
    torch.testing.assert_close(logits, image)
    expected = [image[0], image[0].flip(0), image[0].flip(2), image[0].flip(0, 2)]
    assert len(seen) == 4
    for got, wanted in zip(seen, expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_slices_are_predicted_one_by_one_in_2d():
    shapes = set()

    def network(tiles):
        shapes.add(tuple(tiles.shape[1:]))
        return tiles

    image = torch.randn(1, 5, 20, 9)
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(8, 12), tile_batch=3))
    torch.testing.assert_close(logits, image, rtol=1e-4, atol=1e-5)
    assert shapes == {(1, 8, 12)}


def test_the_finest_output_counts_with_deep_supervision():
    image = torch.randn(1, 8, 8, 8)
    logits = predict_logits(lambda x: [x, x[:, :, ::2, ::2, ::2]], image, 1, SlidingWindow(patch_size=(8, 8, 8)))
    torch.testing.assert_close(logits, image)


def test_a_batch_that_does_not_fit_is_halved():
    sizes = []

    def network(tiles):
        sizes.append(len(tiles))
        if len(tiles) > 2:
            raise torch.OutOfMemoryError("no room")
        return tiles

    image = torch.randn(1, 16, 16, 16)
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(8, 8, 8), tile_batch=8))
    torch.testing.assert_close(logits, image, rtol=1e-4, atol=1e-5)
    assert sizes[:3] == [8, 4, 2]


def test_a_tile_that_never_fits_is_told():
    def network(tiles):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(GpuOutOfMemory, match="8×8×8"):
        predict_logits(network, torch.randn(1, 9, 9, 9), 1, SlidingWindow(patch_size=(8, 8, 8), tile_batch=4))
