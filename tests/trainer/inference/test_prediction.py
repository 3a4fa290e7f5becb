import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadConfiguration, BadData, BadUsage, ExitCode
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.inference import large_images, tile_progress
from nnunet_trainer.inference.model import Model, available_folds
from nnunet_trainer.inference.prediction import find_images, predict_case, predict_folder

from . import models

EXAMPLES = Path(__file__).parents[3] / "examples/data"


@pytest.fixture
def images(tmp_path):
    """Two real images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("hippocampus_001_0000.nii.gz", "hippocampus_008_0000.nii.gz"):
        shutil.copy(EXAMPLES / "Dataset004_Hippocampus/imagesTr" / name, folder)
    return folder


def segmentation(file):
    return by_name("SimpleITKIO").read_seg(file)[0].astype(int)


CASES = {
    "3d": ({}, models.DATASET),
    "resampled": ({"spacing": (1.3, 0.9, 1.1)}, models.DATASET),
    "anisotropic": ({"spacing": (4.0, 1.0, 1.0), "patch": (8, 32, 24)}, models.DATASET),
    "transposed": ({"spacing": (1.2, 1.0, 1.0), "transpose": (2, 0, 1)}, models.DATASET),
    "2d": ({"spacing": (1.1, 1.1), "patch": (32, 24)}, models.DATASET),
    "regions": ({"spacing": (1.3, 0.9, 1.1)}, models.REGIONS),
}


@pytest.mark.reference
@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_nnunets_predictor(name, tmp_path, images):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    options, dataset_json = CASES[name]
    folds, axes = (("0", "1"), (0, 1, 2)) if name == "3d" else (("0",), ())
    folder = models.write(tmp_path / "model", models.plans(**options), dataset_json, folds=folds, mirror_axes=axes)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), tuple(int(fold) for fold in folds))
    predictor.allowed_mirroring_axes = axes or None  # its own empty tuple makes it fail
    predictor.predict_from_files_sequential(str(images), str(theirs))
    ours = predict_folder(Model.load(folder), images, tmp_path / "ours")
    assert len(ours) == 2
    seen = set()
    for file in ours:
        expected, found = segmentation(theirs / file.name), segmentation(file)
        # Its sums are float16; in nearly flat logits that decides a few voxels.
        assert (expected != found).mean() < 2e-3
        seen |= set(np.unique(found))
        image = by_name("SimpleITKIO").read(images / file.name.replace(".nii", "_0000.nii"))
        written = by_name("SimpleITKIO").read(file, label=True)
        assert written.spacing == image.spacing
        assert written.geometry == image.geometry
    assert len(seen) > 1


@pytest.mark.reference
@pytest.mark.parametrize("planes", [3, 4])
def test_photographs_of_several_channels_are_predicted_as_nnunet_does(planes, tmp_path):
    import imageio.v3 as iio
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    content = models.plans(spacing=(1.0, 1.0), patch=(32, 24))
    content["image_reader_writer"] = "NaturalImage2DIO"
    content["foreground_intensity_properties_per_channel"] = {str(c): {"mean": 1.0, "std": 1.0} for c in range(planes)}
    content["configurations"]["small"] |= {
        "normalization_schemes": ["ZScoreNormalization"] * planes,
        "use_mask_for_norm": [False] * planes,
    }
    about = {**models.DATASET, "channel_names": {str(i): c for i, c in enumerate("RGBA"[:planes])}, "file_ending": ".png"}
    folder = models.write(tmp_path / "model", content, about, mirror_axes=())
    images, theirs = tmp_path / "images", tmp_path / "theirs"
    images.mkdir()
    theirs.mkdir()
    rng = np.random.default_rng(4)
    for name in ("a", "b"):
        smooth = np.kron(rng.integers(1, 255, (8, 9, planes)), np.ones((6, 6, 1)))
        iio.imwrite(images / f"{name}_0000.png", smooth.astype(np.uint8))
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    predictor.allowed_mirroring_axes = None
    predictor.predict_from_files_sequential(str(images), str(theirs))
    ours = predict_folder(Model.load(folder), images, tmp_path / "ours")
    assert [file.name for file in ours] == ["a.png", "b.png"]
    for file in ours:
        expected, found = iio.imread(theirs / file.name), iio.imread(file)
        assert expected.shape == found.shape
        assert (expected != found).mean() < 2e-3
        assert len(np.unique(found)) > 1
    iio.imwrite(images / "grey_0000.png", np.zeros((48, 54), np.uint8))
    with pytest.raises(BadData) as fault:
        predict_folder(Model.load(folder), images, tmp_path / "again")
    assert fault.value.findings == (f"grey: has 1 channel (grey_0000.png: 1), the model needs {planes}",)
    assert not (tmp_path / "again").exists()


@pytest.mark.reference
@pytest.mark.parametrize("mirroring", [True, False])
def test_logits_are_those_of_nnunets_predictor(mirroring, tmp_path):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder = models.write(tmp_path / "model", models.plans(), models.DATASET)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=mirroring)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    image = torch.randn(1, 28, 60, 40, generator=torch.Generator().manual_seed(3))
    expected = predictor.predict_logits_from_preprocessed_data(image).float()
    model = Model.load(folder)
    found = model.logits(image, model.window(mirroring=mirroring))
    # In the image's corners its float16 weights have hardly any digits left.
    inside = (slice(None), slice(2, -2), slice(8, -8), slice(6, -6))
    assert (expected.softmax(0) - found.softmax(0))[inside].abs().max() < 1e-2
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=0.01 * found.abs().max().item())


def test_folds_are_averaged(tmp_path):
    folder = models.write(tmp_path / "model", models.plans(), models.DATASET, folds=("0", "3"))
    image = torch.randn(1, 24, 32, 24)
    each = [Model.load(folder, folds=[fold]).logits(image) for fold in ("0", "3")]
    both = Model.load(folder)
    assert both.folds == ["0", "3"]
    torch.testing.assert_close(both.logits(image), (each[0] + each[1]) / 2)


@pytest.mark.parametrize("planes", [False, True])
def test_folds_that_do_not_fit_on_a_gpu_together_come_one_by_one(planes, tmp_path, images, monkeypatch):
    folder = models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), models.DATASET, folds=("0", "1"), mirror_axes=())
    monkeypatch.setattr(large_images, "logits_fit", lambda heads, shape: not planes)
    expected = predict_folder(Model.load(folder), images, tmp_path / "together")
    monkeypatch.setattr("nnunet_trainer.inference.model.fit_together", lambda networks, device: False)
    model, moves = Model.load(folder), []
    for number, network in enumerate(model.networks):
        monkeypatch.setattr(network, "to", lambda device, number=number: moves.append((number, str(device))))
    found = predict_folder(model, images, tmp_path / "apart")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(segmentation(one), segmentation(other))
    assert moves[:4] == [(1, "cpu"), (0, "cpu"), (0, "cpu"), (1, "cpu")], "the other leaves before one comes"


def test_an_image_in_memory(tmp_path, images):
    model = Model.load(models.write(tmp_path / "model", models.plans(spacing=(1.3, 0.9, 1.1)), models.DATASET))
    data, properties = by_name("SimpleITKIO").read_images([images / "hippocampus_001_0000.nii.gz"])
    found, logits, _ = predict_case(model, data.copy(), properties)
    assert found.shape == data.shape[1:]
    assert logits.shape[0] == 3
    file = next(f for f in predict_folder(model, images, tmp_path / "out") if "001" in f.name)
    np.testing.assert_array_equal(segmentation(file)[0], found)


def test_probabilities_lead_to_the_segmentation(tmp_path, images):
    model = Model.load(models.write(tmp_path / "model", models.plans(spacing=(1.3, 0.9, 1.1)), models.DATASET))
    for file in predict_folder(model, images, tmp_path / "out", save_probabilities=True):
        probabilities = np.load(file.with_name(file.name.replace(".nii.gz", ".npz")))["probabilities"]
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
        assert (probabilities.argmax(0) != segmentation(file)[0]).mean() < 1e-4


def test_the_command(tmp_path, images, capsys):
    folder = models.write(tmp_path / "model", models.plans(), models.DATASET, folds=("all",))
    command = ["predict", "--model", str(folder), "-i", str(images), "-o", str(tmp_path / "out"), "--no-mirroring"]
    assert cli.main(command) == 0
    assert "2 segmentations by fold all" in capsys.readouterr().out
    assert cli.main(command) == ExitCode.BAD_USAGE
    assert "--continue" in capsys.readouterr().err
    kept = tmp_path / "out/hippocampus_001.nii.gz"
    before = kept.stat().st_mtime_ns
    (tmp_path / "out/hippocampus_008.nii.gz").unlink()
    assert cli.main([*command, "--continue"]) == 0
    assert kept.stat().st_mtime_ns == before
    assert (tmp_path / "out/hippocampus_008.nii.gz").is_file()
    assert cli.main([*command, "--overwrite"]) == 0
    assert kept.stat().st_mtime_ns != before
    assert cli.main([*command, "--step-size", "0"]) == ExitCode.BAD_USAGE


def test_the_command_says_where_it_stands_within_an_image(tmp_path, images, capsys, monkeypatch):
    monkeypatch.setattr(tile_progress, "EVERY_SECONDS", 0.0)
    folder = models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), models.DATASET)
    command = ["predict", "--model", str(folder), "-i", str(images), "-o", str(tmp_path / "out"), "--no-mirroring"]
    assert cli.main([*command, "--device", "cpu", "--tile-batch", "1"]) == 0
    said = capsys.readouterr().err
    for case in ("hippocampus_001", "hippocampus_008"):
        lines = re.findall(rf"^{case}: (\d+) of (\d+) tiles, about \d+m\d\ds left$", said, re.MULTILINE)
        assert [int(done) for done, _ in lines] == list(range(1, int(lines[0][1])))


def test_what_is_wrong_with_a_model_is_said(tmp_path):
    with pytest.raises(BadUsage, match=r"plans\.json"):
        Model.load(tmp_path)
    folder = models.write(tmp_path / "model", models.plans(), models.DATASET)
    with pytest.raises(BadUsage, match=r"fold_4.*checkpoint_final\.pth: 0"):
        Model.load(folder, folds=["4"])
    with pytest.raises(BadUsage, match=r"checkpoint_best\.pth"):
        available_folds(folder, "checkpoint_best.pth")
    changed = models.plans()
    changed["configurations"]["small"]["architecture"]["arch_kwargs"]["features_per_stage"] = [3, 12]
    other = models.write(tmp_path / "other", changed, models.DATASET)
    shutil.copy(folder / "fold_0/checkpoint_final.pth", other / "fold_0/checkpoint_final.pth")
    with pytest.raises(BadConfiguration, match="does not fit") as fault:
        Model.load(other)
    assert any("(4, 3, 3, 3, 3) in the checkpoint, (12, 3, 3, 3, 3) in the network" in line for line in fault.value.findings)
    (folder / "fold_0/checkpoint_final.pth").write_bytes(b"torn")
    with pytest.raises(BadData, match="not a whole checkpoint"):
        Model.load(folder)


def volume(path: Path, channels: int = 1) -> None:
    array = np.ones((3, 4, 5), np.float32)
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(image if channels == 1 else sitk.JoinSeries([image] * channels), str(path))


def test_channels_are_found_and_missed(tmp_path):
    reader = by_name("SimpleITKIO")
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", ".c_0000.nii.gz"):
        volume(tmp_path / name)
    (tmp_path / "readme.txt").touch()
    with pytest.raises(BadData, match="the model needs 2 channels of every case") as fault:
        find_images(tmp_path, ".nii.gz", 2, reader)
    assert fault.value.findings == ("b: has 1 channel (b_0000.nii.gz: 1), the model needs 2",)
    volume(tmp_path / "b_0001.nii.gz")
    assert list(find_images(tmp_path, ".nii.gz", 2, reader)) == ["a", "b"]
    with pytest.raises(BadUsage, match="no images named"):
        find_images(tmp_path, ".png", 2, reader)


def test_a_file_may_have_several_channels(tmp_path):
    reader = by_name("SimpleITKIO")
    volume(tmp_path / "whole_0000.nii.gz", 3)
    volume(tmp_path / "mixed_0000.nii.gz", 2)
    volume(tmp_path / "mixed_0001.nii.gz")
    found = find_images(tmp_path, ".nii.gz", 3, reader)
    assert {case: [path.name for path in files] for case, files in found.items()} == {
        "mixed": ["mixed_0000.nii.gz", "mixed_0001.nii.gz"],
        "whole": ["whole_0000.nii.gz"],
    }
    volume(tmp_path / "mixed_0002.nii.gz")
    volume(tmp_path / "gap_0000.nii.gz", 2)
    volume(tmp_path / "gap_0002.nii.gz")
    (tmp_path / "broken_0000.nii.gz").write_bytes(b"no image")  # it is left out when it is read
    with pytest.raises(BadData) as fault:
        find_images(tmp_path, ".nii.gz", 3, reader)
    gap, mixed = fault.value.findings
    assert gap == "gap: has files 0000, 0002, expected them to be numbered from 0000 on without gaps"
    assert mixed == ("mixed: has 4 channels (mixed_0000.nii.gz: 2, mixed_0001.nii.gz: 1, mixed_0002.nii.gz: 1), the model needs 3")
