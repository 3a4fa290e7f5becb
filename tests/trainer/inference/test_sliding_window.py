import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract import control_groups
from nnunet_trainer.contract.faults import BadConfiguration, GpuOutOfMemory
from nnunet_trainer.inference.precision import of_recipe
from nnunet_trainer.inference.sliding_window import (
    SlidingWindow,
    about_case,
    automatic_batch,
    axis_weights,
    predict_logits,
    tile_starts,
    widest_features,
)
from nnunet_trainer.inference.sliding_window import batch as batches

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
@settings(deadline=None)  # the first example imports the reference
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
    st.sampled_from([None, 1, 2, 3, 5, 8, 9, 20]),
)
def test_what_the_network_says_everywhere_is_what_comes_out(shape, patch, step, gaussian, batch):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    axes = tuple(range(len(patch)))
    window = SlidingWindow(patch_size=patch, step=step, gaussian=gaussian, batch=batch, mirror_axes=axes)
    logits = predict_logits(echo, image, 2, window)
    torch.testing.assert_close(logits, torch.cat((image, 2 * image)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "patch", "step"), [((12, 16, 14), (16, 8, 12), 0.5), ((20, 16, 33), (9, 9, 9), 0.25), ((5, 3, 40), (8, 16), 0.7)]
)
def test_as_many_tiles_are_predicted_as_are_told(shape, patch, step):
    seen = []

    def network(tiles):
        seen.append(len(tiles))
        return tiles

    window = SlidingWindow(patch_size=patch, step=step, batch=1)
    predict_logits(network, torch.randn(1, *shape), 1, window)
    assert sum(seen) == window.tiles(shape)


def test_every_combination_of_axes_is_mirrored_once():
    seen = []

    def network(tiles):
        seen.append(tiles[0, 0].clone())
        return tiles

    image = torch.arange(8.0).view(1, 2, 2, 2)
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(2, 2, 2), mirror_axes=(0, 2), gaussian=False, batch=1))
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
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(8, 12), batch=3))
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
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(8, 8, 8), batch=8))
    torch.testing.assert_close(logits, image, rtol=1e-4, atol=1e-5)
    assert sizes[:3] == [8, 4, 2]


def test_a_tile_that_never_fits_is_told():
    def network(tiles):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(GpuOutOfMemory, match="8×8×8"):
        predict_logits(network, torch.randn(1, 9, 9, 9), 1, SlidingWindow(patch_size=(8, 8, 8), batch=4))


@pytest.mark.parametrize(("batch", "most"), [(1, 1), (2, 2), (3, 3), (4, 4), (8, 8), (16, 16), (40, 40)])
def test_tiles_and_mirrored_copies_go_through_the_network_together(batch, most):
    sizes = []

    def network(tiles):
        sizes.append(len(tiles))
        return tiles

    image = torch.randn(1, 24, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(8, 8, 8), mirror_axes=(0, 1, 2), batch=batch))
    torch.testing.assert_close(logits, image, rtol=1e-4, atol=1e-5)
    assert max(sizes) == most
    assert sum(sizes) == 5 * 8, "each copy of each tile once"


@pytest.mark.parametrize(
    ("patch", "features", "least", "most"),
    [((40, 56, 40), 4, 2, 4), ((16, 16, 16), 32, 8, 64), ((256, 256), 32, 4, 8), ((128, 128, 128), 32, 1, 2)],
)
def test_on_a_cpu_small_tiles_go_together_and_never_one_alone(patch, features, least, most):
    window = SlidingWindow(patch_size=patch, mirror_axes=tuple(range(len(patch))), features=features)
    assert least <= automatic_batch(window, torch.device("cpu")) <= most


def test_a_small_container_predicts_copy_by_copy(monkeypatch):
    monkeypatch.setattr(batches, "memory_limit", lambda: 2 * 2**30)
    assert control_groups.memory_limit() > 2 * 2**30
    window = SlidingWindow(patch_size=(128, 128, 128), mirror_axes=(0, 1, 2))
    assert automatic_batch(window, torch.device("cpu")) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"), [({"features_per_stage": [24, 48]}, 24), ({"features_per_stage": 16}, 16), ({"embed_dim": 864}, 32)]
)
def test_the_widest_feature_maps_are_read_from_the_architecture(arguments, expected):
    assert widest_features({"arch_kwargs": arguments}) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_an_output_that_is_no_number_is_an_error_and_no_background(value, patch):
    def network(tiles):
        out = tiles.clone()
        out[-1, 0, ..., 3, 2] = value
        return out

    with (
        pytest.raises(BadConfiguration, match=r"case_7: The network's output is NaN or infinite at \d+ of 1152 values") as caught,
        about_case("case_7"),
    ):
        predict_logits(network, torch.zeros(1, 18, 8, 8), 1, SlidingWindow(patch_size=patch))
    assert caught.value.reason == "LogitsNotFinite"
    assert "checkpoint" in caught.value.hint


@pytest.mark.parametrize(("precision", "expected"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_network_runs_in_the_precision_that_is_asked_for(precision, expected):
    seen = set()
    convolution = torch.nn.Conv3d(1, 1, 1)

    def network(tiles):
        out = convolution(tiles)
        seen.add(out.dtype)
        return out

    window = SlidingWindow(patch_size=(8, 8, 8), precision=precision)
    assert predict_logits(network, torch.zeros(1, 8, 8, 8), 1, window).dtype == torch.float32
    assert seen == {expected}


@pytest.mark.parametrize(
    ("recipe", "device", "expected"),
    [
        ({"precision": "bf16"}, "cuda", "bf16"),
        ({"precision": "fp32"}, "cuda:1", "fp32"),
        ({"precision": "fp16"}, "cpu", "auto"),
        ({"precision": "bf16"}, "cpu", "auto"),
        ({"precision": "fp7"}, "cuda", "auto"),
        ({}, "cuda", "auto"),
        (None, "cuda", "auto"),
    ],
)
def test_a_model_predicts_in_the_precision_of_its_training(recipe, device, expected):
    assert of_recipe(recipe, torch.device(device)) == expected
