"""The catalogue says of every name what the code says, and both sides refuse the same things in the same words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.contract import catalogue as contract
from nnunet_trainer.contract.catalogue import Catalogue
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.planning import planner_presets
from nnunet_trainer.training.recipes import presets, recipe

FILE = contract.FILE


@pytest.fixture(scope="module")
def packaged() -> Catalogue:
    return contract.packaged()


def test_the_file_is_in_step_with_the_code(tmp_path: Path) -> None:
    # In a process of its own: other tests register components.
    written = tmp_path / "catalogue.json"
    command = [sys.executable, "-m", "nnunet_trainer.cli", "trainers", "--catalogue", "-o", str(written)]
    subprocess.run(command, check=True, capture_output=True)
    remedy = "run `make catalogue`"
    assert written.read_text() == FILE.read_text(), remedy


def test_it_is_read_without_torch() -> None:
    code = (
        "import sys; from nnunet_trainer.contract import catalogue; catalogue.packaged().trainers().resolve('nnUNetTrainer');"
        "print(*[m for m in sys.modules if m.partition('.')[0] in ('torch', 'numpy') or 'nnunet_trainer.training' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", sorted({*presets.PRESETS, "nnUNetTrainer_17epochs", "nnUNetTrainer_3epochs_NoMirroring"}))
def test_each_trainer_is_the_same_recipe(packaged: Catalogue, name: str) -> None:
    assert packaged.trainers().recipe(name) == recipe.write(presets.recipe(name))


REFUSED: list[tuple[str, str | None, Any]] = [
    ("nnUNetTrainr", None, None),
    ("nnUNetTrainer_0epochs", None, None),
    ("my__trainer", None, {"epochs": 3}),
    ("nnUNetTrainer", None, {"epochs": 3}),
    ("nnUNetTrainer_7epochs", "nnUNetTrainer", {"epochs": 3}),
    ("mine", "nnUNetTrainer", {}),
    ("mine", "nobodys", {"epochs": 3}),
    ("mine", "nnUNetTrainer", {"epoch": 3}),
    ("mine", "nnUNetTrainer", {"epochs": 0}),
    ("mine", "nnUNetTrainer", {"epochs": True}),
    ("mine", "nnUNetTrainer", {"loss": "DiceCe"}),
    ("mine", "nnUNetTrainer", {"loss": {"smoth": 0.1}}),
    ("mine", "nnUNetTrainer", {"loss": 4}),
    ("mine", "nnUNetTrainer", {"optimizer": {"momentum": 1}}),
    ("mine", "nnUNetTrainerAdam", {"optimizer": {"momentum": 0.9}}),
    ("mine", "nnUNetTrainer", {"schedule": "stepps"}),
    ("mine", "nnUNetTrainer", {"network": {"normalization": "layer"}}),
    ("mine", "nnUNetTrainer", {"sampling": {"oversampleForeground": "1"}}),
    ("mine", "nnUNetTrainer", {"freezing": {"patterns": "encoder"}}),
    ("mine", "nnUNetTrainer", {"learningRateFactors": {"encoder.*": -1}}),
    ("mine", "nnUNetTrainer", {"augmentation": "noMiroring"}),
    ("mine", "nnUNetTrainerDA5", {"augmentation": {"noises": {}}}),
    ("mine", "nnUNetTrainerDA5", {"augmentation": {"noise": {"sigma": [1, 0]}}}),
    ("mine", "nnUNetTrainer", {"augmentation": {"spatial": {"scale": [0.5]}}}),
]


@pytest.mark.parametrize(("name", "base", "changes"), REFUSED)
def test_both_sides_refuse_in_the_same_words(packaged: Catalogue, name: str, base: str | None, changes: Any) -> None:
    said = []
    for resolve in (presets.resolve, packaged.trainers().resolve):
        with pytest.raises(BadConfiguration) as refused:
            resolve(name, base, changes)
        said.append((refused.value.reason, refused.value.message.partition(" are known")[0]))
    # Other tests' plug-ins may make the trainer's own lists longer.
    assert said[0][0] == said[1][0]
    assert said[0][1].partition(" Known:")[0] == said[1][1].partition(" Known:")[0]
    assert said[1][0] in packaged.reasons


@pytest.mark.parametrize(
    ("name", "base", "changes", "known"),
    [
        ("nnUNetTrainerOfMine", None, None, False),
        ("mine", "nnUNetTrainerOfMine", {"optimizer": {"momentum": 0.9}}, False),
        ("mine", "nnUNetTrainer", {"loss": {"name": "MyLoss", "factor": 3}}, True),
        ("mine", "nnUNetTrainer", {"augmentation": "mine"}, True),
    ],
)
def test_names_of_a_plugin_pass(
    packaged: Catalogue, name: str, base: str | None, changes: dict[str, Any] | None, known: bool
) -> None:
    assert (packaged.trainers(names_pass=True).resolve(name, base, changes) is not None) is known


@pytest.mark.parametrize("changes", [{"epoch": 3}, {"epochs": 0}, {"loss": {"name": "CE", "labelSmoothin": 0.1}}, {"loss": 4}])
def test_beside_a_plugin_all_else_is_checked(packaged: Catalogue, changes: dict[str, Any]) -> None:
    for base in ("nnUNetTrainer", "nnUNetTrainerOfMine"):
        with pytest.raises(BadConfiguration):
            packaged.trainers(names_pass=True).resolve("mine", base, changes)


def test_fields_of_another_image_pass(packaged: Catalogue) -> None:
    trainers = packaged.trainers(names_pass=True, fields_pass=True)
    assert trainers.resolve("mine", "nnUNetTrainer", {"fieldOfTomorrow": 1, "loss": {"name": "CE", "new": 2}, "epochs": 3})
    with pytest.raises(BadConfiguration, match=r"recipe\.epochs: 0 is out of range"):
        trainers.resolve("mine", "nnUNetTrainer", {"epochs": 0})


@pytest.mark.parametrize(
    ("name", "parameters", "reason", "said"),
    [
        ("ExperimentPlaner", {}, "UnknownPlanner", "Did you mean ExperimentPlanner"),
        ("ExperimentPlanner", {"maxPoolin": 3}, "UnknownParameter", "Did you mean maxPooling"),
        ("ExperimentPlanner", {"maxPooling": 0}, "InvalidParameter", "0 is out of range; an integer at least 1"),
        ("ExperimentPlanner", {"targetSpacingPercentile": 150}, "InvalidParameter", "between 0 and 100, 0 excluded"),
        ("nnUNetPlannerResEncL", {"suppressTranspose": 1}, "InvalidParameter", "true or false was expected, found 1"),
    ],
)
def test_planners(packaged: Catalogue, name: str, parameters: dict[str, Any], reason: str, said: str) -> None:
    for check in (planner_presets.planner, packaged.planners().check):
        with pytest.raises(BadConfiguration) as refused:
            check(name, parameters)
        assert refused.value.reason == reason
        assert said in refused.value.message
    if reason.startswith("Unknown"):
        packaged.planners(names_pass=True, fields_pass=True).check(name, parameters)
    assert ("spec.plugins" in refused.value.hint) == (reason == "UnknownPlanner")


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        (Catalogue.check_extractor, ("Mine",)),
        (lambda packaged, *given: packaged.planners().check(*given), ("ExperimentPlanner", {"pooling": "Mine"})),
        (lambda packaged, *given: packaged.trainers().resolve(*given), ("mine", "nnUNetTrainer", {"loss": "Mine"})),
    ],
)
def test_a_name_may_be_a_forgotten_plugins(packaged: Catalogue, check: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(BadConfiguration) as refused:
        check(packaged, *arguments)
    assert "name that in spec.plugins, or with --plugins DIR" in refused.value.hint


@pytest.mark.parametrize(
    ("parameters", "belongs"),
    [
        ({"patchAndBatch": "BatchBeforePatch", "batch3d": 6}, "patchAndBatch: {name: BatchBeforePatch, batch3d: …}"),
        ({"batch3d": 6}, ""),
        ({"targetSpacingRule": {"name": "Fixed", "spacing": [1, 1, 1]}, "spacing": [1, 1, 1]}, "targetSpacingRule: {name: Fixed"),
    ],
)
def test_a_parameter_of_a_step_that_is_given_to_the_planner(packaged: Catalogue, parameters: dict[str, Any], belongs: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        packaged.planners().check("ExperimentPlanner", parameters)
    assert refused.value.reason == "UnknownParameter"
    assert belongs in refused.value.hint
    assert bool(belongs) == bool(refused.value.hint)


@pytest.mark.parametrize("given", ["reference_3d", "reference3d", "reference3D"])
def test_a_planners_parameter_in_any_spelling(given: str) -> None:
    assert planner_presets.planner("ExperimentPlanner", {given: 5}).reference_3d == 5


def test_what_is_no_catalogue(tmp_path: Path) -> None:
    broken = tmp_path / "catalogue.json"
    for text, said in (("{", "cannot be read"), ("{}", "has no trainers"), ("[]", "has no trainers")):
        broken.write_text(text)
        with pytest.raises(BadUsage, match=said):
            contract.load(broken)
