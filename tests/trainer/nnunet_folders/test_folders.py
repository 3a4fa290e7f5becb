"""`-d` in the place of paths: which dataset an id is, and what a person's mistakes get."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import pytest
from nnunet_trainer.cli import COMMANDS as COMMAND_MODULES
from nnunet_trainer.cli import main
from nnunet_trainer.contract.faults import BadUsage
from nnunet_trainer.nnunet_folders import PREPROCESSED, RAW, RESULTS, DatasetFolders
from nnunet_trainer.preprocessing.command import places

ALL = (RAW, PREPROCESSED, RESULTS)


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path) -> Path:
    """The three folders, empty, and the variables that name them."""
    for variable in ALL:
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return tmp_path


@pytest.mark.parametrize("said", ["4", "004", "Dataset004_A"])
@pytest.mark.parametrize("variable", ALL)
def test_a_dataset_is_found_in_any_of_the_folders(folders, said, variable):
    (folders / variable / "Dataset004_A").mkdir()
    (folders / RAW / "Dataset0040_B").mkdir()
    (folders / RAW / "Dataset040_C").mkdir()
    found = DatasetFolders.of(said, ALL)
    assert (found.name, found.raw) == ("Dataset004_A", folders / RAW / "Dataset004_A")
    assert found.fingerprint == folders / PREPROCESSED / "Dataset004_A" / "dataset_fingerprint.json"


@pytest.mark.parametrize("number", [4, 40, 123, 1234])
def test_an_id_is_the_one_that_nnunet_finds(folders, number):
    from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name

    for name in ("Dataset004_A", "Dataset040_B", "Dataset123_C", "Dataset1234_D"):
        if not (number == 123 and name == "Dataset1234_D"):  # there nnU-Net takes both for 123
            (folders / PREPROCESSED / name).mkdir()
    assert DatasetFolders.of(str(number), ALL).name == convert_id_to_dataset_name(number)


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        ("5", "UnknownDataset", "There is no dataset with the id 5. Known: Dataset004_A, Dataset006_B, Dataset006_C. Looked in"),
        ("Dataset04_A", "UnknownDataset", "There is no dataset named 'Dataset04_A'. Did you mean Dataset004_A"),
        ("hippocampus", "UnknownDataset", "-d is 'hippocampus'; a dataset's id (4) or name (Dataset004_Hippocampus) was expected"),
        (
            "6",
            "AmbiguousDataset",
            "The id 6 is of 2 datasets: Dataset006_B (in nnUNet_raw and nnUNet_results), Dataset006_C (in nnUNet_preprocessed)",
        ),
    ],
)
def test_no_dataset_or_several(folders, said, reason, message):
    for place in ("nnUNet_raw/Dataset004_A", "nnUNet_raw/Dataset006_B", "nnUNet_results/Dataset006_B"):
        (folders / place).mkdir()
    (folders / PREPROCESSED / "Dataset006_C").mkdir()
    with pytest.raises(BadUsage) as caught:
        DatasetFolders.of(said, ALL)
    assert caught.value.reason == reason
    assert message in str(caught.value)


COMMANDS = {
    "verify": ["verify", "-d", "4"],
    "fingerprint": ["fingerprint", "-d", "4"],
    "plan": ["plan", "-d", "4"],
    "preprocess": ["preprocess", "-d", "4", "-c", "2d", "3d_fullres"],
    "train": ["train", "-d", "4", "-c", "3d_fullres", "-f", "0"],
    "predict": ["predict", "-d", "4", "-c", "3d_fullres", "-i", "in", "-o", "out"],
}
NEEDS = {
    "verify": [RAW],
    "fingerprint": [RAW, PREPROCESSED],
    "plan": [RAW, PREPROCESSED],
    "preprocess": [RAW, PREPROCESSED],
    "train": [PREPROCESSED, RESULTS],
    "predict": [RESULTS],
}
MISSING = {
    "verify": "Dataset004_A is not in nnUNet_raw",
    "fingerprint": "Dataset004_A is not in nnUNet_raw",
    "plan": "Dataset004_A is not in nnUNet_raw",
    "preprocess": "Dataset004_A is not in nnUNet_raw",
    "train": "Dataset004_A has no plans nnUNetPlans",
    "predict": "There is no model",
}
MIXED = {
    "verify": (["RAW"], "RAW"),
    "fingerprint": (["-o", "x.json"], "-o"),
    "plan": (["RAW", "--fingerprint", "F"], "RAW, --fingerprint"),
    "preprocess": (["--plans", "P", "-o", "X"], "--plans, -o"),
    "train": (["--preprocessed", "X"], "--preprocessed"),
    "predict": (["--model", "M"], "--model"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_variables_that_are_not_set_are_named(folders, monkeypatch, capsys, command):
    (folders / RESULTS / "Dataset004_A").mkdir()
    for variable in NEEDS[command]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv(NEEDS[command][0], "")
    assert main(COMMANDS[command]) == 64
    said = capsys.readouterr().err
    assert f"{' and '.join(NEEDS[command])} {'is' if len(NEEDS[command]) == 1 else 'are'} not set" in said
    assert said.startswith("VariableNotSet: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_there_is_named(folders, capsys, command):
    (folders / RESULTS / "Dataset004_A").mkdir()
    assert main(COMMANDS[command]) == 64
    assert MISSING[command] in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_paths_and_d_are_not_mixed(folders, capsys, command):
    (folders / RESULTS / "Dataset004_A").mkdir()
    paths, named = MIXED[command]
    assert main([command, *paths, *COMMANDS[command][1:]]) == 64
    assert f"-d 4 and {named} exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("verify", "verify needs RAW"),
        ("fingerprint -o F", "fingerprint needs RAW"),
        ("plan --fingerprint F", "plan needs RAW"),
        ("preprocess RAW -o X", "preprocess needs --plans, -c"),
        ("preprocess RAW --plans P -c 2d -o X -p nnUNetPlans", "-p is of use with -d ID alone"),
        ("train -c 2d -f 0", "train needs --preprocessed, -o"),
        ("predict -i IN -o OUT", "predict needs --model"),
        ("predict --model M -c 2d -tr T -i IN -o OUT", "-c, -tr are of use with -d ID alone"),
        ("predict -d 4 -i IN -o OUT", "-d 4 needs -c C"),
    ],
)
def test_what_is_missing_or_of_no_use_is_named(folders, capsys, line, message):
    (folders / RESULTS / "Dataset004_A").mkdir()
    assert main(line.split()) == 64
    assert message in capsys.readouterr().err


def test_which_command_makes_what_is_missing(folders, capsys):
    preprocessed, models = folders / PREPROCESSED / "Dataset004_A", folders / RESULTS / "Dataset004_A"
    for folder in (folders / RAW / "Dataset004_A", preprocessed, models / "mine__nnUNetPlans__2d"):
        folder.mkdir(parents=True)
    found = DatasetFolders.of("004", ALL)
    for ask, hint in (
        (found.existing_fingerprint, "Make it: nnunet-trainer fingerprint -d 004"),
        (lambda: found.existing_plans("nnUNetPlans"), "Plans there: none.\nMake them: nnunet-trainer plan -d 004"),
        (
            lambda: found.existing_data("nnUNetPlans_2d", "2d", "nnUNetPlans"),
            "nnunet-trainer preprocess -d 004 -c 2d -p nnUNetPlans",
        ),
        (
            lambda: found.existing_model("T", "P", "2d"),
            "Models of Dataset004_A: mine__nnUNetPlans__2d.\nSay which with -tr, -p and -c",
        ),
    ):
        with pytest.raises(BadUsage) as caught:
            ask()
        assert hint in str(caught.value)
    for name in ("mine", "dataset", "dataset_fingerprint", "splits_final"):
        (preprocessed / f"{name}.json").write_text("{}")
    with pytest.raises(BadUsage, match="Plans there: mine") as caught:
        found.existing_plans("other")
    assert "plan -d 004 --plans-name other" in str(caught.value)


def parsed(line: str) -> argparse.Namespace:
    """A command's arguments."""
    name, *words = line.split()
    module = importlib.import_module(f"nnunet_trainer.{COMMAND_MODULES[name][0]}")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words, argparse.Namespace(command=name))


@pytest.mark.parametrize(
    ("line", "argument", "value"),
    [
        ("plan -d 4 -pl nnUNetPlannerResEncM", "planner", "nnUNetPlannerResEncM"),
        ("plan -d 4 -gpu_memory_target 8", "gpu_memory_gb", 8),
        ("plan -d 4 -overwrite_target_spacing 3 1 1", "target_spacing", [3, 1, 1]),
        ("plan -d 4 -overwrite_plans_name mine", "plans_name", "mine"),
        ("plan -d4 -p mine", "plans_name", "mine"),
        ("preprocess -d 4 -c 2d 3d_fullres -c 3d_lowres", "configurations", ["2d", "3d_fullres", "3d_lowres"]),
        ("preprocess -d 4 -plans_name mine", "plans_name", "mine"),
        ("train -d 4 -c 2d -f all -tr nnUNetTrainerDA5", "trainer", "nnUNetTrainerDA5"),
        ("train -d 4 -c 2d -f 0 -device cpu", "device", "cpu"),
        ("train -d 4 -c 2d -f 0 -pretrained_weights w.pth", "pretrained", "w.pth"),
        ("predict -d 4 -c 2d -f 0 1 2 -i IN -o OUT", "folds", ["0", "1", "2"]),
        ("predict -d 4 -c 2d -chk checkpoint_best.pth -i IN -o OUT", "checkpoint", "checkpoint_best.pth"),
        ("predict -d 4 -c 2d -device cpu -i IN -o OUT", "device", "cpu"),
        ("predict -d 4 -c 2d -prev_stage_predictions P -i IN -o OUT", "previous_stage", Path("P")),
    ],
)
def test_what_nnunets_options_begin_with_is_not_taken_for_another_one(line, argument, value):
    """`-pl` is not `-p l`."""
    found = parsed(line)
    assert getattr(found, argument) == value
    assert found.dataset == "4"


@pytest.mark.parametrize(
    "line",
    [
        "preprocess RAW --plans P -c 2d -o X",
        "preprocess --plans P -c 2d RAW -o X",
        "preprocess --plans P -o X -c 2d 3d_fullres RAW",
    ],
)
def test_the_raw_dataset_may_stand_behind_the_configurations(line):
    found = parsed(line)
    assert places(found) == (Path("RAW"), Path("P"), Path("X"))
    assert "RAW" not in found.configurations
