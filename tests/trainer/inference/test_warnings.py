"""Images that nobody verified: what is repaired, unlike the training's or left out is said, and kept in the folder's record."""

import errno
import gzip
import json
import os
import re
import struct
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadData, BadUsage, ExitCode, StorageFault
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.dataset.readers.repairs import read_repaired
from nnunet_trainer.dataset.storage_errors import raise_storage_error
from nnunet_trainer.inference import prediction
from nnunet_trainer.inference.images import find_images, left_out
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.prediction import predict_case, predict_folder
from nnunet_trainer.inference.spacing import unit_fault, unlike_training
from nnunet_trainer.planning.plans import Plans
from nnunet_trainer.preprocessing.case import preprocess_image
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from support.trainings.plans import RESAMPLING

from . import models

SHAPE = (12, 16, 14)


def voxels(dtype=np.float32, *bad):
    data = np.random.default_rng(3).normal(10, 2, SHAPE).astype(dtype)
    for place, value in enumerate(bad):
        data[1, place, 2] = value
    return data


def write(path, data, spacing=(1.0, 1.0, 1.0)):
    """A 3-D image in any of the formats; spacing z, y, x."""
    if path.suffix in (".tif", ".tiff"):
        tifffile.imwrite(path, data)
        return
    if path.name.endswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(data.transpose(2, 1, 0), np.diag([*spacing[::-1], 1.0])), str(path))
        return
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, str(path))


def damage_inside(path, packed):
    """Change a byte of the voxels in a packed stream; its length and its checksum stay as they were."""
    stream = zlib.compressobj(0, zlib.DEFLATED, 31 if path.name.endswith(".gz") else 15)
    content = bytearray(stream.compress(packed) + stream.flush())
    content[-len(packed) // 3] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_an_image_that_is_damaged_inside_is_named_and_the_others_are_predicted(tmp_path, ending):
    folder = models.write(
        tmp_path / "model", models.plans(patch=(16, 16, 16)), {**models.DATASET, "file_ending": ending}, mirror_axes=()
    )
    model = Model.load(folder)
    images = tmp_path / "images"
    images.mkdir()
    large = np.zeros((60, 128, 128), np.float32)  # of one that it reads at once, ITK sees the checksum
    large[: SHAPE[0], : SHAPE[1], : SHAPE[2]] = voxels()
    for case in "ab":
        write(images / f"{case}_0000{ending}", large)
    broken = images / f"b_0000{ending}"
    if ending == ".nii.gz":
        broken.write_bytes(damage_inside(broken, gzip.decompress(broken.read_bytes())))
    else:
        image = sitk.ReadImage(str(broken))
        sitk.WriteImage(image, str(broken), True)
        header, _, packed = broken.read_bytes().partition(b"ElementDataFile = LOCAL\n")
        changed = damage_inside(broken, zlib.decompress(packed))
        header = re.sub(rb"CompressedDataSize = \d+", f"CompressedDataSize = {len(changed)}".encode(), header)
        broken.write_bytes(header + b"ElementDataFile = LOCAL\n" + changed)
    assert by_name("SimpleITKIO").read(broken).data.shape, "a reader takes it for whole"
    with pytest.raises(BadData, match="1 of 2 images is not predicted") as caught:
        predict_folder(model, images, tmp_path / "out")
    assert str(broken) in caught.value.findings[0]
    assert "damaged" in caught.value.findings[0]
    assert [path.name for path in (tmp_path / "out").glob(f"*{ending}")] == [f"a{ending}"]


UNREADABLE = {
    "empty": (lambda path: path.write_bytes(b""), "is empty: it has 0 bytes"),
    "no image": (lambda path: path.write_bytes(b"<html>404 Not Found</html>"), ""),
    "cut in its header": (lambda path: path.write_bytes(path.read_bytes()[:40]), ""),
    "link to nothing": (
        lambda path: (path.unlink(), path.symlink_to("/nowhere/b")),
        "is a link to /nowhere/b, which does not exist",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_an_image_that_cannot_be_read_at_all_is_named_and_the_others_are_predicted(tmp_path, ending, kind):
    description = {**models.DATASET, "file_ending": ending}
    model = Model.load(models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), description, mirror_axes=()))
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for case in "ab":
        write(images / f"{case}_0000{ending}", voxels())
    damage, said = UNREADABLE[kind]
    damage(images / f"b_0000{ending}")
    with pytest.raises(BadData, match="1 of 2 images is not predicted; all others are") as caught:
        predict_folder(model, images, out)
    assert f"b_0000{ending}" in caught.value.findings[0]
    assert said in caught.value.findings[0]
    assert [path.name for path in out.glob(f"*{ending}")] == [f"a{ending}"]


def test_an_image_whose_storage_does_not_answer_is_not_called_damaged_and_the_others_are_predicted(tmp_path, monkeypatch):
    folder = models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), {**models.DATASET}, mirror_axes=())
    model, images = Model.load(folder), tmp_path / "images"
    images.mkdir()
    for case in "ab":
        write(images / f"{case}_0000.nii.gz", voxels())
    lost, real = images / "a_0000.nii.gz", prediction.require_undamaged

    def require_undamaged(files, reader):
        if lost in files:
            raise_storage_error(OSError(errno.EIO, os.strerror(errno.EIO)), lost)
        real(files, reader)

    monkeypatch.setattr(prediction, "require_undamaged", require_undamaged)
    with pytest.raises(StorageFault, match="1 of 2 images is not predicted; all others are") as caught:
        predict_folder(model, images, tmp_path / "out")
    assert caught.value.findings == (f"{lost}: Input/output error.",)
    assert (tmp_path / "out" / "b.nii.gz").exists()


FORMATS = [
    ("SimpleITKIO", ".nii.gz"),
    ("SimpleITKIO", ".nrrd"),
    ("SimpleITKIO", ".mha"),
    ("SimpleITKIOWithReorient", ".nii.gz"),
    ("NibabelIO", ".nii.gz"),
    ("NibabelIO", ".nii"),
    ("NibabelIOWithReorient", ".nii.gz"),
    ("Tiff3DIO", ".tif"),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("reader", "ending"), FORMATS)
def test_what_is_no_number_becomes_zero_in_every_format(reader, ending, dtype, tmp_path):
    clean, file = tmp_path / f"a_0000{ending}", tmp_path / f"b_0000{ending}"
    write(clean, voxels(dtype, 0, 0, 0))
    write(file, voxels(dtype, np.nan, np.inf, -np.inf))
    expected, _, nothing = read_repaired(by_name(reader), [clean])
    found, _, notes = read_repaired(by_name(reader), [file])
    np.testing.assert_array_equal(found, expected)
    assert nothing == []
    assert notes == [f"{file}: 3 voxels are NaN or infinite; taken as 0."]


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_each_file_of_a_case_is_named(ending, tmp_path):
    files = [tmp_path / f"a_000{channel}{ending}" for channel in range(3)]
    for file, bad in zip(files, ((), (np.nan,), (np.inf, np.nan)), strict=True):
        write(file, voxels(np.float32, *bad))
    data, _, notes = read_repaired(by_name("SimpleITKIO"), files)
    assert np.isfinite(data).all()
    assert notes == [
        f"{files[1]}: 1 voxel is NaN or infinite; taken as 0.",
        f"{files[2]}: 2 voxels are NaN or infinite; taken as 0.",
    ]


def test_integers_have_nothing_to_repair(tmp_path):
    write(tmp_path / "a_0000.nii.gz", voxels(np.int16))
    assert read_repaired(by_name("SimpleITKIO"), [tmp_path / "a_0000.nii.gz"])[2] == []


def with_pixdim(path, *pixdim, codes=(0, 0)):
    write(path, voxels())
    header = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3f", header, 80, *pixdim)
    struct.pack_into("<2h", header, 252, *codes)
    path.write_bytes(gzip.compress(bytes(header)))
    return path


@pytest.mark.parametrize("codes", [(0, 0), (1, 0)])
@pytest.mark.parametrize(
    ("reader", "pixdim", "axes"),
    [
        *[(reader, (0, 1, 1), "x") for reader in ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")],
        *[(reader, (0, 0, 0), "xyz") for reader in ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")],
        *[(reader, (1, np.nan, 1), "y") for reader in ("SimpleITKIO", "NibabelIO")],
        ("SimpleITKIO", (1, 1, 0), "z"),
    ],
)
def test_a_pixdim_that_is_none_is_said(reader, codes, pixdim, axes, tmp_path):
    file = with_pixdim(tmp_path / "a_0000.nii.gz", *pixdim, codes=codes)
    _, properties, notes = read_repaired(by_name(reader), [file])
    assert list(properties["spacing"]) == [1, 1, 1]
    assert len(notes) == len(axes)
    assert all(f"the pixdim along {axis} is" in note and str(file) in note for axis, note in zip(axes, notes, strict=True))


def plan(median=(2.5, 0.8, 0.8), target=(2.5, 0.8, 0.8), transpose=(0, 1, 2)):
    made = models.plans(spacing=target, patch=(8,) * len(target), transpose=transpose)
    made["original_median_spacing_after_transp"] = list(median) if median else None
    plans = Plans(made)
    return plans, plans.configuration("small")


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        ((2.5, 0.8, 0.8), None),
        ((5.0, 0.5, 0.5), None),
        ((1.3, 1.5, 1.5), None),
        ((1.0, 1.0, 1.0), "2.5 times as fine along z (1 mm; in the training 2.5)"),
        ((2.5, 0.08, 0.08), "10 times as fine along y (0.08 mm; in the training 0.8), 10 times as fine along x"),
        ((10.0, 0.8, 0.8), "4 times as coarse along z (10 mm; in the training 2.5)"),
        ((0.0025, 0.0008, 0.0008), "1e+03 times as fine along z"),
    ],
)
def test_spacings_far_from_the_trainings(spacing, said):
    found = unlike_training(spacing, *plan())
    assert found is None if said is None else said in found


def test_spacings_by_axis_range_and_configuration():
    turned = plan(median=(2.5, 0.8, 0.8), transpose=(2, 0, 1))
    assert unlike_training((0.8, 0.8, 2.5), *turned) is None
    assert "along x (0.8 mm; in the training 2.5)" in unlike_training((0.8, 0.8, 0.8), *turned)
    seen = [[5.0, 0.8, 0.8], [1.0, 0.8, 0.8], [2.5, 0.9, 0.9]]
    assert unlike_training((1.0, 0.8, 0.8), *plan(), seen) is None
    assert "in the training 2.5, 1 to 5" in unlike_training((7.0, 0.8, 0.8), *plan(), seen)
    assert unlike_training((1.2, 0.8, 0.8), *plan(median=None)) is not None
    two = plan(target=(0.8, 0.8))
    assert unlike_training((40.0, 0.8, 0.8), *two) is None, "between slices nothing is resampled"
    assert "5 times as coarse along y" in unlike_training((40.0, 4.0, 0.8), *two)


def test_files_that_are_left_out_are_named_and_why(tmp_path):
    names = ("a_0000.nii.gz", "b.nii.gz", "c_000.nii.gz", "d_0000.nii", "e_0000.nrrd", "f_0000.NII.GZ", "g_0000.dcm", "h_0000")
    for name in (*names, "readme.txt", "dataset.json", ".hidden_0000.nii"):
        (tmp_path / name).touch()
    for folder in ("more", "out", "empty"):
        (tmp_path / folder).mkdir()
    for folder in ("more", "out"):
        (tmp_path / folder / "i_0000.nii.gz").touch()
    found = dict(line.split(": ", 1) for line in left_out(tmp_path, ".nii.gz", but=[tmp_path / "out"]))
    assert list(found) == [*names[1:], "more/"]
    assert found["b.nii.gz"] == "no channel number; expected a name like b_0000.nii.gz"
    assert found["c_000.nii.gz"] == "a channel number of 3 digits; expected a name like c_0000.nii.gz"
    assert found["d_0000.nii"] == "it ends in .nii, the model's images in .nii.gz"
    assert found["g_0000.dcm"] == "it ends in .dcm, the model's images in .nii.gz"
    assert found["h_0000"] == "it ends in nothing, the model's images in .nii.gz"
    assert "only those in" in found["more/"]


def test_a_folder_of_misnamed_images_says_so(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(BadUsage, match="no images named") as caught:
        find_images(tmp_path, ".nii.gz", 1, by_name("SimpleITKIO"))
    assert caught.value.findings == ("a.nii.gz: no channel number; expected a name like a_0000.nii.gz",)


@pytest.fixture
def folders(tmp_path):
    """A model and a folder with a good image, one with a NaN, one of a far spacing, and one that is misnamed."""
    images = tmp_path / "images"
    images.mkdir()
    write(images / "good_0000.nii.gz", voxels())
    write(images / "nan_0000.nii.gz", voxels(np.float32, np.nan))
    write(images / "far_0000.nii.gz", voxels(), (8.0, 1.0, 1.0))
    write(images / "misnamed.nii.gz", voxels())
    return (
        models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), models.DATASET, mirror_axes=()),
        images,
        tmp_path / "out",
    )


def test_the_command_says_it_and_keeps_it(folders, capsys):
    model, images, out = folders
    command = ["predict", "--model", str(model), "-i", str(images), "-o", str(out), "--no-mirroring", "--device", "cpu"]
    assert cli.main(command) == 0
    said = capsys.readouterr().err
    assert "Warning: 1 is left out" in said
    assert "misnamed.nii.gz: no channel number" in said
    assert f"Warning: {images / 'nan_0000.nii.gz'}: 1 voxel is NaN or infinite; taken as 0." in said
    assert f"Warning: {images / 'far_0000.nii.gz'}: the spacing is far from the training's: 8 times as coarse along z" in said
    assert str(images / "good_0000.nii.gz") not in said
    kept = json.loads((out / ".nnunet/prediction.json").read_text())["warnings"]
    assert sorted(kept) == ["", "far", "nan"]
    (out / "good.nii.gz").unlink()
    assert cli.main([*command, "--continue"]) == 0
    assert sorted(json.loads((out / ".nnunet/prediction.json").read_text())["warnings"]) == ["", "far", "nan"]


def test_what_is_known_of_a_file_is_said_before_it_is_resampled_and_its_size_before_it_is_predicted(folders, monkeypatch):
    model, images, out = folders
    loaded, said, done = Model.load(model), [], []

    def resample(*arguments, **options):
        done.append(("resampled", len(said)))
        return preprocess_image(*arguments, **options)

    def predict(*arguments):
        done.append(("predicted", len(said)))
        return logits(*arguments)

    logits = Model.logits
    monkeypatch.setattr(prediction, "preprocess_image", resample)
    monkeypatch.setattr(Model, "logits", predict)
    for name in ("good", "nan"):
        (images / f"{name}_0000.nii.gz").unlink()
    predict_folder(loaded, images, out, window=loaded.window(mirroring=False), warn=said.append)
    left, far, grown = said
    assert "is left out" in left
    assert "8 times as coarse along z" in far
    assert grown == f"{images / 'far_0000.nii.gz'}: 96×16×14 voxels at the model's spacing, which are predicted as 11 tiles."
    assert done == [("resampled", 2), ("predicted", 3)]
    assert json.loads((out / ".nnunet/prediction.json").read_text())["warnings"] == {"": [left], "far": [far, grown]}


@pytest.mark.parametrize(("spacing", "what"), [((0.3, 1.0, 1.0), "3.33 times as fine along z"), ((1.9, 1.0, 1.0), None)])
def test_the_size_is_said_where_a_far_spacing_makes_it_greater(spacing, what, folders):
    model, images, out = folders
    write(images / "far_0000.nii.gz", voxels(), spacing)
    said = []
    loaded = Model.load(model)
    predict_folder(loaded, images, out, window=loaded.window(mirroring=False), warn=said.append)
    about = [text for text in said if "far_0000" in text]
    assert [what in text for text in about] == [True] if what else not about


def test_a_nan_is_a_zero_to_the_network(folders, tmp_path):
    model, images, out = folders
    zero = tmp_path / "zero"
    zero.mkdir()
    write(zero / "nan_0000.nii.gz", voxels(np.float32, 0))
    loaded = Model.load(model)
    predict_folder(loaded, images, out)
    predict_folder(loaded, zero, tmp_path / "expected")
    read = by_name("SimpleITKIO").read_label
    np.testing.assert_array_equal(read(out / "nan.nii.gz"), read(tmp_path / "expected/nan.nii.gz"))
    data, properties = by_name("SimpleITKIO").read_images([images / "good_0000.nii.gz"])
    data[0, 1, 0, 2] = np.nan
    np.testing.assert_array_equal(predict_case(loaded, data, properties)[0][None], read(out / "nan.nii.gz"))


@pytest.mark.parametrize("bad", [1, None])
def test_the_final_validation_says_it_too(bad, tmp_path):
    from nnunet_trainer.inference import validate

    plans, out, warned = Plans(models.plans(patch=(16, 16, 16))), tmp_path / "out", []
    (tmp_path / "gt").mkdir()
    (tmp_path / "cases").mkdir()
    for case in ("a", "b"):
        write(tmp_path / f"{case}_0000.nii.gz", voxels())
        write(tmp_path / f"gt/{case}.nii.gz", (voxels() > 12).astype(np.uint8))
        images, properties = by_name("SimpleITKIO").read_images([tmp_path / f"{case}_0000.nii.gz"])
        seg = by_name("SimpleITKIO").read_label(tmp_path / f"gt/{case}.nii.gz")
        data, seg, properties = preprocess_image(images, properties, plans, "small", models.DATASET, seg)
        if case == "b":
            data[0, 2, 2, 2 : 2 + bad if bad else None] = np.nan
        write_case(tmp_path / "cases", case, data, seg, properties, (8, 16, 8))
    count = 1 if bad else SHAPE[2] - 2
    network = models.network(plans.content, models.DATASET)
    validate(
        network,
        plans=plans,
        configuration="small",
        dataset_json=models.DATASET,
        store=PreprocessedFolder(tmp_path / "cases"),
        cases=["a", "b"],
        ground_truth=tmp_path / "gt",
        out=out,
        warn=warned.append,
    )
    (said,) = warned
    assert f"{tmp_path / 'cases/b'}.b2nd" in said
    assert f"{count} voxel{' is' if count == 1 else 's are'} NaN or infinite; taken as 0" in said
    labels = by_name("SimpleITKIO").read_label(out / "b.nii.gz")
    assert (labels != by_name("SimpleITKIO").read_label(out / "a.nii.gz")).mean() < 0.2, "not background everywhere"


def test_links_and_folders_among_the_images(tmp_path):
    write(tmp_path / "a_0000.nii.gz", voxels())
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert left_out(tmp_path, ".nii.gz", but=[tmp_path / "loop", tmp_path / "missing"]) == []
    (tmp_path / "other").symlink_to(tmp_path / "other")
    assert [line.split(":")[0] for line in left_out(tmp_path, ".nii.gz")] == ["loop", "other"]
    (tmp_path / "b_0000.nii.gz").mkdir()
    with pytest.raises(BadData) as caught:
        find_images(tmp_path, ".nii.gz", 1, by_name("SimpleITKIO"))
    assert list(caught.value.findings) == ["b: b_0000.nii.gz is a folder, expected an image"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [(np.inf, -np.inf), (np.nan, np.inf), (-np.inf,)])
def test_infinities_of_both_signs_are_no_trouble_of_numpys(bad, tmp_path):
    write(tmp_path / "a.mha", voxels(np.float32, *bad))
    data, _, notes = read_repaired(by_name("SimpleITKIO"), [tmp_path / "a.mha"])
    assert np.isfinite(data).all()
    assert notes[0].split(": ")[1].startswith(f"{len(bad)} voxel")


IMPOSSIBLE = [
    ((0.001, 0.001, 0.001), "the spacing is in m, as it seems: 1e+03 times as fine along z (0.001 mm; in the training 1)"),
    ((0.0025, 0.0008, 0.0008), "the spacing is in m, as it seems"),
    ((1000.0, 1000.0, 1000.0), "the spacing is in µm, as it seems: 1e+03 times as coarse along z (1000 mm; in the training 1)"),
    ((2500.0, 800.0, 800.0), "the spacing is in µm, as it seems"),
    ((1.0, 1.0, 0.001), "Of an image of 12×16×14 voxels of 1×1×0.001 mm, nothing is left at 1×1×1 mm"),
    ((1.0, 1e8, 1.0), "Of an image of 12×16×14 voxels of 1×1e+08×1 mm, 12×1600000000×14 are made at 1×1×1 mm"),
    ((1000.0, 1000.0, 100.0), "Of an image of 12×16×14 voxels of 1000×1000×100 mm, 12000×16000×1400 are made"),
]


@pytest.mark.parametrize(("spacing", "what"), IMPOSSIBLE)
def test_an_impossible_spacing_is_bad_data_and_the_others_go_on(folders, spacing, what, capsys):
    model, images, out = folders
    write(images / "bad_0000.nii.gz", voxels(), spacing)
    command = ["predict", "--model", str(model), "-i", str(images), "-o", str(out), "--no-mirroring", "--device", "cpu"]
    assert cli.main(command) == ExitCode.BAD_DATA
    said = capsys.readouterr().err
    assert "InvalidCases: 1 of 4 images is not predicted; all others are." in said
    assert f"{images / 'bad_0000.nii.gz'}: {what}" in said.split("InvalidCases: ")[1]
    assert "it is in mm" in said
    assert {file.name for file in out.glob("*.nii.gz")} == {"good.nii.gz", "nan.nii.gz", "far.nii.gz"}
    assert any("not predicted" in line for line in json.loads((out / ".nnunet/prediction.json").read_text())["warnings"]["bad"])
    write(images / "bad_0000.nii.gz", voxels())
    assert cli.main([*command, "--continue"]) == 0
    assert (out / "bad.nii.gz").is_file()


def test_one_image_alone_is_named_too(folders, tmp_path, capsys):
    model, *_ = folders
    (tmp_path / "one").mkdir()
    write(tmp_path / "one/c_0000.nii.gz", voxels(), (1.0, 1.0, 0.001))
    command = ["predict", "--model", str(model), "-i", str(tmp_path / "one"), "-o", str(tmp_path / "o"), "--device", "cpu"]
    assert cli.main(command) == ExitCode.BAD_DATA
    assert "InvalidCases: " + str(tmp_path / "one/c_0000.nii.gz") in capsys.readouterr().err


def test_a_dataset_in_another_unit_is_predicted_in_that_unit():
    assert unit_fault((2500.0, 800.0, 800.0), *plan(median=(2500.0, 800.0, 800.0), target=(2500.0, 800.0, 800.0))) is None
    seen = [[2500.0, 800.0, 800.0], [2.5, 0.8, 0.8]]
    assert unit_fault((2500.0, 800.0, 800.0), *plan(), seen) is None
    assert "in µm" in unit_fault((2500.0, 800.0, 800.0), *plan(), [[2.5, 0.8, 0.8]])
    assert "in µm" in unit_fault((1.0, 800.0, 800.0), *plan(target=(0.8, 0.8))), "between slices nothing is resampled"


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path, capsys):
    model = models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), {**models.DATASET, "file_ending": ".mha"})
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for case in ("a", "b", "c"):
        write(images / f"{case}_0000.mha", voxels())
    whole = (images / "b_0000.mha").read_bytes()
    (images / "b_0000.mha").write_bytes(whole[: len(whole) * 3 // 4])
    command = ["predict", "--model", str(model), "-i", str(images), "-o", str(out), "--no-mirroring", "--device", "cpu"]
    assert cli.main(command) == ExitCode.BAD_DATA
    said = capsys.readouterr().err.split("InvalidCases: ")[1]
    assert said.startswith("1 of 3 images is not predicted; all others are.")
    assert f"{images / 'b_0000.mha'}: " in said
    assert {file.name for file in out.glob("*.mha")} == {"a.mha", "c.mha"}


def test_logits_that_fit_neither_whole_nor_in_parts_are_refused(tmp_path, capsys, monkeypatch):
    content = models.plans(spacing=(1.0, 0.8, 1.0), patch=(16, 16, 16))
    content["configurations"]["small"]["resampling_fn_probabilities_kwargs"] = {**RESAMPLING, "order": 3}
    model, images, out = (
        models.write(tmp_path / "model", content, models.DATASET, mirror_axes=()),
        tmp_path / "images",
        tmp_path / "out",
    )
    images.mkdir()
    write(images / "a_0000.nii.gz", voxels())
    write(images / "b_0000.nii.gz", voxels().repeat(2, axis=0))
    monkeypatch.setattr("nnunet_trainer.inference.large_images.memory_limit", lambda: 4 * 3 * 12 * 20 * 14)
    command = ["predict", "--model", str(model), "-i", str(images), "-o", str(out), "--device", "cpu"]
    assert cli.main(command) == ExitCode.BAD_DATA
    said = capsys.readouterr().err.split("InvalidCases: ")[1]
    assert "b_0000.nii.gz: The logits of 3 classes at 24×20×14 voxels are resampled in another way than linearly" in said
    assert "order 1" in said
    assert (out / "a.nii.gz").is_file()


def test_probabilities_that_do_not_fit_in_memory_are_refused(folders, capsys, monkeypatch):
    model, images, out = folders
    needed = 4 * 3 * 4 * 12 * 16 * 14
    monkeypatch.setattr("nnunet_trainer.inference.large_images.memory_limit", lambda: needed)
    write(images / "larger_0000.nii.gz", voxels().repeat(2, axis=0))
    command = ["predict", "--model", str(model), "-i", str(images), "-o", str(out), "--no-mirroring", "--save-probabilities"]
    assert cli.main([*command, "--device", "cpu"]) == ExitCode.BAD_DATA
    said = capsys.readouterr().err
    assert "larger_0000.nii.gz: The probabilities of 3 classes at 24×16×14 voxels take" in said
    assert "without --save-probabilities" in said
    assert (out / "good.npz").is_file()
