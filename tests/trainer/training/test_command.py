"""`nnunet-trainer train` on real images, and what a person's mistakes get."""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.cli import main
from nnunet_trainer.training.loop import fold_training

from .conftest import DATASET, dataset_json, plans

EXAMPLES = Path(__file__).parents[3] / "examples" / "data"


@pytest.fixture
def folder(preprocessed, tmp_path):
    """The balls with plans.json and dataset.json beside them, as a person has them."""
    target = tmp_path / "nnUNet_preprocessed" / DATASET
    shutil.copytree(preprocessed, target)
    (target / "nnUNetPlans.json").write_text(json.dumps(plans()))
    (target / "dataset.json").write_text(json.dumps(dataset_json()))
    return target


QUICK = "name: quick\nrecipe: {epochs: 1, iterationsPerEpoch: 2, validationIterations: 1}\n"
ENDLESS = "name: quick\nrecipe: {epochs: 2, iterationsPerEpoch: 1000000, validationIterations: 1}\n"


def line(folder, *extra, recipe=QUICK, **options):
    """The command's arguments: `--fold all` unless `fold=...`; None leaves one out."""
    base = folder.parent.parent
    chosen = {
        "preprocessed": folder,
        "output": base / "results",
        "configuration": "3d_fullres",
        "fold": "all",
        "device": "cpu",
        "workers": 0,
    }
    if recipe is not None:
        (base / "recipe.yaml").write_bytes(recipe if isinstance(recipe, bytes) else recipe.encode())
        chosen["recipe"] = base / "recipe.yaml"
    chosen |= {key.replace("_", "-"): value for key, value in options.items()}
    return ["train", *(f"--{key}={value}" for key, value in chosen.items() if value is not None), *extra]


def test_a_training_by_hand_is_found_and_continued(folder, tmp_path, capsys):
    assert main(line(folder)) == 0
    model = tmp_path / "results" / DATASET / "quick__nnUNetPlans__3d_fullres"
    assert (model / "fold_all" / "checkpoint_final.pth").exists()
    assert not (model / "fold_all" / "validation").exists()
    capsys.readouterr()
    assert main(line(folder)) == 64
    assert "--continue" in capsys.readouterr().err
    assert main(line(folder, "--continue")) == 0
    assert "finished already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"configuration": "3d_lowres"}, 78, "no configuration named '3d_lowres'"),
        ({"plans_name": "other"}, 78, "other.json"),
        ({"fold": "first"}, 78, "no fold 'first'"),
        ({"fold": "-1"}, 78, "no fold '-1'"),
        ({"device": "cuda:77"}, 78, "78 GPUs are needed here"),
        ({"recipe": "epochs: ["}, 78, "recipe.yaml, line 2, column 1: "),
        ({"recipe": "a: 1\nepochs: 3\nepochs: 4"}, 78, "recipe.yaml, line 3, column 1: the key 'epochs' is given twice"),
        ({"recipe": "name: x\nrecipe: {optimizer: {learningRate: .inf}}"}, 78, "recipe.yaml, line 2, column 36: .inf"),
        ({"recipe": "epochs: 3\n---\nepochs: 4"}, 78, "recipe.yaml holds 2 documents"),
        ({"recipe": "name: x\nrecipe: {epochs: 3}".encode("utf-16")}, 78, "recipe.yaml is written in UTF-16 (little-endian)"),
        ({"recipe": "name: x  # für mich".encode("latin-1")}, 78, "recipe.yaml, line 1, column 13: the byte 0xfc is not UTF-8"),
        ({"recipe": ""}, 78, "recipe.yaml: an object was expected, found nothing"),
        ({"recipe": "- epochs: 3"}, 78, "recipe.yaml: an object was expected, found [{'epochs': 3}]"),
        ({"recipe": "name: 12\nrecipe: {epochs: 3}"}, 78, "recipe.yaml: name: a text was expected, found 12."),
        ({"recipe": "name: x\nbase: yes\nrecipe: {epochs: 3}"}, 78, "recipe.yaml: base: a text was expected, found True."),
        ({"recipe": "name: x\nrecipe: [epochs]"}, 78, "recipe.yaml: recipe: an object was expected, found ['epochs']"),
        ({"recipe": "name: x\nrecipe: {epochs: 1.5}"}, 78, "recipe.epochs: an integer at least 1 was expected, found 1.5"),
        ({"recipe": "epochs: 3"}, 64, "--trainer NAME"),
        ({"recipe": "epochs: 3", "trainer": "nnUNetTrainer"}, 78, "new name"),
        ({"recipe": None, "trainer": "nnUNetTrainr"}, 78, "Did you mean nnUNetTrainer"),
        ({"recipe": None, "epochs": 0}, 64, "--epochs is 0"),
        ({"recipe": None, "epochs": "many"}, 64, "invalid int value"),
        ({"pretrained_heads": "MatchByLabel"}, 64, "--pretrained-heads needs --pretrained CKPT"),
        ({"pretrained_input_channels": "Double"}, 64, "Repeat"),
        ({"pretrained": "absent.pth"}, 65, "no checkpoint at absent.pth"),
    ],
)
def test_a_mistake_gets_one_message(folder, capsys, options, code, message):
    assert main(line(folder, **options)) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_finished_training_is_gone_on_from(folder, tmp_path, capsys):
    assert main(line(folder)) == 0
    model = tmp_path / "results" / DATASET / "quick__nnUNetPlans__3d_fullres" / "fold_all"
    more = ["--continue-from", str(model), "--additional-epochs=2"]
    capsys.readouterr()
    assert main(line(folder, *more, output=tmp_path / "more")) == 64
    assert "needs --continue-schedule" in capsys.readouterr().err
    more.append("--continue-schedule=Restart")
    assert main(line(folder, *more, "--pretrained", str(model), output=tmp_path / "more")) == 64
    assert "exclude each other" in capsys.readouterr().err
    assert main(line(folder, *more)) == 64
    assert "ContinuesItself: " in capsys.readouterr().err
    assert main(line(folder, *more, output=tmp_path / "more")) == 0
    said = "2 epochs after its 1, poly restarted over these 2, learning rate 0.01 → 0.01"
    assert said in capsys.readouterr().err
    found = checkpoint.load(tmp_path / "more" / model.relative_to(tmp_path / "results") / "checkpoint_final.pth")
    assert found["logging"]["lrs"] == [0.01, 0.01, 0.01 * 0.5**0.9]


@pytest.mark.parametrize("given", [["--additional-epochs=2"], ["--continue-schedule=Stretch"], ["--continue-from=x.pth"]])
def test_what_belongs_together_is_given_together(folder, capsys, given):
    assert main(line(folder, *given)) == 64
    assert " needs --" in capsys.readouterr().err


def test_a_missing_folder_gets_one_message(folder, capsys):
    shutil.rmtree(folder / "nnUNetPlans_3d_fullres")
    assert main(line(folder)) == 65
    assert "Preprocess this configuration first" in capsys.readouterr().err


def test_epochs_without_a_recipe_name_the_trainer(folder, monkeypatch):

    class Seen(Exception):
        pass

    def stop(setup):
        raise Seen(setup.trainer, setup.recipe.epochs, setup.recipe.network.normalization)

    monkeypatch.setattr(fold_training, "train", stop)
    for options, expected in (
        ({"epochs": 7}, ("nnUNetTrainer_7epochs", 7, None)),
        ({"epochs": 1, "trainer": "nnUNetTrainerBN"}, ("nnUNetTrainerBN_1epoch", 1, "batch")),
    ):
        with pytest.raises(Seen) as seen:
            main(line(folder, recipe=None, **options))
        assert seen.value.args == expected


def test_numbers_of_a_recipe_are_those_that_kubectl_sends(folder, monkeypatch):
    class Seen(Exception):
        pass

    def stop(setup):
        found = setup.recipe
        raise Seen(
            found.epochs, found.iterations_per_epoch, found.validation_iterations, found.layer_decay, found.optimizer.parameters
        )

    monkeypatch.setattr(fold_training, "train", stop)
    recipe = (
        "name: on-1\nbase: nnUNetTrainer\nrecipe: {epochs: 1e2, iterationsPerEpoch: 1_000, validationIterations: 0x10,"
        " layerDecay: 1.0, optimizer: {name: AdamW, learningRate: 1e-3, weightDecay: 3E-5, amsgrad: off}}"
    )
    for content in (recipe, b"\xef\xbb\xbf" + recipe.encode(), "---\n# a comment\n" + recipe + "\n---\n"):
        with pytest.raises(Seen) as seen:
            main(line(folder, recipe=content))
        *numbers, parameters = seen.value.args
        assert repr(numbers) == "[100, 1000, 16, 1.0]"
        assert parameters["learning_rate"] == 0.001
        assert parameters["weight_decay"] == 3e-5
        assert parameters["amsgrad"] is False


def test_sigterm_saves_a_checkpoint(folder, tmp_path):
    assert main(line(folder, output=tmp_path / "before")) == 0
    fold = Path(DATASET, "quick__nnUNetPlans__3d_fullres", "fold_all")
    start = tmp_path / "before" / fold / "checkpoint_final.pth"
    command = [sys.executable, "-m", "nnunet_trainer.cli", *line(folder, recipe=ENDLESS, pretrained=start)]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        # It is said right before the first iteration.
        assert json.loads(process.stdout.readline())["phase"] == "training"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=180)
        assert process.returncode == 143
        assert "tensors loaded" in log
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    epoch, iteration = checkpoint.position(checkpoint.load(tmp_path / "results" / fold / "checkpoint_latest.pth"))
    assert epoch == 0
    assert iteration >= 1


def test_hippocampus_from_raw_images_to_validation_dice(tmp_path, capsys):
    """Real images: preprocess, train, validate; a small network and few steps, so only the way is tested, not the Dice."""
    raw = EXAMPLES / "Dataset004_Hippocampus"
    content = copy.deepcopy(plans())
    content["dataset_name"] = "Dataset004_Hippocampus"
    content["configurations"]["3d_fullres"] |= {
        "patch_size": [40, 56, 40],
        "median_image_size_in_voxels": [36.0, 50.0, 36.0],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset004_Hippocampus"
    (tmp_path / "plans.json").write_text(json.dumps(content))
    preprocess = ["preprocess", str(raw), "--plans", str(tmp_path / "plans.json"), "--configuration", "3d_fullres"]
    assert main([*preprocess, "-o", str(folder), "--workers", "1"]) == 0
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (raw / "labelsTr").iterdir())
    (folder / "splits_final.json").write_text(json.dumps([{"train": cases[1:], "val": cases[:1]}]))
    assert main(line(folder, fold="0")) == 0
    fold = tmp_path / "results" / "Dataset004_Hippocampus" / "quick__nnUNetPlans__3d_fullres" / "fold_0"
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    assert [Path(entry["prediction_file"]).name for entry in summary["metric_per_case"]] == [f"{cases[0]}.nii.gz"]
    assert "validation Dice" in capsys.readouterr().out


def test_trainers_are_listed(capsys):
    assert main(["trainers"]) == 0
    listed = capsys.readouterr().out
    assert "nnUNetTrainerBN " in listed
    assert main(["trainers", "nnUNetTrainer_5epochs"]) == 0
    assert "epochs: 5" in capsys.readouterr().out
    assert main(["trainers", "--components"]) == 0
    assert "momentum: a number between 0 and 1, 1 excluded, default 0.99" in capsys.readouterr().out
    assert main(["trainers", "nnUNetTrainer_5epoch5"]) == 78
