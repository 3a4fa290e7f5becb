"""What a message says to do about a fault is done here, by hand, and then the work that had failed succeeds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer.cli import main
from nnunet_trainer.contract.faults import BadData, ExitCode
from nnunet_trainer.preprocessing.previous_stage import write_previous_stage
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case
from support.damages import empty, gone, halve
from support.datasets import make_dataset
from support.trainings import plans as skeleton

from trainer.architecture.plans import plain

DATASET, CASES = "Dataset001_A", 5
IDENTIFIER = "nnUNetPlans_3d_fullres"
RECIPE = "{epochs: 1, iterationsPerEpoch: 2, validationIterations: 1}"


class Hands:
    """A person's folders, and the commands that she types."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.root, self.capsys = root, capsys
        self.raw, self.preprocessed, self.results = root / "raw" / DATASET, root / "preprocessed" / DATASET, root / "results"
        self.cases = self.preprocessed / IDENTIFIER
        self.plans = self.preprocessed / "nnUNetPlans.json"
        self.fingerprint = root / "dataset_fingerprint.json"

    def run(self, *command: object) -> tuple[int, str]:
        code = main([str(each) for each in command])
        return code, "" if self.capsys is None else self.capsys.readouterr().err

    def preprocess(self) -> int:
        options = ("--plans", self.plans, "-c", "3d_fullres", "-o", self.preprocessed, "--workers", 1)
        return self.run("preprocess", self.raw, *options)[0]

    def train(
        self, *more: object, configuration: str = "3d_fullres", trainer: str = "quick", recipe: str = RECIPE
    ) -> tuple[int, str]:
        (self.root / "recipe.yaml").write_text(f"name: {trainer}\nrecipe: {recipe}\n")
        options = ["--configuration", configuration, "--fold", 0, "--recipe", self.root / "recipe.yaml", "--device", "cpu"]
        if "-o" not in more:
            options += ["-o", self.results]
        return self.run("train", "--preprocessed", self.preprocessed, *options, "--workers", 0, *more)

    def fold(self, configuration: str = "3d_fullres", trainer: str = "quick") -> Path:
        return self.results / DATASET / f"{trainer}__nnUNetPlans__{configuration}" / "fold_0"

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.cases.iterdir()) if path.is_file()}


def _plans(fingerprint: Path) -> dict[str, object]:
    three = skeleton.configuration(
        data_identifier=IDENTIFIER,
        patch_size=[8, 16, 16],
        median_image_size_in_voxels=[8.0, 16.0, 14.0],
        spacing=[2.0, 1.0, 1.0],
        architecture=plain(3),
    )
    configurations = {
        "3d_fullres": three,
        "first": {"inherits_from": "3d_fullres", "next_stage": "second"},
        "second": {"inherits_from": "3d_fullres", "previous_stage": "first"},
    }
    intensities = "foreground_intensity_properties_per_channel"
    return skeleton.plans(
        DATASET,
        configurations,
        original_median_spacing_after_transp=[2.0, 1.0, 1.0],
        original_median_shape_after_transp=[8, 16, 14],
        **{intensities: json.loads(fingerprint.read_text())[intensities]},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All steps done once; tests work on copies."""
    patch = pytest.MonkeyPatch()
    patch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    patch.setattr("nnunet_trainer.training.reporting.reporter.progress_plot", lambda logging, folder: folder / "progress.png")
    hands = Hands(tmp_path_factory.mktemp("remedies"))
    make_dataset(hands.raw, cases=CASES, shape=(8, 16, 14), border=1)
    assert hands.run("fingerprint", hands.raw, "-o", hands.fingerprint, "--workers", 1)[0] == 0
    hands.preprocessed.mkdir(parents=True)
    hands.plans.write_text(json.dumps(_plans(hands.fingerprint)))
    assert hands.preprocess() == 0
    assert hands.train()[0] == 0
    assert hands.train(configuration="first")[0] == 0
    yield hands.root
    patch.undo()


@pytest.fixture
def hands(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Hands:
    shutil.copytree(trained, tmp_path / "home")
    return Hands(tmp_path / "home", capsys)


def end_in_zeros(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-64] + bytes(64))


def scramble(path: Path) -> None:
    """Other voxels of the same length, as a bad disk has them."""
    content = bytearray(path.read_bytes())
    content[210:-120] = bytes(byte ^ 0x5A for byte in content[210:-120])
    path.write_bytes(content)


def obey(hint: str) -> None:
    """Remove what a hint says to remove."""
    for named in re.findall(r"Remove (\S+?),", hint):
        shutil.rmtree(named) if Path(named).is_dir() else Path(named).unlink()


DAMAGES = [
    *[(suffix, damage) for suffix in (".b2nd", "_seg.b2nd", ".pkl") for damage in (halve, empty, end_in_zeros, gone)],
    (".b2nd", scramble),
]


@pytest.mark.parametrize(("suffix", "damage"), DAMAGES)
def test_a_damaged_preprocessed_case(hands: Hands, suffix: str, damage: Callable[[Path], None]) -> None:
    before = hands.content()
    times = {path: path.stat().st_mtime_ns for path in hands.cases.glob("*") if "case_2" not in path.name}
    case = PreprocessedFolder(hands.cases).cases[2]
    damage(hands.cases / f"{case}{suffix}")
    folder = PreprocessedFolder(hands.cases)
    with pytest.raises(BadData) as caught, folder.reading(case):
        _ = folder.open(case).data[:]
    assert case in caught.value.message
    obey(caught.value.hint)
    assert "reprocess again" in caught.value.hint
    assert hands.preprocess() == 0
    assert hands.content() == before
    others = {path: moment for path, moment in times.items() if not path.name.startswith(case)}
    assert {path: path.stat().st_mtime_ns for path in others} == others, "what was whole is found again"


@pytest.mark.parametrize("damage", [halve, scramble])
def test_a_training_on_a_damaged_case(hands: Hands, damage: Callable[[Path], None]) -> None:
    for path in hands.cases.glob("*.b2nd"):
        if not path.name.endswith("_seg.b2nd"):
            damage(path)
    code, said = hands.train("-o", hands.root / "anew")
    assert code == ExitCode.BAD_DATA
    assert "cannot be read" in said
    for _ in range(CASES):
        obey(said)
        assert hands.preprocess() == 0
        code, said = hands.train("-o", hands.root / "anew", "--continue")
        if code == 0:
            break
    assert code == 0, said


@pytest.mark.parametrize("damage", [halve, scramble])
def test_a_damaged_case_of_a_folder_that_was_made_elsewhere(hands: Hands, damage: Callable[[Path], None]) -> None:
    before = hands.content()
    shutil.rmtree(hands.cases / ".nnunet")
    case = PreprocessedFolder(hands.cases).cases[0]
    damage(hands.cases / f"{case}.b2nd")
    folder = PreprocessedFolder(hands.cases)
    with pytest.raises(BadData) as caught, folder.reading(case):
        _ = folder.open(case).data[:]
    assert caught.value.hint == f"Remove {hands.cases}, then preprocess again."
    assert hands.preprocess() == ExitCode.BAD_DATA
    obey(caught.value.hint)
    assert hands.preprocess() == 0
    assert hands.content() == before


@pytest.mark.parametrize("damage", [gone, halve])
def test_labels_of_the_final_validation(hands: Hands, damage: Callable[[Path], None]) -> None:
    truth = hands.preprocessed / "gt_segmentations"
    before = {path.name: path.read_bytes() for path in truth.iterdir()}
    for path in truth.iterdir():
        damage(path)
    code, said = hands.train("-o", hands.root / "anew")
    assert code == ExitCode.BAD_DATA
    assert damage is not gone or "Preprocess the dataset again" in said
    assert hands.preprocess() == 0
    assert {path.name: path.read_bytes() for path in truth.iterdir()} == before
    assert hands.train("-o", hands.root / "anew", "--continue")[0] == 0


@pytest.mark.parametrize(
    ("what", "damage"), [("segmentation", gone), ("segmentation", halve), ("segmentation", empty), ("summary", halve)]
)
def test_a_damaged_validation_is_repeated(hands: Hands, what: str, damage: Callable[[Path], None]) -> None:
    folder = hands.fold() / "validation"
    segmentation = next(folder.glob("*.nii.gz"))
    before, mean = segmentation.read_bytes(), json.loads((folder / "summary.json").read_text())["mean"]
    damage(segmentation if what == "segmentation" else folder / "summary.json")
    kept = segmentation.stat().st_mtime_ns if what == "summary" else None
    code, said = hands.train()
    assert code == ExitCode.BAD_USAGE
    assert "--continue" in said
    assert hands.train("--continue")[0] == 0
    assert segmentation.read_bytes() == before
    assert json.loads((folder / "summary.json").read_text())["mean"] == mean
    assert kept in (None, segmentation.stat().st_mtime_ns)


def test_probabilities_of_the_validation_asked_for_later(hands: Hands) -> None:
    folder = hands.fold() / "validation"
    assert not list(folder.glob("*.npz"))
    assert hands.train("--continue", "--save-probabilities")[0] == 0
    assert len(list(folder.glob("*.npz"))) == len(list(folder.glob("*.pkl"))) == len(list(folder.glob("*.nii.gz")))


@pytest.mark.parametrize("damage", [halve, scramble])
def test_a_damaged_prediction_of_the_previous_stage(hands: Hands, damage: Callable[[Path], None]) -> None:
    predicted = hands.fold("first").parent / "predicted_next_stage/second"
    (own,) = predicted.glob("*.b2nd")
    store = PreprocessedFolder(hands.cases)
    for case in store.cases:  # those of the other folds
        if case != own.stem:
            write_previous_stage(predicted, case, np.asarray(store.open(case).seg[0]).clip(0), (8, 16, 16))
    before = own.read_bytes()
    damage(own)
    code, said = hands.train(configuration="second")
    assert code == ExitCode.BAD_DATA
    assert own.stem in said
    assert "reprocess" not in said
    obey(said)
    assert "--continue" in said
    assert hands.train("--continue", configuration="first")[0] == 0
    assert own.read_bytes() == before
    assert hands.train("--continue", configuration="second")[0] == 0


def test_predictions_of_the_previous_stage_for_other_data(hands: Hands) -> None:
    (own,) = (hands.fold("first").parent / "predicted_next_stage/second").glob("*.b2nd")
    before = own.read_bytes()
    write_previous_stage(own.parent, own.stem, np.zeros((3, 4, 5), np.uint8), (8, 16, 16))
    with pytest.raises(BadData, match="was predicted for other data") as caught:
        PreprocessedFolder(hands.cases, own.parent).open(own.stem)
    obey(caught.value.hint)
    assert hands.train("--continue", configuration="first")[0] == 0
    assert own.read_bytes() == before


def test_images_that_hold_what_is_no_number(hands: Hands) -> None:
    store = PreprocessedFolder(hands.cases)
    for case in store.cases:
        stored = store.open(case)
        data, seg = stored.data[:], stored.seg[:]
        write_case(hands.cases, case, np.full_like(data, np.nan), seg, stored.properties, (8, 16, 16))
    code, said = hands.train("-o", hands.root / "anew")
    assert code == ExitCode.BAD_DATA
    assert "Run nnunet-trainer verify, mend the images, preprocess again." in said
    for file in (hands.raw / "imagesTr").iterdir():
        file.write_bytes(file.read_bytes())
    assert hands.preprocess() == 0
    assert hands.train("-o", hands.root / "anew", "--continue")[0] == 0


def test_data_of_other_plans(hands: Hands) -> None:
    plans = json.loads(hands.plans.read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [2.0, 2.0, 2.0]
    hands.plans.write_text(json.dumps(plans))
    code, said = hands.run("preprocess", hands.raw, "--plans", hands.plans, "-c", "3d_fullres", "-o", hands.preprocessed)
    assert code == ExitCode.BAD_DATA
    assert "Remove the folder, or choose another one" in said
    plans["configurations"]["3d_fullres"]["data_identifier"] = "mine"
    hands.plans.write_text(json.dumps(plans))
    assert hands.preprocess() == 0
    assert len(PreprocessedFolder(hands.preprocessed / "mine").cases) == CASES
    plans["configurations"]["3d_fullres"]["data_identifier"] = IDENTIFIER
    hands.plans.write_text(json.dumps(plans))
    shutil.rmtree(hands.cases)
    assert hands.preprocess() == 0


def test_data_of_other_channels(hands: Hands) -> None:
    before = hands.plans.read_text()
    content = json.loads((hands.preprocessed / "dataset.json").read_text())
    (hands.preprocessed / "dataset.json").write_text(json.dumps({**content, "channel_names": {"0": "MRI", "1": "CT"}}))
    plans = json.loads(before)
    plans["configurations"]["3d_fullres"] |= {
        "normalization_schemes": ["ZScoreNormalization"] * 2,
        "use_mask_for_norm": [False] * 2,
    }
    hands.plans.write_text(json.dumps(plans))
    code, said = hands.train("-o", hands.root / "anew")
    assert code == ExitCode.BAD_DATA
    assert f"Remove {hands.cases}, then preprocess" in said
    obey(said)
    hands.plans.write_text(before)
    assert hands.preprocess() == 0
    assert hands.train("-o", hands.root / "anew")[0] == 0


@pytest.mark.parametrize("damage", [gone, halve])
def test_a_fingerprint_is_extracted_again(hands: Hands, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_trainer.fingerprint.extraction.TOTAL_SAMPLES", 1e5)
    before = json.loads(hands.fingerprint.read_text())
    damage(hands.fingerprint)
    plan = ("plan", hands.raw, "--fingerprint", hands.fingerprint, "-o", hands.root / "plans.json")
    assert hands.run(*plan)[0] != 0
    assert hands.run("fingerprint", hands.raw, "-o", hands.fingerprint, "--workers", 1)[0] == 0
    assert json.loads(hands.fingerprint.read_text()) == before
    assert hands.run(*plan)[0] == 0
    kept = hands.preprocessed / "dataset_fingerprint.json"
    kept.write_text('{"half')
    options = ("--plans", hands.plans, "-c", "3d_fullres", "-o", hands.preprocessed, "--workers", 1)
    code, said = hands.run("preprocess", hands.raw, *options)
    assert code == 0
    remedy = said[said.index("nnunet-trainer fingerprint") :].split()[1:]
    assert hands.run(*remedy, "--workers", 1)[0] == 0
    assert json.loads(kept.read_text()) == before
    assert "fingerprint" not in hands.run("preprocess", hands.raw, *options)[1]


def test_splits_that_are_wrong(hands: Hands) -> None:
    splits = hands.preprocessed / "splits_final.json"
    splits.write_text(json.dumps([{"train": ["nobody"], "val": ["none"]}]))
    assert hands.train("-o", hands.root / "anew")[0] != 0
    splits.write_text("[{}]")
    code, said = hands.train("-o", hands.root / "anew")
    assert code != 0
    assert "delete it: five folds are made then" in said
    splits.unlink()
    assert hands.train("-o", hands.root / "anew")[0] == 0


def test_results_that_are_there(hands: Hands) -> None:
    code, said = hands.train()
    assert code == ExitCode.BAD_USAGE
    assert "Say --continue to go on from there, or choose another folder with -o." in said
    assert hands.train("--continue")[0] == 0
    assert hands.train("-o", hands.root / "another")[0] == 0


def test_a_changed_recipe(hands: Hands) -> None:
    changed = RECIPE.replace("epochs: 1", "epochs: 2, optimizer: {learningRate: 0.001}")
    code, said = hands.train("--continue", recipe=changed)
    assert code == ExitCode.BAD_CONFIGURATION
    assert "Give the changed recipe another name, and start from these weights with --pretrained." in said
    weights = hands.fold() / "checkpoint_final.pth"
    assert hands.train("--pretrained", weights, trainer="changed", recipe=changed)[0] == 0


def test_plans_that_are_there(hands: Hands) -> None:
    out = hands.root / "out.json"
    transfer = ("transfer", "--plans", hands.plans, "--to", hands.raw, "--plans-name", "others", "-o", out)
    out.write_text(json.dumps({"plans_name": "mine"}))
    code, said = hands.run(*transfer)
    assert code == ExitCode.BAD_USAGE
    assert "--overwrite" in said
    assert hands.run(*transfer, "--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["checkpoint_final.pth", "validation/summary.json"])
def test_a_folder_in_the_place_of_a_result(hands: Hands, name: str) -> None:
    place = hands.fold() / name
    place.unlink()
    place.mkdir()
    code, said = hands.train("--continue")
    assert code == ExitCode.IO_ERROR
    assert f"Is a directory: {hands.fold()}" in said
    place.rmdir()
    assert hands.train("--continue")[0] == 0
