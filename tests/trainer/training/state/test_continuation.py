"""A finished training that is gone on from: what is taken over, what the learning rate does, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract.faults import BadConfiguration, BadData, BadUsage, Stopped
from nnunet_trainer.training.components import lookup, schedules
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks import distributed
from nnunet_trainer.training.session.preparation import prepare
from nnunet_trainer.training.session.setup import ContinuedTraining, TrainingSetup
from nnunet_trainer.training.state import continuation

Schedule = Literal["Stretch", "Restart"]
Setup = Callable[..., TrainingSetup]


@pytest.fixture(scope="module")
def finished(preprocessed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The final checkpoint of a training of two epochs."""
    from trainer.training.conftest import dataset_json, plans, read

    recipe = read({"epochs": 2, "iterationsPerEpoch": 3, "validationIterations": 2})
    return train(
        TrainingSetup(
            preprocessed=preprocessed,
            results=tmp_path_factory.mktemp("finished"),
            plans=plans(),
            dataset_json=dataset_json(),
            configuration="3d_fullres",
            fold="0",
            trainer="nnUNetTrainer_short",
            recipe=recipe,
            device="cpu",
            workers=0,
            validation=False,
        )
    ).checkpoint


def going_on(setup: TrainingSetup, path: Path, schedule: Schedule = "Stretch", more: int = 2) -> TrainingSetup:
    epochs = continuation.finished_epochs(path)
    continued = ContinuedTraining(
        checkpoint=path, epochs=epochs, additional_epochs=more, schedule=schedule, source="TrainingRun base (fold 0)"
    )
    return replace(setup, continues=continued, recipe=continuation.extended(setup.recipe, continued))


RATES: dict[Schedule, list[float]] = {
    "Stretch": [0.01 * (1 - 2 / 4) ** 0.9, 0.01 * (1 - 3 / 4) ** 0.9],
    "Restart": [0.01 * (1 - 0 / 2) ** 0.9, 0.01 * (1 - 1 / 2) ** 0.9],
}


@pytest.mark.parametrize("schedule", RATES)
def test_two_epochs_and_two_more(setup: Setup, finished: Path, schedule: Schedule) -> None:
    lines: list[str] = []
    told: list[str | None] = []
    result = train(going_on(setup(log=lines.append, listener=lambda progress: told.append(progress.continued)), finished, schedule))
    before, after = checkpoint.load(finished), checkpoint.load(result.checkpoint)
    assert (result.epochs, after["current_epoch"]) == (4, 4)
    assert before["logging"]["lrs"] == [0.01, 0.01 * 0.5**0.9]
    assert after["logging"]["lrs"] == [*before["logging"]["lrs"], *RATES[schedule]]
    for name, values in before["logging"].items():
        assert after["logging"][name][:2] == values, f"{name} goes on"
    assert result.resumed_from_epoch is None
    assert result.best is not None
    assert checkpoint.load(result.best)["current_epoch"] in (3, 4), "the best one of the epochs that followed"
    how = "stretched over all 4" if schedule == "Stretch" else "restarted over these 2"
    said = (
        f"continues TrainingRun base (fold 0): 2 epochs after its 2, poly {how}, learning rate 0.005359 → {RATES[schedule][0]:.4g}"
    )
    assert result.continued == said
    assert any(f"This training {said}." in line for line in lines)
    assert set(told) == {None, said} or set(told) == {said}
    about = {"epochs": 2, "additionalEpochs": 2, "schedule": schedule}
    assert after[checkpoint.EXTRA]["continues"] == about
    assert json.loads((result.folder / "training.json").read_text())["continues"] == {
        "source": "TrainingRun base (fold 0)",
        **about,
    }


def test_weights_optimizer_and_history_are_taken_over(setup: Setup, finished: Path) -> None:
    given, before = going_on(setup(), finished), checkpoint.load(finished)
    assert given.continues is not None
    with distributed.ranks("cpu") as ranks:
        session = prepare(given, ranks)
        continuation.begin(session, given.continues)
    for name, tensor in session.network.state_dict().items():
        assert torch.equal(tensor, before["network_weights"][name]), name
    momentum = session.optimizer.state_dict()["state"]
    assert momentum
    for key, state in momentum.items():
        assert torch.equal(state["momentum_buffer"], before["optimizer_state"]["state"][key]["momentum_buffer"])
    assert (session.epoch, session.iteration, len(session.history)) == (2, 0, 2)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_a_folders_own_final_checkpoint_is_not_what_it_continues(
    setup: Setup, finished: Path, tmp_path: Path, resume: bool, link: bool
) -> None:
    given = setup(resume=resume)
    own = given.fold_folder / checkpoint.FINAL
    own.parent.mkdir(parents=True)
    shutil.copy(finished, own)
    before = own.read_bytes()
    if link:
        (tmp_path / "link").symlink_to(own.parent)
    with pytest.raises(BadUsage, match="this training's own") as caught:
        train(going_on(given, tmp_path / "link" / own.name if link else own))
    assert caught.value.reason == "ContinuesItself"
    assert "--trainer" in caught.value.hint
    assert own.read_bytes() == before


@pytest.mark.parametrize("schedule", RATES)
def test_stopped_and_resumed_it_is_the_same(setup: Setup, finished: Path, tmp_path: Path, schedule: Schedule) -> None:
    whole = train(going_on(setup(), finished, schedule))
    given = going_on(setup(results=tmp_path / "stopped"), finished, schedule)
    given.on_step = lambda done, _: given.stop.set() if done == 2 else None
    with pytest.raises(Stopped):
        train(given)
    result = train(going_on(setup(results=tmp_path / "stopped", resume=True), finished, schedule))
    assert (result.epochs, result.resumed_from_epoch, result.continued) == (4, 2, whole.continued)
    one, other = checkpoint.load(whole.checkpoint), checkpoint.load(result.checkpoint)
    assert one["logging"]["lrs"] == other["logging"]["lrs"]
    for name, tensor in one["network_weights"].items():
        assert torch.equal(tensor, other["network_weights"][name]), name


@pytest.mark.parametrize(
    ("changes", "more", "finding"),
    [
        ({"gradientClip": 1.0}, {}, "recipe.gradientClip: 12.0 in the checkpoint, 1.0 now"),
        ({"iterationsPerEpoch": 4}, {}, "recipe.iterationsPerEpoch: 3 in the checkpoint, 4 now"),
        ({}, {"labels": {"background": 0, "a": 1, "b": 2}}, "labels.shell: 1 in the checkpoint, None now"),
        ({}, {"spacing": [1.0, 1.0, 2.0]}, "spacing: [1.0, 1.0, 1.0] in the checkpoint, [1.0, 1.0, 2.0] now"),
    ],
    ids=["recipe", "iterations", "labels", "plans"],
)
def test_another_recipe_or_other_plans_are_refused_by_name(
    setup: Setup, finished: Path, changes: dict[str, Any], more: dict[str, Any], finding: str
) -> None:
    from trainer.training.conftest import dataset_json, plans

    given: dict[str, Any] = {}
    if "labels" in more:
        given["dataset_json"] = dataset_json(more["labels"])
    elif more:
        given["plans"] = plans(**more)
    with pytest.raises(BadConfiguration, match=r"TrainingRun base \(fold 0\) cannot be gone on from") as raised:
        train(going_on(setup(changes, **given), finished))
    assert finding in raised.value.findings
    assert "with its weights (spec.pretrained" in raised.value.hint


@pytest.mark.parametrize("otherwise", ["another schedule", "more epochs", "as if it were not one"])
def test_it_is_resumed_as_it_began(setup: Setup, finished: Path, otherwise: str) -> None:
    train(going_on(setup(), finished))
    resumed = setup(resume=True)
    if otherwise == "another schedule":
        resumed = going_on(resumed, finished, "Restart")
    elif otherwise == "more epochs":
        resumed = going_on(resumed, finished, more=3)
    with pytest.raises(BadConfiguration) as raised:
        train(resumed)
    assert raised.value.reason == "RecipeChanged"
    assert any(line.startswith("continues") for line in raised.value.findings)


def test_a_continuation_is_gone_on_from_too(setup: Setup, finished: Path, tmp_path: Path) -> None:
    second = train(going_on(setup(), finished, "Restart", more=1))
    third = train(going_on(setup(results=tmp_path / "third"), second.checkpoint, "Stretch", more=1))
    rates = checkpoint.load(third.checkpoint)["logging"]["lrs"]
    assert rates == [0.01, 0.01 * 0.5**0.9, 0.01, 0.01 * (1 - 3 / 4) ** 0.9]


def test_what_ended_the_first_does_not_end_the_second(setup: Setup, tmp_path: Path) -> None:
    """Early stopping looks at what came since; what it saw before is over."""
    stops = {"epochs": 9, "earlyStopping": {"patience": 1, "threshold": 100, "lowestRate": 1}}
    first = train(setup(stops))
    assert first.epochs < 9
    second = train(going_on(setup(stops, results=tmp_path / "second"), first.checkpoint, more=9))
    assert second.epochs == 2 * first.epochs, "it ends by the same rule, after as many of its own"


def test_a_checkpoint_of_nnunet_is_gone_on_from(setup: Setup, finished: Path, tmp_path: Path) -> None:
    content = checkpoint.load(finished)
    del content[checkpoint.EXTRA]
    checkpoint.save(tmp_path / checkpoint.FINAL, content)
    result = train(going_on(setup(), tmp_path / checkpoint.FINAL))
    assert checkpoint.load(result.checkpoint)["logging"]["lrs"][2:] == RATES["Stretch"]


@pytest.mark.parametrize("name", ["checkpoint_latest.pth", "checkpoint_best.pth", "checkpoint_previous.pth"])
def test_only_the_end_of_a_training_is_gone_on_from(finished: Path, tmp_path: Path, name: str) -> None:
    checkpoint.save(tmp_path / name, checkpoint.load(finished))
    with pytest.raises(BadConfiguration, match="not of the end of a training"):
        continuation.finished_epochs(tmp_path / name)


def test_a_checkpoint_in_the_middle_of_an_epoch_or_no_checkpoint_is_refused(finished: Path, tmp_path: Path) -> None:
    content = checkpoint.load(finished)
    content[checkpoint.EXTRA]["iteration"] = 1
    checkpoint.save(tmp_path / "my.pth", content)
    with pytest.raises(BadConfiguration, match="2 epochs and 1 iterations"):
        continuation.finished_epochs(tmp_path / "my.pth")
    with pytest.raises(BadData):
        continuation.finished_epochs(tmp_path / "none.pth")


@pytest.mark.parametrize("warm_up", [0, 3])
@pytest.mark.parametrize("name", sorted(lookup.registry("schedule")))
def test_a_restarted_schedule_is_that_of_a_training_of_its_own(name: str, warm_up: int) -> None:
    parameters = {"at": [0.3, 0.6]} if name.startswith("steps") else {"patience": 1} if name == "plateau" else {}
    make = lookup.find("schedule", name).make
    losses = [1.0 if epoch % 3 else 0.9 for epoch in range(30)]
    own = schedules.with_warm_up(lambda epochs: make(epochs, **parameters), 20, warm_up)
    restarted = schedules.beginning_at(10, own)
    for epoch in range(20):
        assert restarted(10 + epoch, {"train_losses": [5.0] * 10 + losses[:epoch]}) == own(epoch, {"train_losses": losses[:epoch]})


@pytest.mark.parametrize(("schedule", "fractions"), [("Stretch", [2 / 4, 3 / 4]), ("Restart", [0.0, 1 / 2])])
def test_what_changes_over_time_follows_the_schedule(
    setup: Setup, finished: Path, schedule: Schedule, fractions: list[float]
) -> None:
    given = going_on(setup(), finished, schedule)
    first, epochs = given.scheduled
    assert [(epoch - first) / epochs for epoch in (2, 3)] == fractions
