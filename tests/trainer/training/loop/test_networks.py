"""Networks by a recipe: what they begin as, what does not fit, and what nnU-Net makes of them."""

import json

import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.checkpoints.network import nnunet_trainer
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.planning import network_changes
from nnunet_trainer.planning.network_changes import NetworkChanges
from nnunet_trainer.training.components.losses import deep_supervision
from nnunet_trainer.training.loop import batches, fold_training, iteration
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks.distributed import ranks
from nnunet_trainer.training.recipes import presets
from nnunet_trainer.training.recipes import recipe as recipes
from nnunet_trainer.training.session.preparation import prepare

from trainer.architecture.plans import plain, residual

from ..conftest import dataset_json, plans

TINY = {"network": "Primus", "archKwargs": {"embed_dim": 12, "eva_depth": 2, "eva_numheads": 1}}
TRANSFORMER = {"network": TINY, "deepSupervision": "off"}
PATCH = [8, 16, 16]


def session(s):
    with ranks("cpu") as here:
        return prepare(s, here)


def convolution(slope=None, **more):
    torch.manual_seed(3)
    wishes = {} if slope is None else {"negative_slope": slope}
    return architecture.build(residual(2), 1, 2, True, **wishes, **more).state_dict()["encoder.stem.convs.0.conv.weight"]


def test_initial_weights_follow_the_slope():
    """He et al., 2015: the standard deviation is √(2 / ((1 + slope²)·fan in))."""
    default = convolution()
    torch.testing.assert_close(convolution(0.01), default, rtol=0, atol=0)
    torch.testing.assert_close(convolution(0.0), default * (1 + 1e-4) ** 0.5)
    torch.testing.assert_close(convolution(1.0), default * ((1 + 1e-4) / 2) ** 0.5)


# v1's table: ReLU, its variants, slope 0.2 and Mish begin as for ReLU, all else as for slope 0.01.
SLOPES = {"ReLU": 0, "ReLU_biasInSegOutput": 0, "ReLU_convReLUIN": 0, "LReLU_slope_2en1": 0, "Mish": 0, "GeLU": 0.01, "BN": 0.01}


@pytest.mark.parametrize("name", SLOPES)
def test_v1s_slopes(name):
    assert presets.recipe(f"nnUNetTrainerV2_{name}").initialization.negative_slope == SLOPES[name]


@pytest.mark.parametrize(("name", "zero"), [("ResencUNet", False), ("ResencUNet_SimonsInit", True)])
def test_residual_blocks_of_v1(setup, name, zero):
    recipe = presets.recipe(f"nnUNetTrainerV2_{name}")
    s = session(setup(recipe=recipe))
    last = [p for key, p in s.network.named_parameters() if ".conv2.norm.weight" in key]
    assert last
    assert all(bool(p.any()) != zero for p in last)
    assert s.configuration.architecture["arch_kwargs"]["n_blocks_per_stage"] == [1, 2, 3]
    assert deep_supervision.weights(3, coarsest=recipe.coarsest_output) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    s.freeze()
    assert all(p.requires_grad for p in s.network.parameters())


def test_a_plugins_network_without_such_a_choice_is_named(monkeypatch):
    from torch import nn

    class Mine(nn.Conv3d):
        def initialize(self):
            nn.init.ones_(self.weight)

    monkeypatch.setitem(architecture.NETWORKS._components, "Mine", architecture.NETWORKS["Primus"].__class__("Mine", make, "here"))
    content = {"network_class_name": "Mine", "arch_kwargs": {}}
    assert architecture.build(content, 1, 2, False).weight.min() == 1
    with pytest.raises(BadConfiguration, match="zeroResiduals: Conv3d has no choice of it"):
        architecture.build(content, 1, 2, False, zero_residuals=False)


def make(kwargs, channels_in, channels_out, deep):
    from torch import nn

    network = nn.Conv3d(channels_in, channels_out, 1)
    network.initialize = lambda: nn.init.ones_(network.weight)
    return network


@pytest.mark.parametrize(
    ("before", "changes", "key", "expected"),
    [
        (plain(3), {"base_features": 3}, "features_per_stage", [3, 6, 12]),
        (plain(3), {"base_features": 8}, "features_per_stage", [8, 12, 12]),
        (residual(3), {"blocks_per_stage": (1, 4)}, "n_blocks_per_stage", [1, 4, 4]),
        (plain(2), {"network": "ResidualEncoderUNet", "blocks_per_stage": (2,)}, "n_blocks_per_stage", [2, 2, 2]),
    ],
)
def test_more_network_changes(before, changes, key, expected):
    assert network_changes.changed(before, NetworkChanges(**changes), PATCH)["arch_kwargs"][key] == expected


@pytest.mark.parametrize(
    ("before", "changes", "patch", "message"),
    [
        (plain(3), {"blocks_per_stage": (1,)}, PATCH, "blocksPerStage: PlainConvUNet has no residual blocks"),
        (plain(3), {"network": "Primus", "normalization": "batch"}, PATCH, "network.normalization: Primus is a transformer"),
        (plain(3), {"network": "PrimusV2", "kernel_size": 3}, PATCH, "network.kernelSize: PrimusV2 is a transformer"),
        (plain(2), {"network": "Primus"}, [16, 16], "3D patches; this configuration's patch is 16×16"),
        (plain(3), {"network": "PrimusV3"}, [20, 16, 16], "20×16×16 is no multiple"),
        (
            network_changes.changed(plain(3), NetworkChanges(network="Primus"), PATCH),
            {"network": "PlainConvUNet"},
            PATCH,
            "the plans hold a Primus; a PlainConvUNet cannot be made of it",
        ),
    ],
)
def test_networks_that_do_not_fit(before, changes, patch, message):
    with pytest.raises(BadConfiguration, match=message):
        network_changes.changed(before, NetworkChanges(**changes), patch)


def test_the_results_plans_of_a_transformer_are_a_transformers(setup):
    first = network_changes.changed(plain(3), NetworkChanges(network="Primus", arch_kwargs={"embed_dim": 12}), PATCH)
    assert first["arch_kwargs"]["input_shape"] == PATCH
    assert network_changes.changed(first, NetworkChanges(network="Primus"), PATCH) == first
    assert network_changes.changed(first, NetworkChanges(), PATCH) == first


@pytest.mark.parametrize("version", ["_Primus_{}", "_PrimusV2{}", "_PrimusV3{}"])
@pytest.mark.parametrize("size", "SBML")
def test_the_trainer_that_nnunet_knows(version, size):
    name = f"nnUNet{version.format(size)}_Trainer"
    recipe = presets.recipe(name)
    changed = network_changes.changed(plain(3), recipe.network, PATCH)
    assert nnunet_trainer(changed) == name
    changed["arch_kwargs"]["eva_depth"] += 1
    assert nnunet_trainer(changed) == nnunet_trainer(plain(3)) == "nnUNetTrainer"
    optimizer = recipe.optimizer.parameters
    assert optimizer == {"learning_rate": 3e-4, "weight_decay": 5e-2, "beta1": 0.9, "beta2": 0.98}
    assert (recipe.warm_up_epochs, recipe.gradient_clip, recipe.deep_supervision) == (50, 1, False)


def test_stochastic_depth_is_the_same_after_a_resumption(setup):
    changes = TRANSFORMER | {"network": TINY | {"archKwargs": TINY["archKwargs"] | {"drop_path_rate": 0.5}}}
    whole = train(setup(changes, trainer="whole"))
    train(setup(changes | {"epochs": 1}, trainer="parts"))
    parts = train(setup(changes, trainer="parts", resume=True))
    expected, found = (checkpoint.load(r.checkpoint)["network_weights"] for r in (whole, parts))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_transformer_of_several_outputs_is_refused(setup):
    with pytest.raises(BadConfiguration, match="deepSupervision: Primus has one output"):
        train(setup({"network": TINY}))


def test_a_network_that_changes_under_a_checkpoint(setup):
    s = setup({"epochs": 1})
    first = train(s)
    changes = {"epochs": 2, "network": {"normalization": "batch"}}
    with pytest.raises(BadConfiguration) as refused:
        train(setup(changes, resume=True))
    assert refused.value.reason == "ResultsOfOtherPlans"
    assert any("architecture.arch_kwargs.norm_op" in line and "BatchNorm3d" in line for line in refused.value.findings)
    elsewhere = setup(changes, results=s.results / "elsewhere", resume_from=[first.checkpoint])
    with pytest.raises(BadConfiguration, match=r"another recipe.*of another network") as refused:
        train(elsewhere)
    assert refused.value.reason == "RecipeChanged"
    assert any(
        line.startswith("recipe.network.normalization: None in the checkpoint, 'batch' now") for line in refused.value.findings
    )
    assert any("arch_kwargs.norm_op" in line for line in refused.value.findings)


def test_a_checkpoint_that_knows_fewer_fields_is_continued(setup, tmp_path):
    first = train(setup({"epochs": 1}))
    content = checkpoint.load(first.checkpoint)
    for field in ("initialization", "coarsestOutput", "overTime"):
        del content[checkpoint.EXTRA]["recipe"][field]
    checkpoint.save(tmp_path / "old.pth", content)
    assert train(setup(trainer="later", resume_from=[tmp_path / "old.pth"])).resumed_from_epoch == 1


@pytest.mark.parametrize(
    ("names", "more"), [(None, {}), ({"background": 0, "ball": [1, 2], "core": 2, "ignore": 3}, {"regions_class_order": [1, 2]})]
)
def test_one_batch_of_noise(setup, monkeypatch, names, more):
    s = session(setup({"sampling": {"fixedBatch": True}}, dataset_json=dataset_json(names, **more)))
    monkeypatch.setattr(s.sampler, "batch", None)
    made = list(batches.batches(s, s.sampler, s.augmenter, 3, 1))
    assert len(made) == 2
    (data, targets), again = made
    assert again[0] is data
    assert data.shape == (2, 1, *PATCH)
    fold_training.start_epoch(s)
    assert iteration.train_step(s, data, targets).isfinite()
    seen = targets[0].unique().tolist()
    assert seen == ([0, 1, 2] if names is None else [False, True])


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
@pytest.mark.parametrize(
    "augmentation", ["none", "default", {"spatial": {"rotationProbability": 1.0}}, {"spatial": {"scaleProbability": 1.0}}]
)
def test_a_batch_of_noise_is_augmented_in_training_and_plain_in_validation(setup, configuration, augmentation):
    changes = {"sampling": {"fixedBatch": True}, "augmentation": augmentation}
    s = session(setup(changes, configuration=configuration))
    trained, validated = (
        next(batches.batches(s, sampler, augmenter, 1))
        for sampler, augmenter in ((s.sampler, s.augmenter), (s.validation_sampler, s.validation_augmenter))
    )
    raw = batches.noise(s, s.validation_augmenter).data
    assert trained[0].shape == validated[0].shape == raw.shape
    assert trained[0].isfinite().all()
    assert torch.equal(validated[0], torch.from_numpy(raw))
    assert torch.equal(trained[0], validated[0]) or augmentation != "none"
    fold_training.start_epoch(s)
    assert iteration.train_step(s, *trained).isfinite()
    assert iteration.validation_step(s, *validated)[0].isfinite()


@pytest.mark.reference
def test_the_wheels_predictor_loads_primus_and_gives_the_same_logits(setup):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    recipe = presets.trainers().resolve("small", "nnUNet_Primus_S_Trainer", {"epochs": 1, "iterationsPerEpoch": 1})
    s = setup(recipe=recipes.of(recipe | {"validationIterations": 1}))
    result = train(s)
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(s.model_folder), (0,), "checkpoint_final.pth")
    theirs = predictor.network
    theirs.load_state_dict(predictor.list_of_parameters[0], strict=True)
    written = json.loads((s.model_folder / "plans.json").read_text())["configurations"]["3d_fullres"]["architecture"]
    ours = architecture.build(written, 1, 3, False)
    ours.load_state_dict(checkpoint.load(result.checkpoint)["network_weights"])
    x = torch.randn(1, 1, *PATCH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-5)


@pytest.mark.reference
def test_steps_of_primus_are_the_wheels(setup, preprocessed, tmp_path, monkeypatch):
    """Optimizer, warm-up, clipping and loss: three epochs of one step each, from the same weights and on the same batches."""
    for name, folder in {"preprocessed": preprocessed.parent, "results": tmp_path / "theirs", "raw": tmp_path / "raw"}.items():
        monkeypatch.setenv(f"nnUNet_{name}", str(folder))
    from dynamic_network_architectures.architectures.primus import Primus
    from nnunetv2.training.nnUNetTrainer.primus.primus_trainers import nnUNet_Primus_S_Trainer

    sizes = {"embed_dim": 12, "eva_depth": 2, "eva_numheads": 1, "drop_path_rate": 0.0}

    class Small(nnUNet_Primus_S_Trainer):
        @staticmethod
        def build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=True
        ):
            shape = tuple(configuration_manager.patch_size)
            shared = {"input_shape": shape, "patch_embed_size": (8, 8, 8), "scale_attn_inner": True, "init_values": 0.1}
            return Primus(input_channels=num_input_channels, num_classes=num_output_channels, **sizes, **shared)

    content = plans() | {"continue_training": False}
    theirs = Small(content, "3d_fullres", 0, dataset_json(), device=torch.device("cpu"))
    theirs.initialize()
    recipe = presets.trainers().resolve("small", "nnUNet_Primus_S_Trainer", {"network": {"archKwargs": sizes}})
    ours = session(setup(recipe=recipes.of(recipe)))
    ours.network.load_state_dict(theirs.network.state_dict())
    theirs.optimizer, theirs.lr_scheduler = theirs.configure_optimizers("warmup_all")
    generator = torch.Generator().manual_seed(0)
    for epoch in range(3):
        data = torch.randn(2, 1, *PATCH, generator=generator)
        target = torch.randint(0, 3, (2, 1, *PATCH), generator=generator)
        theirs.lr_scheduler.step(epoch)
        ours.epoch = epoch
        assert fold_training.start_epoch(ours) == pytest.approx(theirs.optimizer.param_groups[0]["lr"], rel=1e-9)
        expected = float(theirs.train_step({"data": data, "target": target})["loss"])
        assert iteration.train_step(ours, data, [target]).item() == pytest.approx(expected, abs=1e-5)
    for (name, e), f in zip(theirs.network.named_parameters(), ours.network.parameters(), strict=True):
        torch.testing.assert_close(f, e, rtol=1e-4, atol=1e-5, msg=name)


def test_only_a_network_that_nobody_knows_has_no_memory_estimate():
    from nnunet_trainer.planning.gpu_memory import estimate_gb

    transformer = network_changes.changed(plain(3), NetworkChanges(network="Primus"), PATCH)
    for known in (transformer, plain(3)):
        assert estimate_gb([128] * 3, 2, known, "ExperimentPlanner") > 0
    assert estimate_gb([128] * 3, 2, {"network_class_name": "Mine", "arch_kwargs": {}}, "ExperimentPlanner") is None


@pytest.mark.reference
def test_networks_that_the_wheels_trainers_change_in_secret(setup, preprocessed, tmp_path, monkeypatch):
    """nnUNetTrainerBN's plans.json says InstanceNorm; its checkpoint is continued and its model loaded all the same."""
    for name, folder in {"preprocessed": preprocessed.parent, "results": tmp_path / "theirs", "raw": tmp_path / "raw"}.items():
        monkeypatch.setenv(f"nnUNet_{name}", str(folder))
    from nnunet_trainer.inference.model import Model
    from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerBN import nnUNetTrainerBN

    content = plans() | {"continue_training": False}
    theirs = nnUNetTrainerBN(content, "3d_fullres", 0, dataset_json(), device=torch.device("cpu"))
    theirs.initialize()
    folder = tmp_path / "nnUNetTrainerBN__nnUNetPlans__3d_fullres"
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.parent.mkdir(parents=True)
    theirs.inference_allowed_mirroring_axes = (0, 1, 2)
    theirs.save_checkpoint(str(path))
    (folder / "plans.json").write_text(json.dumps(plans()))
    (folder / "dataset.json").write_text(json.dumps(dataset_json()))
    model = Model.load(folder, device=torch.device("cpu"))
    x = torch.randn(1, *PATCH)
    theirs.set_deep_supervision_enabled(False)
    with torch.no_grad():
        torch.testing.assert_close(model.networks[0](x[None]), theirs.network.eval()(x[None]), rtol=0, atol=0)
    recipe = recipes.read({"epochs": 2, "iterationsPerEpoch": 1, "validationIterations": 1}, presets.recipe("nnUNetTrainerBN"))
    assert train(setup(recipe=recipe, resume_from=[path])).resumed_from_epoch == 1
    with pytest.raises(BadConfiguration, match="other plans") as refused:
        train(setup(trainer="another", resume_from=[path]))
    assert any("BatchNorm3d" in line and "InstanceNorm3d" in line for line in refused.value.findings)
