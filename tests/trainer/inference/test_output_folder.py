"""What a folder of predictions holds already: whole or not, this model's or another's; nothing of others is replaced."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer import cli
from nnunet_trainer.contract.faults import BadData, BadUsage, ExitCode
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.inference.existing import segmentation_is_whole
from nnunet_trainer.inference.model import Model
from nnunet_trainer.inference.prediction import predict_folder
from support.damages import empty, halve

from . import models
from .test_warnings import voxels, write

ENDINGS = [
    ("SimpleITKIO", ".nii.gz"),
    ("SimpleITKIO", ".nrrd"),
    ("SimpleITKIO", ".mha"),
    ("NibabelIO", ".nii.gz"),
    ("NibabelIO", ".nii"),
    ("Tiff3DIO", ".tif"),
]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for case in "abc":
        write(folder / f"{case}_0000.nii.gz", voxels())
    return folder


@pytest.fixture
def written(tmp_path):
    return models.write(tmp_path / "model", models.plans(patch=(16, 16, 16)), models.DATASET, folds=("0", "1"), mirror_axes=())


@pytest.fixture
def model(written):
    return Model.load(written, folds=["0"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def predicted(model, images, out, **options):
    """The cases that this call predicted, and what it said."""
    seen, said = [], []
    predict_folder(model, images, out, progress=lambda done, total, case: seen.append(case), warn=said.append, **options)
    return seen, said


def test_probabilities_asked_for_later_are_made(model, images, tmp_path):
    predicted(model, images, tmp_path / "first", save_probabilities=True)
    out = tmp_path / "out"
    predicted(model, images, out)
    before = contents(out)
    assert predicted(model, images, out, existing="keep") == ([], [])
    assert contents(out) == before
    assert predicted(model, images, out, existing="keep", save_probabilities=True)[0] == ["a", "b", "c"]
    assert contents(out).keys() == contents(tmp_path / "first").keys()
    assert predicted(model, images, out, existing="keep", save_probabilities=True)[0] == []
    for name, damage in (("a.npz", lambda path: path.unlink()), ("b.pkl", lambda path: path.unlink()), ("c.npz", halve)):
        damage(out / name)
        assert predicted(model, images, out, existing="keep", save_probabilities=True)[0] == [name[0]]
        assert predicted(model, images, out, existing="keep")[0] == [], "nobody asked for probabilities"


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [halve, empty, shorten])
def test_a_segmentation_that_is_not_whole_is_predicted_again(damage, model, images, tmp_path):
    out = tmp_path / "out"
    predicted(model, images, out)
    before = contents(out)
    damage(out / "b.nii.gz")
    seen, said = predicted(model, images, out, existing="keep")
    assert seen == ["b"]
    assert len(said) == 1
    assert f"{out / 'b.nii.gz'} is not whole" in said[0]
    assert contents(out) == before


@pytest.mark.parametrize("damage", [halve, empty])
@pytest.mark.parametrize(("name", "ending"), ENDINGS)
def test_whole_segmentations_of_every_format(name, ending, damage, tmp_path):
    image, file, reader = tmp_path / f"a_0000{ending}", tmp_path / f"a{ending}", by_name(name)
    write(image, voxels())
    _, properties = reader.read_images([image])
    reader.write_seg((voxels() > 10).astype(np.uint8), file, properties)
    assert segmentation_is_whole(file, reader)
    damage(file)
    assert not segmentation_is_whole(file, reader)
    file.unlink()
    assert not segmentation_is_whole(file, reader)


def test_half_written_probabilities_never_bear_a_name(model, images, tmp_path, monkeypatch):
    def dies(stream, **arrays):
        stream.write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", dies)
    with pytest.raises(Exception, match=r"a\.npz cannot be written"):
        predicted(model, images, tmp_path / "out", save_probabilities=True)
    assert not list((tmp_path / "out").glob("*.npz"))
    assert not list((tmp_path / "out").glob(".*.partial"))


def test_older_probabilities_do_not_outlive_their_prediction(model, images, tmp_path):
    out = tmp_path / "out"
    predicted(model, images, out, save_probabilities=True)
    _, said = predicted(model, images, out, existing="overwrite")
    assert "3 older files of probabilities (a.npz …) will be removed" in said[0]
    assert not list(out.glob("*.npz")) + list(out.glob("*.pkl"))


def test_the_properties_are_those_that_a_reader_writes_with(model, images, tmp_path):
    predicted(model, images, tmp_path / "out", save_probabilities=True)
    properties = pickle.loads((tmp_path / "out/a.pkl").read_bytes())
    assert properties["spacing"] == [1, 1, 1]
    assert properties["sitk_stuff"]["spacing"] == (1, 1, 1)
    assert tuple(properties["shape_before_cropping"]) == voxels().shape


FOREIGN = {
    "a dataset": {"dataset.json": "{}", "imagesTr/a_0000.nii.gz": "x", "labelsTr/a.nii.gz": "x"},
    "a dataset with our own dataset.json": {"dataset.json": json.dumps(models.DATASET), "labelsTr/a.nii.gz": "x"},
    "a preprocessed dataset": {"dataset.json": json.dumps(models.DATASET), "gt_segmentations/a.nii.gz": "x"},
    "a model": {"plans.json": "{}", "fold_0/checkpoint_final.pth": "x"},
    "only another dataset.json": {"dataset.json": json.dumps({**models.DATASET, "numTraining": 99})},
    "only other plans": {"plans.json": json.dumps({**models.plans(patch=(16, 16, 16)), "plans_name": "others"})},
    "what is no JSON": {"plans.json": '{"half'},
    "files of the predictions' names": {"a.nii.gz": "somebody's labels"},
}


@pytest.mark.parametrize("existing", ["refuse", "overwrite"])
@pytest.mark.parametrize("what", FOREIGN)
def test_nothing_of_others_is_replaced(what, existing, model, images, tmp_path):
    out = tmp_path / "out"
    for name, text in FOREIGN[what].items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(BadUsage) as caught:
        predicted(model, images, out, existing=existing)
    assert str(out) in caught.value.message
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    predicted(model, images, tmp_path / "elsewhere")  # as the hint says
    assert "-o" in caught.value.hint or "--continue" in caught.value.hint


def test_an_image_is_not_replaced_by_a_segmentation(model, images):
    write(images / "d_0000_0000.nii.gz", voxels())
    write(images / "d_0000.nii.gz", voxels())
    before = contents(images)
    with pytest.raises(BadUsage, match=r"d_0000\.nii\.gz is an image"):
        predicted(model, images, images, existing="overwrite")
    assert contents(images) == before


def test_models_are_not_mixed(written, images, tmp_path):
    out = tmp_path / "out"
    predicted(Model.load(written, folds=["0"]), images, out)
    (out / "b.nii.gz").unlink()
    both = Model.load(written)
    with pytest.raises(BadUsage, match=r"holds predictions by small, fold 0, .*; this is small, fold 0, 1") as caught:
        predicted(both, images, out, existing="keep")
    assert "--overwrite" in caught.value.hint
    assert predicted(both, images, out, existing="overwrite")[0] == ["a", "b", "c"]
    assert predicted(both, images, out, existing="keep")[0] == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"step": 0.7}, "with a step size of 0.5; this is .* with a step size of 0.7"),
        ({"mirroring": False}, "mirrored along 0, 1, 2, .*; this is .* not mirrored"),
        ({"mirroring": False, "step": 1.0}, "not mirrored, with a step size of 1"),
    ],
)
def test_predictions_that_were_made_otherwise_are_not_mixed(changed, said, tmp_path, images):
    model = Model.load(models.write(tmp_path / "mirrored", models.plans(patch=(16, 16, 16)), models.DATASET))
    out = tmp_path / "out"
    predicted(model, images, out)
    (out / "c.nii.gz").unlink()
    with pytest.raises(BadUsage, match=said) as caught:
        predicted(model, images, out, existing="keep", window=model.window(**changed))
    assert caught.value.reason == "OtherPredictions"
    assert predicted(model, images, out, existing="keep", window=model.window(batch=1, precision="fp32"))[0] == ["c"]
    assert predicted(model, images, out, existing="overwrite", window=model.window(**changed))[0] == ["a", "b", "c"]
    assert predicted(model, images, out, existing="keep", window=model.window(**changed))[0] == []


def test_a_record_that_says_nothing_of_tiles_is_gone_on_with(model, images, tmp_path):
    out = tmp_path / "out"
    predicted(model, images, out)
    record = json.loads((out / ".nnunet/prediction.json").read_text())
    for name in ("mirrorAxes", "stepSize"):
        del record["model"][name]
    (out / ".nnunet/prediction.json").write_text(json.dumps(record))
    assert predicted(model, images, out, existing="keep", window=model.window(step=0.7))[0] == []


def test_folders_of_earlier_versions_are_gone_on_with(model, images, tmp_path):
    out = tmp_path / "out"
    predicted(model, images, out)
    shutil.rmtree(out / ".nnunet")
    (out / "b.nii.gz").unlink()
    assert predicted(model, images, out, existing="keep")[0] == ["b"]


def test_what_killed_runs_left_goes(model, images, tmp_path):
    import os

    out = tmp_path / "out"
    out.mkdir()
    old, young = out / ".123.a.nii.gz", out / ".124.b.npz.partial"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    predicted(model, images, out)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_damaged_previous_stage_is_named(images, tmp_path):
    from nnunet_trainer.inference.images import find_previous

    reader = by_name("SimpleITKIO")
    for case in "ab":
        write(tmp_path / f"{case}.nii.gz", (voxels() > 10).astype(np.uint8))
    halve(tmp_path / "b.nii.gz")
    with pytest.raises(BadData, match="no whole segmentation of 2 of 3") as caught:
        find_previous(tmp_path, "abc", ".nii.gz", reader)
    assert caught.value.findings[0].startswith("b: b.nii.gz: truncated")
    assert caught.value.findings[1] == "c: no c.nii.gz"
    assert "--continue" in caught.value.hint


def test_the_command_refuses_before_it_predicts(written, images, tmp_path, capsys):
    dataset = tmp_path / "Dataset001_A"
    (dataset / "labelsTr").mkdir(parents=True)
    (dataset / "dataset.json").write_text("{}")
    command = ["predict", "--model", str(written), "-i", str(images), "-o", str(dataset), "--device", "cpu"]
    assert cli.main(command) == ExitCode.BAD_USAGE
    assert "is the folder of a dataset" in capsys.readouterr().err
    assert (dataset / "dataset.json").read_text() == "{}"
    assert sorted(path.name for path in dataset.iterdir()) == ["dataset.json", "labelsTr"]


@pytest.mark.parametrize("first", [["0"], ["0", "1"]])
def test_an_overwriting_that_was_killed_mixes_nothing(first, written, images, tmp_path):
    """What it had not yet replaced is still the other model's."""
    out = tmp_path / "out"
    before, after = Model.load(written, folds=first), Model.load(written, folds=["1"])
    predicted(before, images, out)

    def die(done, total, case):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_folder(after, images, out, existing="overwrite", progress=die)
    with pytest.raises(BadUsage, match="They are not to be mixed"):
        predicted(after, images, out, existing="keep")
    assert predicted(after, images, out, existing="overwrite")[0] == ["a", "b", "c"]
    assert predicted(after, images, out, existing="keep")[0] == []


def test_cases_of_two_models_in_one_folder_are_told_apart(written, images, tmp_path):
    out, some = tmp_path / "out", tmp_path / "some"
    some.mkdir()
    shutil.copy(images / "a_0000.nii.gz", some)
    one, other = Model.load(written, folds=["0"]), Model.load(written, folds=["1"])
    predicted(one, images, out)
    predicted(other, some, out, existing="overwrite")
    with pytest.raises(BadUsage, match="holds predictions by small, fold 0"):
        predicted(other, images, out, existing="keep")
    with pytest.raises(BadUsage, match="holds predictions by small, fold 1"):
        predicted(one, images, out, existing="keep")
    assert predicted(other, some, out, existing="keep")[0] == []


def test_a_folder_where_a_segmentation_belongs(model, images, tmp_path):
    (tmp_path / "out" / "b.nii.gz").mkdir(parents=True)
    with pytest.raises(BadUsage, match=r"b\.nii\.gz is a folder"):
        predicted(model, images, tmp_path / "out", existing="keep")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.nii.gz"]


def test_the_folder_of_a_fold_takes_no_predictions(written, model, images):
    with pytest.raises(BadUsage, match="the folder of a model"):
        predicted(model, images, written / "fold_0")


def test_predictions_beside_their_images_are_not_said_to_be_left_out(model, images):
    predicted(model, images, images)
    assert predicted(model, images, images, existing="keep") == ([], [])


@pytest.mark.parametrize("device", ["gpu", "mps", "meta", "cuda:x", "cuda:9999", ""])
def test_devices_that_there_are_not(device, written, images, tmp_path, capsys):
    command = ["predict", "--model", str(written), "-i", str(images), "-o", str(tmp_path / "out"), "--device", device]
    assert cli.main(command) == ExitCode.BAD_USAGE
    assert "--device is" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("device", "said"), [("auto", "torch sees no GPU on this machine"), ("cpu", "--device cpu")])
def test_the_device_is_said(device, said, written, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    command = ["predict", "--model", str(written), "-i", str(images), "-o", str(tmp_path / "out"), "--device", device]
    assert cli.main(command) == 0
    assert f"Predicting on the CPU: {said}." in capsys.readouterr().err
