"""Images whose logits do not fit in memory: what is made plane after plane is what the whole gives."""

import shutil
from dataclasses import replace
from pathlib import Path

import blosc2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.inference import large_images
from nnunet_trainer.inference.export import greatest_heads
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.prediction import predict_folder
from nnunet_trainer.inference.sliding_window import SlidingWindow, finished_slabs, predict_logits
from nnunet_trainer.inference.sliding_window import slabs as slabs_module
from nnunet_trainer.inference.validation import validate
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import preprocess_image
from nnunet_trainer.preprocessing.resampling import resampling
from nnunet_trainer.preprocessing.resampling.by_slabs import parts
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case

from . import models

IMAGES = Path(__file__).parents[3] / "examples/data/Dataset004_Hippocampus/imagesTr"
MANY = {**models.DATASET, "labels": {"background": 0, **{f"part {label}": label for label in range(1, 9)}}}
MANY_REGIONS = {
    **models.DATASET,
    "labels": {"background": 0, "whole": [1, 2, 3, 4, 5], **{f"part {value}": value for value in range(1, 6)}, "ignore": 6},
    "regions_class_order": [1, 1, 2, 3, 4, 5],
}
SMALL = {"patch": (16, 16, 16)}
FLAT = {"spacing": (1.1, 1.1), "patch": (32, 24)}
THICK = {"spacing": (4.0, 1.0, 1.0), "patch": (8, 32, 24)}


@pytest.fixture
def no_room(monkeypatch):
    """No logits fit in memory; how many images were made plane after plane."""
    made = []
    segment = large_images.segment

    def counting(networks, *arguments, **options):
        made.append(len(networks))
        return segment(networks, *arguments, **options)

    monkeypatch.setattr(large_images, "logits_fit", lambda heads, shape: False)
    for user in ("model", "validation"):
        monkeypatch.setattr(f"nnunet_trainer.inference.{user}.segment", counting)
    return made


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(3, 30)] * 3),
    st.sampled_from([(16, 8, 12), (5, 9, 9), (8, 16)]),
    st.sampled_from([0.25, 0.5, 0.7, 1.0]),
    st.sampled_from([(), (0,), (0, 1)]),
    st.sampled_from([1, 3, 7, 16]),
    st.sampled_from([1, 2, 1000]),
)
def test_slabs_are_the_whole_bit_by_bit(shape, patch, step, axes, batch, most):
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    window = SlidingWindow(patch_size=patch, step=step, mirror_axes=axes, batch=batch)
    network = lambda tiles: torch.cat((tiles.cumsum(-1), tiles * 2), dim=1)  # noqa: E731
    whole = predict_logits(network, image, 2, window)
    plane = 8 * max(shape[1], window.tile[1]) * max(shape[2], window.tile[2])
    with pytest.MonkeyPatch.context() as patched:  # pieces of so many planes at most
        patched.setattr("nnunet_trainer.inference.sliding_window.slabs.memory_limit", lambda: slabs_module.PIECES * most * plane)
        slabs = list(finished_slabs(network, image, 2, window))
    ends = np.cumsum([slab.values.shape[1] for slab in slabs]).tolist()
    assert [slab.start for slab in slabs] == [0, *ends[:-1]]
    assert max(slab.values.shape[1] for slab in slabs) <= (
        window.tile[0] if shape[0] < window.tile[0] else min(most, window.tile[0])
    )
    assert torch.equal(torch.cat([slab.values for slab in slabs], dim=1), whole)


def test_no_room_in_the_middle_of_an_image_costs_one_batch():
    sizes, whole = [], iter([False] * 3 + [True])

    def network(tiles):
        sizes.append(len(tiles))
        if next(whole, False):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ...")
        return tiles

    image = torch.randn(1, 48, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = predict_logits(network, image, 1, SlidingWindow(patch_size=(8, 8, 8), batch=2))
    torch.testing.assert_close(logits, image, rtol=1e-4, atol=1e-5)
    assert sizes == [2, 2, 2, 2, 1, 1, 1, 1, 1], "11 tiles: what was done stays, and so does the size that fits"


def test_a_tile_without_room_in_main_memory_is_told():
    def network(tiles):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")

    with pytest.raises(MemoryError, match="one tile of 8×8×8"):
        predict_logits(network, torch.zeros(1, 8, 8, 8), 1, SlidingWindow(patch_size=(8, 8, 8)))


KWARGS = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


@pytest.mark.parametrize(
    ("shape", "new_shape", "spacings", "changed"),
    [
        ((40, 11, 9), (71, 15, 12), ((1, 1, 1), (0.6, 0.7, 0.7)), {}),
        ((90, 11, 9), (41, 15, 6), ((1, 1, 1), (2, 0.7, 1.5)), {}),
        ((70, 11, 9), (70, 15, 6), ((1, 1, 1), (1, 0.7, 1.5)), {}),
        ((33, 11, 9), (70, 11, 9), ((1, 1, 1), (0.5, 1, 1)), {"order": 0}),
        ((12, 11, 9), (70, 15, 6), ((5, 1, 1), (1, 0.7, 1.5)), {}),
        ((70, 11, 9), (13, 15, 6), ((1, 1, 1), (5, 0.7, 1.5)), {"order": 3}),
        ((12, 11, 9), (70, 11, 9), ((5, 1, 1), (1, 1, 1)), {}),
        ((40, 11, 9), (40, 15, 6), ((5, 1, 1), (5, 0.7, 1.5)), {"order_z": 1}),
        ((40, 11, 9), (40, 11, 9), ((5, 1, 1), (5, 1, 1)), {"order": 3}),
    ],
)
def test_parts_are_the_whole_bit_by_bit(shape, new_shape, spacings, changed):
    arguments = {**KWARGS, **changed}
    data = np.random.default_rng(5).normal(0, 9, shape).astype(np.float32)
    whole = resampling.by_name("resample_data_or_seg_to_shape", arguments)(data[None], new_shape, *spacings)[0]
    found = parts("resample_data_or_seg_to_shape", arguments, shape, new_shape, *spacings)
    assert [part.rows.start for part in found] == [0, *[part.rows.stop for part in found[:-1]]]
    made = np.concatenate([part.make(data[part.columns]) for part in found])
    assert made.dtype == whole.dtype
    np.testing.assert_array_equal(made, whole)


@pytest.mark.parametrize(
    ("name", "changed", "spacing"),
    [
        ("resample_data_or_seg_to_shape", {"order": 3}, (1, 1, 1)),
        ("resample_data_or_seg_to_shape", {}, (1, 5, 1)),
        ("resample_data_or_seg_to_shape", {"order_z": 1}, (5, 1, 1)),
        ("resample_torch_fornnunet", {}, (1, 1, 1)),
    ],
)
def test_what_needs_the_whole_has_no_parts(name, changed, spacing):
    assert parts(name, {**KWARGS, **changed}, (10, 11, 9), (20, 15, 6), spacing, (1, 1, 1)) is None


CASES = {
    "not-resampled": (SMALL, models.DATASET, ("0",)),
    "resampled": ({"spacing": (1.3, 0.9, 1.1), **SMALL}, models.DATASET, ("0",)),
    "grown": ({"spacing": (0.7, 1.2, 1.1), **SMALL}, models.DATASET, ("0", "1")),
    "anisotropic": (THICK, models.DATASET, ("0",)),
    "transposed": ({"spacing": (1.2, 1.0, 1.0), "transpose": (2, 0, 1), **SMALL}, models.DATASET, ("0",)),
    "2d": (FLAT, models.DATASET, ("0",)),
    "regions": ({"spacing": (1.3, 0.9, 1.1), **SMALL}, models.REGIONS, ("0",)),
    "many-labels": ({"spacing": (1.3, 0.9, 1.1), **SMALL}, MANY, ("0", "1")),
    "many-regions": (THICK, MANY_REGIONS, ("0",)),
    "many-labels-2d": (FLAT, MANY, ("0",)),
    "clipped-splines": ({**THICK, "spacing": (7.0, 2.2, 2.2)}, MANY, ("0",)),  # not linear: it is the logits that are resampled
}


@pytest.mark.parametrize("name", CASES)
def test_planes_give_the_segmentation_of_the_whole(name, tmp_path, no_room, monkeypatch):
    options, dataset_json, folds = CASES[name]
    (tmp_path / "images").mkdir()
    shutil.copy(IMAGES / "hippocampus_001_0000.nii.gz", tmp_path / "images")
    plans = models.plans(**options)
    if name == "clipped-splines":
        plans["configurations"]["small"]["resampling_fn_probabilities_kwargs"]["order"] = 3
    model = Model.load(models.write(tmp_path / "model", plans, dataset_json, folds=folds, mirror_axes=(0,)))
    (parted,) = predict_folder(model, tmp_path / "images", tmp_path / "parted")
    assert no_room == [len(folds)]
    monkeypatch.setattr(large_images, "logits_fit", lambda heads, shape: True)
    (whole,) = predict_folder(model, tmp_path / "images", tmp_path / "whole")
    found, expected = (by_name("SimpleITKIO").read_label(file) for file in (parted, whole))
    assert len(np.unique(expected)) > 1
    if name.startswith("many"):
        # The features are resampled, and the segmentation layer comes last: rounding alone.
        assert (found != expected).mean() < 1e-4
    else:
        np.testing.assert_array_equal(found, expected)


def cascaded():
    content = models.plans(spacing=(1.3, 0.9, 1.1), patch=(16, 16, 16))
    following = {**content["configurations"]["small"], "spacing": [0.8, 1.0, 1.0], "previous_stage": "small"}
    content["configurations"]["next"] = following
    content["configurations"]["small"]["next_stage"] = "next"
    return content


@pytest.mark.parametrize("dataset_json", [models.DATASET, MANY], ids=["few-labels", "many-labels"])
def test_the_final_validation_and_the_next_stage_too(dataset_json, tmp_path, no_room, monkeypatch):
    content, reader = cascaded(), by_name("SimpleITKIO")
    plans = Plans(content)
    images, properties = reader.read_images([IMAGES / "hippocampus_001_0000.nii.gz"])
    label = (images > np.median(images)).astype(np.int16)
    data, seg, about = preprocess_image(images, properties, plans, "small", dataset_json, label)
    (tmp_path / "gt").mkdir()
    (tmp_path / "cases").mkdir()
    reader.write(label[0], tmp_path / "gt/a.nii.gz", properties)
    write_case(tmp_path / "cases", "a", data, seg, about, (8, 16, 8))

    def validated(out):
        return validate(
            models.network(content, dataset_json),
            plans=plans,
            configuration="small",
            dataset_json=dataset_json,
            store=PreprocessedFolder(tmp_path / "cases"),
            cases=["a"],
            ground_truth=tmp_path / "gt",
            out=out,
            next_stages=out / "next",
        )

    validated(tmp_path / "parted")
    assert no_room == [1]
    monkeypatch.setattr(large_images, "logits_fit", lambda heads, shape: True)
    validated(tmp_path / "whole")
    found, expected = (reader.read_label(tmp_path / folder / "a.nii.gz") for folder in ("parted", "whole"))
    stages = [blosc2.open(str(tmp_path / folder / "next/next/a.b2nd"))[:] for folder in ("parted", "whole")]
    for one, other in ((found, expected), stages):
        assert len(np.unique(other)) > 1
        assert (one != other).mean() < (1e-4 if dataset_json is MANY else 1e-9)


@pytest.mark.parametrize("place", ["layer", "features"])
def test_what_is_no_number_is_an_error_here_too(place, tmp_path, no_room):
    (tmp_path / "images").mkdir()
    shutil.copy(IMAGES / "hippocampus_001_0000.nii.gz", tmp_path / "images")
    model = Model.load(models.write(tmp_path / "model", models.plans(**SMALL), MANY, mirror_axes=()))
    network = model.networks[0]
    with torch.no_grad():
        next(network.segmentation_layer.parameters() if place == "layer" else network.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(BadConfiguration, match=r"hippocampus_001: .*NaN or infinite") as caught:
        predict_folder(model, tmp_path / "images", tmp_path / "out")
    assert caught.value.reason == "LogitsNotFinite"


@pytest.mark.parametrize(
    ("labels", "folds", "room", "channels"),
    [
        (MANY, 1, 1000, 3),  # fewer features than heads
        (MANY, 3, 1000, 9),
        (MANY, 3, 1.9, 3),  # more features than heads in all, but the sums of three folds' logits take too much
        (models.DATASET, 3, 1.1, 3),  # a fold has as many features as heads
    ],
)
def test_what_takes_less_memory_is_summed(tmp_path, no_room, monkeypatch, labels, folds, room, channels):
    """`room` is in units of what the sums of the folds' logits take."""
    (tmp_path / "images").mkdir()
    shutil.copy(IMAGES / "hippocampus_001_0000.nii.gz", tmp_path / "images")
    folder = models.write(tmp_path / "model", models.plans(**SMALL), labels, folds=[str(k) for k in range(folds)], mirror_axes=())
    summed, real, held = [], large_images.finished_slabs, large_images._held
    monkeypatch.setattr(large_images, "finished_slabs", lambda *given: summed.append(given[2]) or real(*given))
    heads = len(labels["labels"])

    def measured(count, shape, window):
        monkeypatch.setattr(large_images, "memory_limit", lambda: int(room * folds * held(heads, shape, window)))
        return held(count, shape, window)

    monkeypatch.setattr(large_images, "_held", measured)
    predict_folder(Model.load(folder), tmp_path / "images", tmp_path / "out")
    assert summed == [channels] * folds


def test_an_image_whose_sums_do_not_fit_is_named_and_the_others_are_predicted(tmp_path, no_room, monkeypatch):
    (tmp_path / "images").mkdir()
    for case in ("a", "b"):
        shutil.copy(IMAGES / "hippocampus_001_0000.nii.gz", tmp_path / f"images/{case}_0000.nii.gz")
    model = Model.load(models.write(tmp_path / "model", models.plans(**SMALL), models.DATASET, folds=("0", "1"), mirror_axes=()))
    limits = iter([1000, 1000, *[2**40] * 10])
    monkeypatch.setattr(large_images, "memory_limit", lambda: next(limits))
    with pytest.raises(BadData, match="1 of 2 images is not predicted") as caught:
        predict_folder(model, tmp_path / "images", tmp_path / "out")
    assert "a: The sums of 3 classes over tiles of 16 planes of" in caught.value.findings[0]
    assert "for each of 2 folds, take" in caught.value.findings[0]
    assert "--folds" in caught.value.hint
    assert [path.name for path in (tmp_path / "out").glob("*.nii.gz")] == ["b.nii.gz"]


@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-6), ("bf16", 0.02)])
def test_features_that_are_summed_change_rounding_alone(precision, most):
    """Of the greatest logit."""
    network = models.network(models.plans(**SMALL), MANY)
    image = torch.randn(1, 24, 20, 18, generator=torch.Generator().manual_seed(0))
    window = SlidingWindow(patch_size=(16, 16, 16), mirror_axes=(0, 1, 2), precision=precision)
    whole = predict_logits(network, image, 9, window)
    layer = large_images._joined_layers([network])
    features = predict_logits(network.features, image, 3, window)
    found = torch.addmm(layer.bias[:, None], layer.weight, features.flatten(1)).view_as(whole)
    assert 0 < (found - whole).abs().max() <= most * whole.abs().max()
    exact = predict_logits(network, image, 9, replace(window, precision="fp32"))
    assert precision == "fp32" or (found - exact).norm() <= 1.1 * (whole - exact).norm()


@pytest.mark.parametrize("heads", [2, 100, 255, 256, 700])
@pytest.mark.parametrize("values", ["any", "equal ones", "NaN", "infinite"])
def test_the_greatest_head_is_argmaxs(heads, values):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(heads, 400)).astype(np.float32)
    if values == "equal ones":
        logits = rng.integers(-1, 2, logits.shape).astype(np.float32) * np.float32(0.0 if heads == 2 else 1.0)
    elif values != "any":
        logits[rng.random(logits.shape) < 0.05] = np.nan if values == "NaN" else np.inf
    np.testing.assert_array_equal(greatest_heads(logits), logits.argmax(0))
    assert greatest_heads(logits[:, :0]).shape == (0,)
