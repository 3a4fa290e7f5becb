"""`status`: the text and the data of the trees."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable

import pytest
from nnunet_operator.inspection import chain, status_tree, status_words
from nnunet_operator.inspection.terminal import Terminal
from nnunet_trainer.contract.faults import BadUsage

from .conftest import WorldReader

Advance = Callable[..., None]
PREPARATION = ("dataset", "plan", "transfer", "preprocess")


def shown(reader: WorldReader, terminal: Terminal | None = None) -> str:
    return status_tree.text(chain.trees(reader.ours()), terminal or Terminal(), reader.world.now)


def line(reader: WorldReader, name: str) -> str:
    """The line of an object or a piece of work, its columns set apart by one space."""
    (found,) = [each for each in shown(reader).splitlines() if re.search(rf"{re.escape(name)}(\s|$)", each[:44])]
    return " ".join(found.split())


def test_before_any_operator(reader: WorldReader) -> None:
    reader.world.put("{apiVersion: nnunet.dev/v1alpha1, kind: Dataset, metadata: {name: data}, spec: {name: Dataset001_A}}")
    assert line(reader, "dataset/data") == "dataset/data NotYetSeen Dataset001_A"


def test_the_chain_from_its_first_step_to_its_end(chain_: WorldReader, advance: Advance) -> None:
    world = chain_.world
    assert line(chain_, "plans/target").startswith("└─ plans/target WaitingForDataset")
    assert "fold" not in shown(chain_).replace("folds", ""), "folds that only wait for what their run waits for are not listed"
    advance(chain_, *PREPARATION)
    assert line(chain_, "dataset/target") == "dataset/target Ready Dataset004_Hippocampus, 12 cases"
    assert line(chain_, "plans/target") == "└─ plans/target Ready nnUNetPlans, 12/12 cases"
    job = world.job(step="train")
    world.run(job)
    world.wait(minutes=1)
    world.say(job, phase="training", epoch=37, epochs=250, ema_pseudo_dice=0.8712, eta_seconds=18_720)
    world.settle()
    assert line(chain_, "trainingrun/pretrain") == "│ └─ trainingrun/pretrain Training 3d_fullres, 0/1 folds, not Ready for 60s"
    assert line(chain_, "fold all") == "│ └─ fold all Running ██░░░░░░░░░░ 14% epoch 37/250, 5h12m left, pseudo-Dice 0.871"
    assert "WaitingForTrainingRun" in line(chain_, "trainingrun/finetune")
    advance(chain_, "train")
    assert re.search(
        r"trainingrun/finetune Ready 3d_fullres, 2/2 folds, Dice 0\.\d{4}, from trainingrun/pretrain$",
        line(chain_, "trainingrun/finetune"),
    )
    assert re.search(r"fold 1 Succeeded █{12} 100% epoch \d+/\d+, Dice 0\.\d{4}$", line(chain_, "fold 1"))


def test_restarts_disruptions_and_the_next_attempt(chain_: WorldReader, advance: Advance) -> None:
    world = chain_.world
    advance(chain_, *PREPARATION)
    world.disrupt(world.job(step="train"))
    world.settle()
    world.fail(world.job(step="train"), 1)
    world.settle()
    said = line(chain_, "fold all")
    assert re.search(r"fold all BackingOff .*1 restart, 1 disruption, next attempt in \d+s$", said), said


def test_what_failed_says_why(chain_: WorldReader, advance: Advance) -> None:
    world = chain_.world
    advance(chain_, *PREPARATION)
    world.fail(world.job(step="train"), 65)
    world.settle()
    assert "trainingrun/pretrain Stalled (BadData)" in line(chain_, "trainingrun/pretrain")
    assert "fold all Failed fold all (attempt 1) ended with exit code 65" in line(chain_, "fold all")
    assert "Stalled (DependencyFailed) Fold all of TrainingRun pretrain is stalled" in line(chain_, "trainingrun/finetune")


def test_what_is_not_there_and_what_goes(reader: WorldReader) -> None:
    reader.world.put(
        "{apiVersion: nnunet.dev/v1alpha1, kind: TrainingRun, metadata: {name: run}, spec: {plansRef: {name: lost}, folds: [0]}}"
    )
    reader.world.settle()
    reader.of("TrainingRun", "run")["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    assert line(reader, "plans/lost") == "plans/lost NotFound is referred to, and is not there"
    assert "trainingrun/run Deleting" in line(reader, "trainingrun/run")


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_allows(chain_: WorldReader, width: int) -> None:
    lines = shown(chain_, Terminal(width=width)).splitlines()
    least = 35 + 2 + 17 + 2 + 8 + 2 + 12  # the names, states and some of the details are always there
    assert max(map(len, lines)) <= max(width, least)
    assert any("…" in each for each in lines) == (width < 140)


def test_colours_are_there_only_where_they_are_asked_for(chain_: WorldReader) -> None:
    plain, coloured = shown(chain_), shown(chain_, Terminal(colour=True))
    assert "\033" not in plain
    assert "\033[33mWaitingForDataset\033[0m" in coloured
    assert re.sub(r"\033\[\d*m", "", coloured) == plain


def test_without_unicode_all_of_it_is_ascii(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    world = chain_.world
    world.run(world.job(step="train"))
    world.say(world.job(step="train"), phase="training", epoch=1, epochs=2)
    world.settle()
    text = shown(chain_, Terminal(width=80, unicode=False))
    assert text.isascii()
    assert "######------  50%" in text
    assert "`- fold all" in text


def test_the_data_are_those_of_the_text(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION, "train")
    data = json.loads(json.dumps(status_tree.data(chain.trees(chain_.ours()))))
    (plans,) = data[1]["children"]
    finetune = next(child for child in plans["children"] if child["name"] == "finetune")
    assert (finetune["kind"], finetune["status"], finetune["reason"]) == ("TrainingRun", "Current", "Completed")
    assert [part["title"] for part in finetune["parts"]] == ["fold 0", "fold 1"]
    assert finetune["parts"][0]["validationDice"] == pytest.approx(finetune["meanDice"], abs=0.2)
    assert finetune["parts"][0]["unit"] == "epoch"


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    status_words.add_arguments(parser)
    return parser.parse_args(list(words))


def test_names_choose_their_chains(chain_: WorldReader, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_words.run(_arguments("source", "trainingrun/pretrain"), chain_.ours, namespace="default") == 0
    said = capsys.readouterr().out
    assert "dataset/source" in said
    assert "trainingrun/pretrain" in said
    assert "finetune" not in said


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("finetun", "Did you mean finetune"),
        ("trainingrun/pretrian", "Did you mean pretrain"),
        ("plan/x", "Did you mean"),
    ],
)
def test_a_name_that_nothing_bears(chain_: WorldReader, word: str, message: str) -> None:
    with pytest.raises(BadUsage, match=message):
        status_words.run(_arguments(word), chain_.ours, namespace="default")


def test_nothing_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_words.run(_arguments(), list, namespace="lab") == 0
    assert capsys.readouterr() == ("", "No datasets, plans or training in namespace lab.\n")
    assert status_words.run(_arguments("-o", "json"), list, namespace=None) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_watching_ends_when_all_is_done(
    chain_: WorldReader, advance: Advance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status_words.time, "sleep", lambda _: advance(chain_, *PREPARATION, "train"))
    assert status_words.run(_arguments("--watch"), chain_.ours, namespace="default") == 0
    said = capsys.readouterr().out
    assert said.count("NAME ") == 2
    assert "WaitingForDataset" in said.split("NAME ")[1]
    assert "Waiting" not in said.split("NAME ")[2]
