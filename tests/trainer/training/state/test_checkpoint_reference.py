"""Checkpoints go both ways: the wheel predicts with and continues ours, we load and continue its."""

import json

import numpy as np
import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.work_order import PretrainedPolicies
from nnunet_trainer.training import pretrained
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.session import preparation

from trainer.architecture.plans import plain, residual

from ..conftest import dataset_json, plans

pytestmark = pytest.mark.reference


@pytest.fixture
def wheel(monkeypatch, preprocessed, tmp_path):
    """The wheel's trainer for our data; its folders by environment."""
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed.parent))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "theirs"))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    def make(content=None, configuration="3d_fullres", description=None):
        torch.manual_seed(5)
        content = json.loads(json.dumps(content or plans())) | {"continue_training": False}
        trainer = module.nnUNetTrainer(content, configuration, 0, description or dataset_json(), device=torch.device("cpu"))
        trainer.initialize()
        return trainer

    return make


def genuine(trainer, path, channels=1):
    """A checkpoint as the wheel writes it: after a step, with numpy scalars in its log, in epoch 1 of 2."""
    data = torch.randn(2, channels, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    target = [torch.zeros(2, 1, 8 // 2**i, 16 // 2**i, 16 // 2**i) for i in range(2)]
    trainer.num_epochs = 2
    trainer.inference_allowed_mirroring_axes = (0, 1, 2)
    trainer.train_step({"data": data, "target": target})
    trainer.logger.log("lrs", 0.01, 0)
    trainer.logger.log("epoch_start_timestamps", 1.0, 0)
    trainer.logger.log("epoch_end_timestamps", 2.0, 0)
    trainer.logger.log("train_losses", np.float32(0.5), 0)
    trainer.logger.log("val_losses", np.float32(0.4), 0)
    trainer.logger.log("mean_fg_dice", np.float64(0.3), 0)
    trainer.logger.log("dice_per_class_or_region", [np.float32(0.2), np.float32(0.4)], 0)
    trainer._best_ema = np.float64(0.3)
    trainer.save_checkpoint(str(path))
    return path


def test_the_wheels_predictor_loads_ours_and_gives_the_same_logits(setup):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    s = setup({"network": {"normalization": "batch"}})
    result = train(s)
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(s.model_folder), (0,), "checkpoint_final.pth")
    assert predictor.allowed_mirroring_axes == (0, 1, 2)
    theirs = predictor.network
    theirs.load_state_dict(predictor.list_of_parameters[0], strict=True)
    written = json.loads((s.model_folder / "plans.json").read_text())["configurations"]["3d_fullres"]["architecture"]
    ours = architecture.build(written, 1, 3, False)
    ours.load_state_dict(checkpoint.load(result.checkpoint)["network_weights"])
    x = torch.randn(1, 1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)


def test_the_wheel_continues_ours(setup, wheel):
    result = train(setup({"epochs": 1}))
    trainer = wheel()
    trainer.load_checkpoint(str(result.checkpoint))
    assert trainer.current_epoch == 1
    assert len(trainer.logger.get_value("ema_fg_dice", None)) == 1
    data = torch.randn(2, 1, 8, 16, 16)
    target = [torch.zeros(2, 1, 8 // 2**i, 16 // 2**i, 16 // 2**i) for i in range(2)]
    assert np.isfinite(trainer.train_step({"data": data, "target": target})["loss"])


def test_we_continue_the_wheels(setup, wheel, tmp_path):
    path = genuine(wheel(), tmp_path / "checkpoint_latest.pth")
    with pytest.raises(Exception, match="weights_only"):
        torch.load(path, weights_only=True)
    result = train(setup(resume_from=[path]))
    assert result.resumed_from_epoch == 1
    assert result.epochs == 2
    log = checkpoint.load(result.checkpoint)["logging"]
    assert log["train_losses"][0] == pytest.approx(0.5)
    assert all(type(value) is float for value in log["mean_fg_dice"])
    torch.load(result.checkpoint, weights_only=True)


def test_pretrained_weights_are_the_wheels(setup, wheel, tmp_path):
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    path = genuine(wheel(), tmp_path / "checkpoint_final.pth")
    torch.manual_seed(1)
    theirs = wheel().network
    ours = architecture.build(plans()["configurations"]["3d_fullres"]["architecture"], 1, 3, True)
    ours.load_state_dict(theirs.state_dict())
    load_pretrained_weights(theirs, str(path))
    report = pretrained.load(ours, path)
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=0)
    assert set(report.skipped) == {key for key in theirs.state_dict() if ".seg_layers." in key}


@pytest.mark.parametrize("architecture_of", [plain, residual])
def test_policies_on_the_wheels_checkpoint(setup, wheel, tmp_path, architecture_of):
    """Two channels and other labels, written by the wheel's trainer: read without running code, trained on."""
    labels = {"background": 0, "core": 1, "vessel": 2, "bone": 3}
    content = plans(architecture=architecture_of(3))
    description = dataset_json(labels) | {"channel_names": {"0": "MRI", "1": "MRI"}}
    content["configurations"]["3d_fullres"] |= {
        "normalization_schemes": ["ZScoreNormalization"] * 2,
        "use_mask_for_norm": [False] * 2,
    }
    theirs = wheel(content, "3d_fullres", description)
    path = genuine(theirs, tmp_path / "checkpoint_final.pth", channels=2)
    policies = PretrainedPolicies(input_channels="Average", heads="MatchByLabel")
    everything_else = {"freezing": {"patterns": ["encoder.*", "decoder.stages.*", "decoder.transpconvs.*"]}, "epochs": 1}
    said = []
    ours = plans(architecture=architecture_of(3))
    result = train(setup(everything_else, plans=ours, pretrained=path, pretrained_policies=policies, log=said.append))
    report = result.pretrained
    assert (report.kept_labels, report.new_labels) == (["background", "core"], ["shell"])
    assert any("heads kept: background, core; heads that begin anew: shell" in line for line in said)
    written, expected = checkpoint.load(result.checkpoint)["network_weights"], theirs.network.state_dict()
    assert list(written) == list(expected)
    for key, value in written.items():
        if ".seg_layers." not in key:
            source = expected[key]
            same = source.sum(1, keepdim=True) if source.shape != value.shape else source
            torch.testing.assert_close(value, same, msg=key)


REGIONS = {"background": 0, "ball": [1, 2], "core": 2, "ignore": 3}


@pytest.mark.parametrize(
    ("configuration", "architecture_of", "labels", "more"),
    [
        ("3d_fullres", plain, None, {}),
        ("2d", plain, None, {}),
        ("3d_fullres", residual, None, {}),
        ("3d_fullres", plain, {"background": 0, "shell": 1, "core": 2, "ignore": 3}, {}),
        ("2d", residual, REGIONS, {"regions_class_order": [1, 2]}),
    ],
    ids=["3d", "2d", "resenc", "ignore", "resenc-2d-regions-ignore"],
)
def test_the_loss_curve_is_the_wheels(wheel, setup, configuration, architecture_of, labels, more):
    """From the same weights and on the same batches, 30 steps of SGD."""
    from nnunet_trainer.training.loop import iteration
    from nnunet_trainer.training.ranks import distributed

    content, description = plans(), dataset_json(labels, **more)
    chosen = content["configurations"][configuration]
    chosen["architecture"] = architecture_of(3 if configuration == "3d_fullres" else 2)
    chosen["batch_dice"] = configuration == "2d"
    theirs = wheel(content, configuration, description)
    with distributed.ranks("cpu") as ranks:
        ours = preparation.prepare(setup(plans=content, configuration=configuration, dataset_json=description), ranks)
    ours.network.load_state_dict(theirs.network.state_dict())
    ours.freeze()
    # In double precision: 30 steps at this momentum make a difference in the order of sums hundreds of times larger.
    theirs.network.double(), ours.network.double()
    theirs.network.train(), ours.network.train()
    generator = torch.Generator().manual_seed(2)
    found, expected = [], []
    for _ in range(30):
        data = torch.randn(chosen["batch_size"], 1, *chosen["patch_size"], generator=generator).double()
        seg = (data > 0.5).to(torch.int16) + (data > 1)
        if labels:
            seg[torch.rand(seg.shape, generator=generator) < 0.2] = 3
        whole = [seg == 1, seg == 2, seg == 3] if more else [seg]
        if more:
            whole[0] = whole[0] | whole[1]
        target = torch.cat(whole, 1)
        halved = target[(..., *[slice(None, None, 2)] * len(chosen["patch_size"]))]
        expected.append(float(theirs.train_step({"data": data, "target": [target.clone(), halved.clone()]})["loss"]))
        found.append(iteration.train_step(ours, data, [target, halved]).item())
    assert found == pytest.approx(expected, abs=1e-5)
    assert expected[-1] < expected[0]


@pytest.mark.parametrize(
    ("labels", "more"),
    [(None, {}), ({"background": 0, "shell": 1, "core": 2, "ignore": 3}, {}), (REGIONS, {"regions_class_order": [1, 2]})],
    ids=["labels", "ignore", "regions-ignore"],
)
def test_validation_counts_and_loss_are_the_wheels(wheel, setup, labels, more):
    from nnunet_trainer.training.loop import iteration
    from nnunet_trainer.training.ranks import distributed

    description = dataset_json(labels, **more)
    theirs = wheel(None, "3d_fullres", description)
    with distributed.ranks("cpu") as ranks:
        ours = preparation.prepare(setup(dataset_json=description), ranks)
    ours.network.load_state_dict(theirs.network.state_dict())
    theirs.network.eval(), ours.network.eval()
    generator = torch.Generator().manual_seed(4)
    data = torch.randn(2, 1, 8, 16, 16, generator=generator)
    channels = 3 if more else 1
    target = torch.randint(0, 2 if more else 3 + bool(labels), (2, channels, 8, 16, 16), generator=generator)
    target = target.bool() if more else target.to(torch.int16)
    halved = target[:, :, ::2, ::2, ::2]
    with torch.no_grad():
        expected = theirs.validation_step({"data": data, "target": [target.clone(), halved.clone()]})
    loss, counts = iteration.validation_step(ours, data, [target, halved])
    assert loss.item() == pytest.approx(float(expected["loss"]), abs=1e-5)
    for found, key in zip(counts, ("tp_hard", "fp_hard", "fn_hard"), strict=True):
        assert found.tolist() == expected[key].tolist(), key
