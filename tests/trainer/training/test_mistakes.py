"""What a person's mistakes get from `nnunet-trainer train`: one message that names the place, and the contract's exit code."""

import json

import pytest
import torch
from nnunet_trainer.cli import main

from .conftest import DATASET, dataset_json, plans
from .test_command import QUICK, folder, line  # noqa: F401

DIVERGING = """
name: quick
recipe: {epochs: 3, iterationsPerEpoch: 30, validationIterations: 1, optimizer: {learningRate: 1.0e+30}, gradientClip: null}
"""


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def configuration(data_folder, **changes):
    edit(data_folder / "nnUNetPlans.json", lambda p: p["configurations"]["3d_fullres"].update(changes))


def two_channels(data_folder):
    edit(data_folder / "dataset.json", lambda d: d.update(channel_names={"0": "T1", "1": "T2"}))

    def twice(content):
        for name in ("3d_fullres", "2d"):
            own = content["configurations"][name]
            own |= {field: own[field] * 2 for field in ("normalization_schemes", "use_mask_for_norm")}

    edit(data_folder / "nnUNetPlans.json", twice)


def splits(data_folder, **fold):
    (data_folder / "splits_final.json").write_text(json.dumps([{"train": ["ball_00"], "val": ["ball_01"]} | fold]))


def cases(data_folder):
    return data_folder / "nnUNetPlans_3d_fullres"


def damage(path):
    path.write_bytes(path.read_bytes()[:-40])


def poison(data_folder):
    """A NaN in every preprocessed image."""
    import numpy as np
    from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case

    store = PreprocessedFolder(cases(data_folder))
    for name in store.cases:
        case = store.open(name)
        data = case.data[:].copy()
        data[:] = np.nan
        write_case(cases(data_folder), name, data, case.seg[:], dict(case.properties), [8, 16, 16])


def label(data_folder, value):
    """A label that dataset.json does not name, in every case."""
    from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case

    store = PreprocessedFolder(cases(data_folder))
    for name in store.cases:
        case = store.open(name)
        seg = case.seg[:].copy()
        seg[seg == 2] = value
        write_case(cases(data_folder), name, case.data[:], seg, dict(case.properties), [8, 16, 16])


MISTAKES = {
    "a fold without training cases": (lambda f: splits(f, train=[]), {"fold": "0"}, 65, "Fold 0"),
    "a fold without validation cases": (lambda f: splits(f, val=[]), {"fold": "0"}, 65, "Fold 0"),
    "splits that are no JSON": (lambda f: (f / "splits_final.json").write_text("["), {"fold": "0"}, 65, "splits_final.json"),
    "a case that is not there": (lambda f: splits(f, train=["ball_77"]), {"fold": "0"}, 65, "ball_77"),
    "no labels to validate with": (splits, {"fold": "0"}, 65, "gt_segmentations has no label of ball_01"),
    "no dataset.json": (lambda f: (f / "dataset.json").unlink(), {}, 65, "dataset.json"),
    "labels that contradict each other": (
        lambda f: (f / "dataset.json").write_text(json.dumps(dataset_json({"background": 0, "a": 1, "b": 5}))),
        {},
        65,
        "consecutive",
    ),
    "plans without a patch": (lambda f: configuration(f, patch_size=None), {}, 78, "patch_size"),
    "a patch that the network cannot halve": (lambda f: configuration(f, patch_size=[7, 15, 15]), {}, 78, "patch"),
    "a batch of none": (lambda f: configuration(f, batch_size=0), {}, 78, "batch_size"),
    "an unknown network": (
        lambda f: configuration(
            f, architecture=plans()["configurations"]["3d_fullres"]["architecture"] | {"network_class_name": "x.Nt"}
        ),
        {},
        78,
        "Nt",
    ),
    "plans of other channels than dataset.json's": (
        lambda f: edit(f / "dataset.json", lambda d: d.update(channel_names={"0": "T1", "1": "T2"})),
        {},
        78,
        "one entry for each of the 2 channels",
    ),
    "data of other channels": (two_channels, {}, 65, "ball_00 has 1 channel; dataset.json has 2"),
    "a label that dataset.json does not name": (lambda f: label(f, 5), {}, 65, "5"),
    "images that hold no numbers": (poison, {}, 65, "ball_0"),
    "a case that is cut off": (lambda f: [damage(p) for p in cases(f).glob("*.b2nd")], {}, 65, "ball_0"),
    "a training that diverges": (lambda f: None, {"recipe": DIVERGING}, 78, "diverged"),
    "a pretrained file that is none": (lambda f: (f / "x.pth").write_text("x"), {"pretrained": "x.pth"}, 65, "x.pth"),
    "a checkpoint that is cut off": (
        lambda f: (torch.save({"network_weights": {}}, f / "x.pth"), damage(f / "x.pth")),
        {"pretrained": "x.pth"},
        65,
        "x.pth",
    ),
    "no epochs between checkpoints": (lambda f: None, {"save_every": 0}, 64, "--save-every"),
    "less than no threads": (lambda f: None, {"workers": -1}, 64, "--workers"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_message(folder, capsys, mistake):  # noqa: F811
    make, options, code, message = MISTAKES[mistake]
    make(folder)
    if "pretrained" in options:
        options = options | {"pretrained": folder / options["pretrained"]}
    assert main(line(folder, **options)) == code
    error = capsys.readouterr().err.strip().splitlines()
    assert message in " ".join(error)
    assert "Traceback" not in error
    assert len(" ".join(error)) < 1200


def test_results_of_another_plan(folder, tmp_path, capsys):  # noqa: F811
    assert main(line(folder)) == 0
    configuration(folder, patch_size=[8, 8, 16])
    assert main(line(folder, "--continue")) == 78
    assert "differs" in capsys.readouterr().err
    model = tmp_path / "results" / DATASET / "quick__nnUNetPlans__3d_fullres"
    (model / "plans.json").unlink()
    assert main(line(folder, "--continue")) == 78
    error = capsys.readouterr().err
    assert "patch_size" in error
    assert "[8, 8, 16]" in error


def test_a_changed_recipe_under_the_same_name(folder, capsys):  # noqa: F811
    assert main(line(folder)) == 0
    assert main(line(folder, "--continue", recipe=QUICK.replace("epochs: 1", "epochs: 2, gradientClip: 5"))) == 78
    assert "gradientClip" in capsys.readouterr().err


def test_a_results_folder_that_is_a_file(folder, tmp_path, capsys):  # noqa: F811
    (tmp_path / "results").write_text("")
    assert main(line(folder)) == 74
    assert "Not a directory" in capsys.readouterr().err
