"""Recipes and presets: what they say, what is refused, and with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Range, Registry, load_plugins
from nnunet_trainer.planning.network_changes import NetworkChanges, changed
from nnunet_trainer.training.components import lookup
from nnunet_trainer.training.recipes import presets
from nnunet_trainer.training.recipes.recipe import Recipe, digested, read, write

from trainer.architecture.plans import plain, residual


def test_the_default_is_nnunets():
    default = presets.recipe("nnUNetTrainer")
    assert default == Recipe()
    assert (default.epochs, default.iterations_per_epoch, default.validation_iterations) == (1000, 250, 50)
    sgd = lookup.find("optimizer", default.optimizer.name).parameters
    assert {n: p.default for n, p in sgd.items()} == {
        "learning_rate": 1e-2,
        "weight_decay": 3e-5,
        "momentum": 0.99,
        "nesterov": True,
    }
    assert default.gradient_clip == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 5}, r"recipe\.epoch: .*did you mean epochs"),
        ({"zzz": 5}, r"recipe\.zzz: .*known: .*epochs"),
        ({"epochs": 0}, r"recipe\.epochs: 0 is out of range; an integer at least 1"),
        ({"epochs": 2.5}, r"recipe\.epochs: an integer at least 1 was expected, found 2\.5"),
        ({"epochs": True}, "found True"),
        ({"epochs": "5"}, "found '5'"),
        ({"deepSupervision": 1}, "true or false was expected, found 1"),
        ({"precision": "fp8"}, r"recipe\.precision: 'fp8' is none of auto, fp32, fp16, bf16"),
        ({"gradientClip": 0}, r"recipe\.gradientClip: 0 is out of range; a number greater than 0"),
        ({"sampling": {"oversampleForeground": 1.5}}, r"recipe\.sampling\.oversampleForeground: .*between 0 and 1"),
        ({"sampling": 3}, r"recipe\.sampling: an object was expected"),
        ({"loss": "DiceCe"}, r"recipe\.loss: There is no loss named 'DiceCe'. Did you mean DiceCE"),
        ({"loss": {"smoth": 1.0}}, r"recipe\.loss\.smoth: DiceCE has no such parameter; did you mean smooth"),
        ({"loss": 4}, r"recipe\.loss: a name"),
        ({"optimizer": {"momentum": 1}}, r"recipe\.optimizer\.momentum: 1 is out of range; .*1 excluded"),
        ({"optimizer": {"name": "AdamW", "momentum": 0.9}}, "AdamW has no such parameter"),
        ({"network": {"normalization": "layer"}}, r"recipe\.network\.normalization: 'layer' is none of instance"),
        ({"freezing": {"patterns": "encoder"}}, r"recipe\.freezing\.patterns: a list was expected"),
        ({"learningRateFactors": {"encoder.*": -1}}, r"recipe\.learningRateFactors\.encoder\.\*: -1 is out of range"),
        ({"validationIterations": 0}, r"recipe\.validationIterations is 0, and there is no recipe\.fullEvaluation"),
        ({"validationIterations": -1, "fullEvaluation": {}}, r"recipe\.validationIterations: -1 is out of range"),
        ({"fullEvaluation": {"everyEpochs": 0}}, r"recipe\.fullEvaluation\.everyEpochs: 0 is out of range"),
        ({"fullEvaluation": {"targetDice": 1.1}}, r"recipe\.fullEvaluation\.targetDice: 1\.1 is out of range"),
        ("quick", "recipe: an object was expected, found 'quick'"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    with pytest.raises(BadConfiguration, match=message):
        read(changes)


def test_changes_merge_and_components_begin_anew():
    base = read({"optimizer": {"momentum": 0.9}, "sampling": {"probabilistic": True}})
    more = read({"optimizer": {"learningRate": 1}, "sampling": {"oversampleForeground": 0.5}}, base)
    assert more.optimizer.parameters == {"momentum": 0.9, "learning_rate": 1.0}
    assert more.sampling.probabilistic
    assert read({"optimizer": "AdamW"}, base).optimizer.parameters == {}
    assert read({"loss": "CE"}).loss.name == "CE"


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 10_000),
            "loss": st.sampled_from([{"name": "CE", "labelSmoothing": 0.1}, {"smooth": 0.0}, "Dice"]),
            "schedule": st.sampled_from(["poly", {"name": "cosine", "minimum": 0.5}]),
            "gradientClip": st.none() | st.floats(0.1, 100),
            "fullEvaluation": st.none()
            | st.fixed_dictionaries({}, optional={"everyEpochs": st.integers(1, 9), "targetDice": st.just(1)}),
            "freezing": st.fixed_dictionaries({"patterns": st.lists(st.text()), "untilEpoch": st.none() | st.integers(0, 9)}),
            "network": st.fixed_dictionaries({"archKwargs": st.dictionaries(st.text(), st.integers())}),
            "learningRateFactors": st.dictionaries(st.text(), st.floats(0, 2)),
        },
    )
)
def test_a_recipe_survives_being_written(changes):
    recipe = read(changes)
    assert read(write(recipe)) == recipe


def test_a_later_field_changes_no_digest_of_a_run_without_it():
    assert write(Recipe()).keys() - digested(Recipe()).keys() == {"fullEvaluation"}
    assert digested(read({"fullEvaluation": {}}))["fullEvaluation"] == {"everyEpochs": 1, "targetDice": None}


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_each_preset_is_a_recipe(name):
    assert isinstance(presets.recipe(name), Recipe)


@pytest.mark.parametrize(
    ("name", "epochs"), [("nnUNetTrainer_250epochs", 250), ("nnUNetTrainer_17epochs", 17), ("nnUNetTrainerBN_1epoch", 1)]
)
def test_epoch_variants(name, epochs):
    assert presets.recipe(name).epochs == epochs


@pytest.mark.parametrize(
    ("name", "base", "changes", "reason"),
    [
        ("nnUNetTrainr", None, {}, "UnknownTrainer"),
        ("nnUNetTrainer_0epochs", None, {}, "UnknownTrainer"),
        ("nnUNetTrainer", None, {"epochs": 3}, "TrainerNameTaken"),
        ("mine", None, {}, "UnknownTrainer"),
        ("mine", "nnUNetTrainer", {}, "EmptyRecipe"),
        ("mine", "nobodys", {"epochs": 3}, "UnknownTrainer"),
        ("my__trainer", None, {"epochs": 3}, "InvalidTrainerName"),
        ("../mine", None, {"epochs": 3}, "InvalidTrainerName"),
    ],
)
def test_names_that_do_not_go(name, base, changes, reason):
    with pytest.raises(BadConfiguration) as refused:
        presets.resolve(name, base, changes)
    assert refused.value.reason == reason


def test_a_recipe_of_a_new_name():
    recipe = presets.resolve("mine", "nnUNetTrainerBN", {"epochs": 3})
    assert recipe.epochs == 3
    assert recipe.network.normalization == "batch"


def test_two_components_of_one_name_name_both_places():
    registry = Registry("loss")

    @registry.register("mine")
    def first(): ...

    with pytest.raises(BadConfiguration, match=r"test_recipe\.py:\d+ and .*test_recipe\.py:\d+"):

        @registry.register("mine")
        def second(): ...


def test_a_plugin_registers_a_loss(tmp_path):
    folder = tmp_path / "my-losses"
    folder.mkdir()
    (folder / "losses.py").write_text(
        "from nnunet_trainer.training.components.registries import LOSSES\n"
        "@LOSSES.register('MyLoss')\n"
        "def my_loss(context, *, factor: float = 2.0):\n"
        "    return lambda logits, target: factor * logits.mean() * context.share\n"
    )
    load_plugins(tmp_path, ["my-losses"])
    load_plugins(tmp_path, ["my-losses"])
    assert read({"loss": {"name": "MyLoss", "factor": 3}}).loss.parameters == {"factor": 3.0}


@pytest.mark.parametrize(("text", "expected"), [("import nothing_of_this_name", "nothing_of_this_name"), ("def", "SyntaxError")])
def test_a_broken_plugin_is_named(tmp_path, text, expected):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "mine.py").write_text(text)
    with pytest.raises(BadConfiguration, match=rf"(?s)mine\.py.*{expected}"):
        load_plugins(tmp_path, ["broken"])
    with pytest.raises(BadConfiguration, match="absent"):
        load_plugins(tmp_path, ["absent"])


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (Range(0, 1), (0, 0.5, 1), (-0.1, 1.1)),
        (Range(0, low_open=True), (1e-9, 5), (0, -1)),
        (Range(0, 1, high_open=True), (0, 0.99), (1,)),
        (Range(high=3), (3, -9), (4,)),
    ],
)
def test_ranges(bounds, inside, outside):
    assert all(value in bounds for value in inside)
    assert not any(value in bounds for value in outside)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"normalization": "batch"}, "norm_op", "torch.nn.modules.batchnorm.BatchNorm2d"),
        ({"normalization": "none"}, "norm_op", None),
        ({"nonlinearity": "GELU"}, "nonlin", "torch.nn.GELU"),
        ({"convolutions_per_stage": 3}, "n_conv_per_stage_decoder", [3, 3]),
        ({"kernel_size": 5}, "kernel_sizes", [[5, 5]] * 3),
        ({"negative_slope": 0.2}, "nonlin_kwargs", {"inplace": True, "negative_slope": 0.2}),
        ({"arch_kwargs": {"conv_bias": False}}, "conv_bias", False),
        ({"network": "ResidualEncoderUNet"}, "n_blocks_per_stage", [1, 3, 4]),
    ],
)
def test_network_changes(changes, key, expected):
    before = plain(2)
    after = changed(before, NetworkChanges(**changes), [16, 16])
    assert after["arch_kwargs"][key] == expected
    assert before == plain(2)


def test_another_network_of_the_same_package():
    after = changed(residual(3), NetworkChanges(network="PlainConvUNet"), [16, 16, 16])
    assert after["network_class_name"] == "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    assert "n_blocks_per_stage" not in after["arch_kwargs"]
