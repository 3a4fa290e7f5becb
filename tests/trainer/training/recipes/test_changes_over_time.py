"""What changes during a training, in 2D, and when it ends early."""

import math

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.training.components import lookup, over_time, schedules
from nnunet_trainer.training.loop import fold_training
from nnunet_trainer.training.ranks.distributed import ranks
from nnunet_trainer.training.recipes import presets
from nnunet_trainer.training.recipes.recipe import EarlyStopping, Recipe, read, write
from nnunet_trainer.training.session.early_stopping import exhausted
from nnunet_trainer.training.session.history import History
from nnunet_trainer.training.session.preparation import prepare


def session(s):
    with ranks("cpu") as here:
        return prepare(s, here)


@pytest.mark.parametrize(("fraction", "expected"), [(0, 2), (0.4, 2), (0.5, 2), (0.625, 1), (0.75, 0), (1, 0)])
def test_values_between_knots(fraction, expected):
    assert over_time.value([[0.5, 2], [0.75, 0]], fraction) == pytest.approx(expected)


def test_v1s_transition_and_momentum():
    mixing = presets.recipe("nnUNetTrainerV2_graduallyTransitionFromCEToDice").over_time
    slowing = presets.recipe("nnUNetTrainerV2_reduceMomentumDuringTraining").over_time
    for epoch in range(0, 1001, 50):
        dice = 0 if epoch < 500 else min(2, (epoch - 500) / 125)
        weights = over_time.at(mixing, "loss", epoch / 1000)
        assert (weights["weight_ce"], weights["weight_dice"]) == pytest.approx((2 - dice, dice))
        momentum = 0.99 - max(0, epoch - 800) * 0.09 / 200
        assert over_time.at(slowing, "optimizer", epoch / 1000) == {"momentum": pytest.approx(momentum)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.weightCE": [[0, 1]]}, "DiceCE has no such number that can change.*weightCe"),
        ({"optimizer.learningRate": [[0, 1]]}, "it has weightDecay, momentum"),
        ({"loss.weightCe": [[0, -1]]}, "-1.0 is out of range; a number at least 0"),
        ({"loss.weightCe": [[0.5, 1], [0.2, 0]]}, "in rising order"),
        ({"loss.weightCe": [[0.5, 1, 2]]}, "in rising order"),
        ({"loss.weightCe": []}, "in rising order"),
        ({"schedule.exponent": [[0, 1]]}, "loss.<parameter> or optimizer.<parameter>"),
        ({"loss.weightCe": [0, 1]}, "a list was expected"),
    ],
)
def test_what_cannot_change(changes, message):
    with pytest.raises(BadConfiguration, match=message):
        read({"overTime": changes})


def test_another_loss_must_have_what_changes():
    base = presets.recipe("nnUNetTrainerV2_graduallyTransitionFromCEToDice")
    with pytest.raises(BadConfiguration, match=r"overTime\.loss\.weightCe: CE has no such number"):
        read({"loss": "CE"}, base)


def test_an_epoch_begins_with_its_values(setup):
    s = session(
        setup(
            {
                "epochs": 4,
                "overTime": {"loss.weightCe": [[0, 1], [0.5, 0]], "optimizer.momentum": [[0, 0.5], [1, 0.9]]},
                "deepSupervision": False,
            }
        )
    )
    logits, target = torch.randn(1, 3, 4, 4, 4), torch.randint(0, 3, (1, 1, 4, 4, 4))
    parts = {name: lookup.find("loss", name).make for name in ("CE", "Dice")}
    from nnunet_trainer.training.components.losses.context import LossContext

    ce, dice = (parts[name](LossContext())(logits, target) for name in ("CE", "Dice"))
    for epoch, (weight, momentum) in enumerate([(1, 0.5), (0.5, 0.6), (0, 0.7), (0, 0.8)]):
        s.epoch = epoch
        fold_training.start_epoch(s)
        assert s.optimizer.param_groups[0]["momentum"] == pytest.approx(momentum)
        torch.testing.assert_close(s.criterion([logits], [target]), weight * ce + dice)


def test_what_differs_in_2d(setup):
    changes = {"in2d": {"optimizer": {"momentum": 0.9}, "network": {"normalization": "batch"}}}
    flat, deep = session(setup(changes, configuration="2d")), session(setup(changes))
    assert flat.optimizer.param_groups[0]["momentum"] == 0.9
    assert deep.optimizer.param_groups[0]["momentum"] == 0.99
    assert "BatchNorm2d" in flat.configuration.architecture["arch_kwargs"]["norm_op"]
    assert "InstanceNorm3d" in deep.configuration.architecture["arch_kwargs"]["norm_op"]
    recipe = read(changes).for_patch((4, 4))
    assert recipe.for_patch((4, 4)) == recipe == read(write(recipe))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"optimizer": {"momentm": 1}}, r"recipe\.in2d\.optimizer\.momentm.*momentum"), ({"in2d": {}}, r"in2d\.in2d: there is no")],
)
def test_what_is_wrong_in_2d_is_named(changes, message):
    with pytest.raises(BadConfiguration, match=message):
        read({"in2d": changes})


def v1_ends(losses, rates, patience, threshold):
    """v1's `manage_patience`, epoch by epoch: the number of epochs that are trained."""
    best = best_epoch = average = None
    for epoch, loss in enumerate(losses):
        average = loss if average is None else 0.93 * average + 0.07 * loss
        if best is None:
            best, best_epoch = average, epoch
        if average + threshold < best:
            best, best_epoch = average, epoch
        if epoch - best_epoch > patience:
            if rates[epoch + 1] > 1e-6:
                best_epoch = epoch - patience // 2
            else:
                return epoch + 1
    return len(losses)


@pytest.mark.parametrize("seed", range(6))
def test_it_ends_when_v1_would(seed):
    generator = torch.Generator().manual_seed(seed)
    losses = (torch.rand(120, generator=generator) + torch.linspace(1, 0, 120).clamp_min(0.3 + 0.1 * seed)).tolist()
    rates = [3e-4 * 0.2 ** (epoch // 15) for epoch in range(121)]
    stopping = EarlyStopping(patience=8, threshold=5e-3)
    ended = [n for n in range(1, 121) if exhausted(stopping, {"train_losses": losses[:n], "lrs": rates[:n]}, rates[n])]
    assert min(ended, default=120) == v1_ends(losses, rates, 8, 5e-3)


def test_a_training_that_ends_early_is_finished(setup):
    changes = {"epochs": 50, "iterationsPerEpoch": 1, "validationIterations": 1}
    changes["earlyStopping"] = {"patience": 2, "threshold": 100, "lowestRate": 1}
    result = fold_training.train(setup(changes))
    assert result.epochs == 4
    assert checkpoint.load(result.checkpoint)["current_epoch"] == 4
    assert fold_training.train(setup(changes, resume=True)).found


def test_the_first_trainer_of_v1():
    recipe = presets.recipe("nnUNetTrainerV1")
    assert recipe.optimizer.parameters == {"amsgrad": True, "learning_rate": 3e-4}
    assert (recipe.optimizer.name, recipe.schedule.name, recipe.early_stopping) == ("Adam", "plateau", EarlyStopping())
    assert not recipe.deep_supervision
    assert recipe.gradient_clip is None
    assert presets.recipe("nnUNetTrainerCE").loss.name == "CE"
    assert presets.recipe("nnUNetTrainer") == Recipe()


def test_schedules_by_their_formulas():
    fixed = lookup.find("schedule", "stepsThenPoly").make(1000, at=[0.5, 0.675])
    assert [fixed(e, {}) for e in (0, 499, 500, 674)] == pytest.approx([1, 1, 0.1, 0.1])
    assert fixed(675, {}) == pytest.approx(0.01)
    assert fixed(900, {}) == pytest.approx(0.01 * (1 - 225 / 325) ** 0.9)
    cyclic = lookup.find("schedule", "cyclic").make(1000, length=10, lowest=0.2)
    assert [cyclic(e, {}) for e in (0, 5, 10, 12)] == pytest.approx([0.2, 1, 0.2, 0.52])


@pytest.mark.parametrize("name", sorted(lookup.registry("schedule")))
def test_each_schedule_with_a_warm_up(name):
    needed = {"at": [0.5]} if name.startswith("steps") else {}
    history = {"train_losses": [1.0] * 60}
    make = lookup.find("schedule", name).make
    rate = schedules.with_warm_up(lambda epochs: make(epochs, **needed), 60, 10)
    rest = make(50, **needed)
    assert [rate(e, history) for e in range(10)] == pytest.approx([(e + 1) / 10 for e in range(10)])
    assert [rate(e, history) for e in range(10, 60)] == [rest(e - 10, history) for e in range(10, 60)]
    assert all(math.isfinite(rate(e, history)) for e in range(60))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"overTime": {"optimizer.momentun": [[0, 1]]}}, r"overTime\.optimizer\.momentun: SGD has no such number"),
        ({"optimizer": "Adam", "in2d": {"optimizer": {"momentum": 0.9}}}, r"in2d\.optimizer\.momentum: Adam has no such parameter"),
        ({"optimizer": "AdamW", "overTime": {"optimizer.momentum": [[0, 0.5]]}}, "AdamW has no such number.*weightDecay"),
    ],
)
def test_the_operator_knows_it_too(recipe, message):
    from nnunet_trainer.contract.catalogue import packaged

    with pytest.raises(BadConfiguration, match=message):
        packaged().trainers(names_pass=True).resolve("mine", "nnUNetTrainer", recipe)
    packaged().trainers(fields_pass=True).resolve("mine", "nnUNetTrainer", {"overTime": {"optimizer.other": [[0, 1]]}})
    mine = {"loss": {"name": "APlugins"}, "overTime": {"loss.anything": [[0, 1]]}}
    packaged().trainers(names_pass=True).resolve("mine", "nnUNetTrainer", mine)


def no_foreground(monkeypatch, finds=()):
    """Epochs in which no patch is predicted right, but for those in `finds`."""
    add = History.add

    def blind(self, *, dice, **more):
        add(self, dice=[0.5 if len(self) in finds else 0.0 for _ in dice], **more)

    monkeypatch.setattr(History, "add", blind)


@pytest.mark.parametrize(("finds", "anew"), [((), True), ((0,), True), ((1,), False)])
def test_it_begins_anew_where_it_finds_nothing(setup, monkeypatch, finds, anew):
    no_foreground(monkeypatch, finds)
    changes = {"epochs": 2, "newStart": {"epoch": 2, "momentum": 0.8}, "learningRateFactors": {"*": 0}}
    s = setup(changes, log=(lines := []).append)
    initial = session(s).network.state_dict()
    content = checkpoint.load(fold_training.train(s).checkpoint)
    moved = [k for k, v in content["network_weights"].items() if k.endswith(".conv.weight") and not torch.equal(v, initial[k])]
    assert bool(moved) == anew
    if anew:
        convolutions = [k for k in initial if k.endswith(".conv.weight")]
        assert moved == convolutions
        for key in (k for k in convolutions if initial[k].numel() > 800):
            assert content["network_weights"][key].std().item() == pytest.approx(initial[key].std().item(), rel=0.3)
    assert any("begin anew" in line for line in lines) == anew
    assert content["optimizer_state"]["param_groups"][0]["momentum"] == (0.8 if anew else 0.99)
