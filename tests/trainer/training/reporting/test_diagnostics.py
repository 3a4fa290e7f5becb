"""Signs of trouble: each is named once when it begins, with what to change, and once when it is over; the healthy have none."""

import math

import pytest
from nnunet_trainer.training.recipes.recipe import read
from nnunet_trainer.training.reporting.diagnostic_checks import DiagnosticContext
from nnunet_trainer.training.reporting.diagnostics import Diagnostics
from nnunet_trainer.training.reporting.epoch_statistics import EpochStatistics
from nnunet_trainer.training.session.history import History

NAMES = ["liver", "tumour"]


def of(waiting):
    """Seconds of the phases of an epoch that waited for such a share of its time."""
    return {"waiting for data": 10 * waiting, "backward": 10 * (1 - waiting)}


class Run:
    """A training that is told epoch by epoch."""

    def __init__(self, changes=None, holding=lambda index: (5, 40), **known):
        self.history = History()
        self.known = DiagnosticContext(
            logging=self.history.lists, recipe=read(changes or {}), names=NAMES, holding=holding, **known
        )
        self.troubles = Diagnostics(self.known)
        self.log = []

    def epoch(self, loss=None, dice=(0.5, 0.5), val_loss=0.4, *, seen=(True, True), patches=500, waiting=0.0, **statistics):
        loss = 0.5 - 0.02 * len(self.history) if loss is None else loss
        self.history.add(train_loss=loss, val_loss=val_loss, dice=dice, learning_rate=0.01, started=1.0, ended=2.0)
        began, over = self.troubles.look(EpochStatistics(patches=patches, seen=seen, seconds=of(waiting), **statistics))
        self.log += [("began", text) for text in began] + [("over", text) for text in over]
        return began, over

    def epochs(self, count, **values):
        for _ in range(count):
            self.epoch(**values)

    @property
    def only(self):
        """The text of the one sign there is."""
        (text,) = self.troubles.texts
        return text


def test_a_healthy_training_has_no_sign():
    run = Run(on_gpu=True, workers=7, cores=8)
    run.epoch(1.2, (0.0, math.nan), waiting=0.9, clipped=1.0)  # the first epoch opens cases and compiles
    for i in range(200):
        # LossAccumulator fall and waver, the small class is learnt late.
        loss = 0.1 - 0.9 * (1 - math.exp(-i / 40)) + 0.05 * math.sin(i)
        run.epoch(loss, (min(0.9, i / 50), 0.0 if i < 25 else 0.4), waiting=0.1, clipped=0.1)
    assert run.log == []


def test_a_sign_is_said_once_when_it_begins_and_once_when_it_is_over():
    run = Run()
    run.epochs(3)
    assert run.epoch(val_loss=math.nan)[0] == run.troubles.texts
    run.epochs(4, val_loss=math.inf)
    assert "since epoch 3" in run.only
    text = run.only
    assert run.epoch() == ([], [text])
    assert run.log == [("began", text), ("over", text)]
    assert run.troubles.texts == []


def test_a_class_that_no_patch_shows_and_no_case_holds():
    run = Run(holding=lambda index: (0, 40))
    run.epochs(2)
    run.epochs(2, seen=(True, False))
    assert run.log == []
    run.epochs(5, seen=(True, False))
    assert "since epoch 2 showed tumour" in run.only
    assert "No training case of this fold holds tumour: mend the labels" in run.only
    run.epoch()
    assert [what for what, _ in run.log] == ["began", "over"]


def test_a_class_that_no_patch_shows_and_few_cases_hold():
    run = Run({"sampling": {"oversampleForeground": 0.1}}, holding=lambda index: (2, 40))
    run.epochs(3, seen=(True, False))
    assert "Of 40 training cases so many hold it: tumour 2." in run.only
    assert "oversampleForeground (0.1)" in run.only


def test_one_more_class_is_another_trouble():
    run = Run()
    run.epochs(4, seen=(True, False))
    run.epochs(4, seen=(False, False))
    assert [what for what, _ in run.log] == ["began", "began", "over"]
    assert "liver, tumour" in run.only


def test_short_epochs_are_put_together_before_a_class_is_missed():
    run = Run()
    run.epochs(9, seen=(True, False), patches=10)
    assert run.log == []
    run.epoch(seen=(True, False), patches=10)
    assert "since epoch 0" in run.only


@pytest.mark.parametrize(("epochs", "needed"), [(1000, 30), (100, 20), (10, 5)])
def test_a_class_that_is_never_found(epochs, needed):
    run = Run({"epochs": epochs})
    run.epoch(dice=(0.2, 0.1))
    # What neither was there nor was found says nothing.
    run.epoch(dice=(0.2, math.nan))
    for i in range(needed - 1):
        run.epoch(loss=0.4 - i / 100, dice=(0.2, 0.0))
    assert run.log == []
    run.epoch(loss=0.0, dice=(0.2, 0.0))
    assert "pseudo-Dice of tumour is 0 since epoch 2" in run.only
    run.epoch(loss=0.0, dice=(0.2, math.nan))
    assert "since epoch 2" in run.only
    run.epoch(loss=0.0, dice=(0.2, 0.01))
    assert run.troubles.texts == []


def test_a_loss_that_does_not_fall():
    run = Run()
    for i in range(12):
        run.epoch(0.9 + 0.02 * math.sin(i))
    assert "The training loss does not fall: 0.9 in epoch 0" in run.only
    assert "recipe.optimizer.learningRate" in run.only
    run.epochs(6, loss=0.6)
    assert run.troubles.texts == []


def test_pretrained_weights_may_have_nothing_more_to_gain():
    run = Run(pretrained=True)
    run.epochs(30, loss=-0.8)
    assert run.log == []
    run.epochs(10, loss=-0.6)
    assert "does not fall" in run.only


def test_a_loss_that_explodes():
    run = Run()
    for loss in (0.8, 0.5, 0.3, 0.25):
        run.epoch(loss)
    run.epochs(3, loss=4.0)
    assert "explodes: 4 in epoch 4, never above 0.8 before" in run.only
    assert "learningRate (now 0.01)" in run.only
    run.epoch(0.4)
    assert [what for what, _ in run.log] == ["began", "over"]


def test_gradients_that_are_always_clipped():
    run = Run()
    run.epochs(2, clipped=1.0, gradient_norm=50.0)
    run.epoch(clipped=0.5)
    run.epochs(3, loss=0.4, clipped=0.97, gradient_norm=57.0)
    assert "since epoch 3 are clipped: their norm is 57 on average, recipe.gradientClip 12" in run.only
    run.epoch(0.3, clipped=0.85)
    assert len(run.troubles.texts) == 1
    run.epoch(0.3, clipped=0.5)
    assert run.troubles.texts == []


def test_a_gpu_that_starves_for_want_of_cores():
    run = Run(on_gpu=True, workers=3, cores=4)
    run.epoch(waiting=0.9)
    run.epoch(waiting=0.5)
    assert run.log == []
    run.epoch(waiting=0.43)
    assert "waits for data 43% of the time since epoch 1" in run.only
    assert "spec.template.resources" in run.only
    run.epoch(waiting=0.25)
    assert len(run.log) == 1
    run.epoch(waiting=0.1)
    assert [what for what, _ in run.log] == ["began", "over"]


def test_a_gpu_that_starves_for_want_of_threads():
    run = Run(on_gpu=True, workers=2, cores=16)
    run.epochs(4, waiting=0.5)
    assert "Raise --workers up to 15" in run.only


def test_a_cpu_does_not_starve():
    run = Run(on_gpu=False)
    run.epochs(5, waiting=0.9)
    assert run.log == []


def test_steps_that_were_skipped():
    run = Run()
    run.epoch(skipped=1)
    assert "no number in 1 step of epoch 0" in run.only
    run.epoch(skipped=2)
    assert len(run.log) == 1
    run.epoch()
    assert [what for what, _ in run.log] == ["began", "over"]


def test_many_classes_are_cut():
    history = History()
    names = [f"vertebra {i}" for i in range(25)]
    known = DiagnosticContext(logging=history.lists, recipe=read({}), names=names, holding=lambda index: (1, 9))
    troubles = Diagnostics(known)
    for _ in range(3):
        history.add(train_loss=0.5, val_loss=0.4, dice=[0.5] * 25, learning_rate=0.01, started=1.0, ended=2.0)
        troubles.look(EpochStatistics(patches=500, seen=(False,) * 25, seconds={}))
    (text,) = troubles.texts
    assert "vertebra 7 and 17 more" in text
    assert len(text) < 600
