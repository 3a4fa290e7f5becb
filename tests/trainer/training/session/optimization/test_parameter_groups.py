"""Which parameters train, and at which rate."""

from __future__ import annotations

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.trainer_presets.fine_tuning import FINE_TUNING
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.recipes import presets
from nnunet_trainer.training.recipes.recipe import read
from nnunet_trainer.training.recipes.warnings import warnings_of
from nnunet_trainer.training.session import preparation
from nnunet_trainer.training.session.optimization import parameter_groups

from trainer.architecture.plans import plain

from ...conftest import plans
from ...pretrained.conftest import KINDS, build


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("dimension", [2, 3])
def test_layers_are_counted_from_the_image_to_the_segmentation(kind, dimension):
    network = build(kind, dimension)
    found = parameter_groups.layers(network)
    assert set(found) == {name for name, _ in network.named_parameters()}
    stem = kind == "residual"
    expected = {
        "encoder.stem.": 0,
        "encoder.stages.0.": stem,
        "encoder.stages.2.": stem + 2,
        "decoder.transpconvs.0.": stem + 3,
        "decoder.stages.0.": stem + 3,
        "decoder.stages.1.": stem + 4,
        "decoder.seg_layers.": stem + 5,
    }
    for prefix, layer in expected.items():
        assert {depth for name, depth in found.items() if name.startswith(prefix)} == (
            {layer} if prefix[8:12] != "stem" or stem else set()
        )


def test_each_layer_learns_at_its_own_rate():
    network = build()
    made, factors = parameter_groups.groups(network, {"decoder.seg_layers.*": 2.0}, 0.5)
    assert sum(len(group["params"]) for group in made) == len(list(network.parameters()))
    names = {id(p): n for n, p in network.named_parameters()}
    rates = {names[id(p)]: factor for group, factor in zip(made, factors, strict=True) for p in group["params"]}
    assert rates["decoder.seg_layers.0.weight"] == 2.0
    assert rates["decoder.stages.1.convs.0.conv.weight"] == 0.5
    assert rates["encoder.stages.0.0.convs.0.conv.weight"] == 0.5**5
    whole, one = parameter_groups.groups(network, {})
    assert one == [1.0]
    assert [id(p) for p in whole[0]["params"]] == [id(p) for p in network.parameters()]


def test_the_first_group_has_the_whole_rate():
    """Its rate is what is logged."""
    assert parameter_groups.groups(build(), {"encoder.*": 0.1})[1] == [1.0, 0.1]
    assert parameter_groups.groups(build(), {}, 0.9)[1][0] == 1.0


def test_layers_of_an_unknown_network_are_refused():
    with pytest.raises(BadConfiguration, match=r"recipe\.layerDecay: Linear has no encoder\.stages") as refused:
        parameter_groups.groups(torch.nn.Linear(2, 2), {}, 0.8)
    assert "learningRateFactors" in refused.value.hint


def test_a_pattern_that_fits_nothing_names_what_there_is():
    with pytest.raises(BadConfiguration, match=r"recipe\.freezing\.patterns: no parameter fits 'encodr\.\*'") as refused:
        parameter_groups.matching(build(), ["encodr.*"], "freezing.patterns")
    assert "encoder.stages" in refused.value.hint
    with pytest.raises(BadConfiguration, match=r"recipe\.learningRateFactors: no parameter fits 'head\*'"):
        parameter_groups.groups(build(), {"head*": 2.0})


def test_everything_frozen_is_refused():
    network = build()
    with pytest.raises(BadConfiguration, match="nothing is left to train") as refused:
        parameter_groups.freeze(network, [name for name, _ in network.named_parameters()])
    assert "decoder.seg_layers" in refused.value.hint


def test_a_frozen_batch_normalization_keeps_its_statistics():
    norm = {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}
    network = build(**norm).train()
    parameter_groups.freeze(network, parameter_groups.matching(network, ["encoder.*"], "freezing.patterns"))
    before = {key: value.clone() for key, value in network.state_dict().items() if "running_mean" in key}
    network(torch.randn(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(0)))
    for key, value in network.state_dict().items():
        if "running_mean" in key:
            assert torch.equal(value, before[key]) == ("encoder." in key), key
    parameter_groups.freeze(network.train(), [])
    assert all(module.training for module in network.modules())


def test_the_encoder_is_frozen_for_the_first_epochs_only(setup):
    """Two epochs, frozen for one: the first checkpoint has the initial encoder, the last has another."""
    stem, head = "encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.1.weight"
    seen = []
    changes = {"freezing": {"patterns": ["encoder.*"], "untilEpoch": 1}, "layerDecay": 0.5}
    hook = lambda path, epoch, digest: seen.append((epoch, checkpoint.load(path)["network_weights"]))  # noqa: E731
    train(setup(changes, on_checkpoint=hook))
    train(setup(changes, trainer="again", on_checkpoint=hook))
    first, last = (next(w for e, w in seen if e == epoch) for epoch in (1, 2))
    initial = next(w for e, w in seen[len(seen) // 2 :] if e == 1)
    assert torch.equal(first[stem], initial[stem])
    assert not torch.equal(first[stem], last[stem])
    assert not torch.equal(first[head], last[head])


def test_what_can_hardly_be_meant_is_told(setup):
    said = []
    changes = {"epochs": 1, "warmUpEpochs": 5, "freezing": {"patterns": ["encoder.*"], "untilEpoch": 9}}
    train(setup(changes, log=said.append))
    assert any("rises for 5 epochs, and there are 1" in line for line in said)
    assert any("frozen until epoch 9, and there are 1" in line for line in said)
    assert warnings_of(read({})) == []


@pytest.mark.parametrize("name", list(FINE_TUNING))
@pytest.mark.parametrize("kind", list(KINDS))
def test_trainers_for_fine_tuning_fit_both_networks(name, kind):
    recipe = presets.recipe(name)
    assert warnings_of(recipe) == []
    network = build(kind)
    parameter_groups.freeze(network, parameter_groups.matching(network, recipe.freezing.patterns, "freezing.patterns"))
    training = {name.split(".")[0] + "." + name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    if "headsFirst" in name or "headsOnly" in name:
        assert training == {"decoder.seg_layers"}
    elif "Encoder" in name or "decoderOnly" in name:
        assert training == {"decoder.stages", "decoder.transpconvs", "decoder.seg_layers"}
    else:
        assert "encoder.stages" in training
    parameter_groups.groups(network, recipe.learning_rate_factors, recipe.layer_decay)


def test_the_rise_of_fine_tuning(setup):
    """Linear over 50 epochs to 1e-3, then nnU-Net's schedule."""
    from nnunet_trainer.training.loop import fold_training
    from nnunet_trainer.training.ranks import distributed

    recipe = presets.recipe("nnUNetTrainerFineTune_layerDecay08")
    with distributed.ranks("cpu") as ranks:
        made = preparation.prepare(setup(recipe=recipe, plans=plans(architecture=plain(3))), ranks)
    rates = {}
    for made.epoch in (0, 24, 49, 50, 150, 249):
        rates[made.epoch] = fold_training.start_epoch(made)
    assert rates[0] == pytest.approx(1e-3 / 50)
    assert rates[24] == pytest.approx(1e-3 / 2)
    assert rates[49] == rates[50] == pytest.approx(1e-3)
    assert rates[150] == pytest.approx(1e-3 * 0.5**0.9)
    assert 0 < rates[249] < 1e-4
