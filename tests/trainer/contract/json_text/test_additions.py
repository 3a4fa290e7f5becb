"""The contract of tomorrow against that of today: orders, reports and progress with fields and values that were added."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from nnunet_trainer.contract import progress, report, work_order
from nnunet_trainer.contract.faults import BadUsage, ExitCode
from nnunet_trainer.contract.json_text import additions, codec
from nnunet_trainer.contract.json_text.additions import added, extended
from nnunet_trainer.contract.progress import Progress
from nnunet_trainer.contract.report import Artifact, Error, Report
from nnunet_trainer.contract.work_order import Input, Location, PretrainedWeights, TrainerChoice, TrainOrder

PLACE = Location(uri="s3://team")
INPUT = Input(location=PLACE, digest="d")


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoothing:
    amount: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerOfTomorrow(TrainerChoice):
    label_smoothing: float = added("0.2.0", default=0.0)
    smoothing: Smoothing | None = added("0.3.0", default=None)
    log_level: str = added("0.2.0", default="info", skippable=True)
    losses: list[str] = added("0.10.0", default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocationOfTomorrow(Location):
    versioned: bool = added("0.2.0", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderOfTomorrow(TrainOrder):
    storage: LocationOfTomorrow
    trainer: TrainerOfTomorrow = field(default_factory=TrainerOfTomorrow)
    validation: Literal["Run", "Skip", "Fast"] = extended("Run", {"Fast": "0.3.0"})
    by_name: dict[str, LocationOfTomorrow] = field(default_factory=dict)
    listed: list[LocationOfTomorrow] = field(default_factory=list)


def order(kind: type = OrderOfTomorrow, **changes: Any) -> Any:
    given = {
        "namespace": "default", "run": "run", "dataset_name": "Dataset001_A", "preprocessed": INPUT, "plans": INPUT,
        "configuration": "2d", "fold": "0", "seed": 1,
        "storage": LocationOfTomorrow(uri="s3://team") if kind is OrderOfTomorrow else PLACE,
    }  # fmt: skip
    return kind(**given | changes)


def test_an_order_at_its_defaults_says_nothing_of_them() -> None:
    today = work_order.encode(order(TrainOrder))
    assert json.loads(today).keys() == {
        "namespace", "run", "datasetName", "preprocessed", "plans", "configuration", "fold", "seed", "storage", "step", "version",
    }  # fmt: skip
    assert work_order.encode(order()) == today, "and tomorrow's is the same text"


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({"trainer": TrainerOfTomorrow(label_smoothing=0.1)}, {"trainer.labelSmoothing": "0.2.0"}),
        ({"trainer": TrainerOfTomorrow(smoothing=Smoothing())}, {"trainer.smoothing": "0.3.0"}),
        ({"trainer": TrainerOfTomorrow(losses=["a"])}, {"trainer.losses": "0.10.0"}),
        ({"storage": LocationOfTomorrow(uri="s3://x", versioned=True)}, {"storage.versioned": "0.2.0"}),
        ({"validation": "Fast"}, {"validation": "0.3.0"}),
        (
            {"trainer": TrainerOfTomorrow(label_smoothing=0.1, losses=["a"]), "validation": "Fast"},
            {"trainer.labelSmoothing": "0.2.0", "trainer.losses": "0.10.0", "validation": "0.3.0"},
        ),
    ],
)
def test_what_decides_the_result_is_required_and_names_its_version(changes: dict[str, Any], required: dict[str, str]) -> None:
    text = work_order.encode(order(**changes))
    assert json.loads(text)["requires"] == required
    with pytest.raises(BadUsage) as refused:
        work_order.decode(text)
    assert refused.value.exit_code == ExitCode.BAD_USAGE == 64
    assert refused.value.reason == "TrainerTooOld"
    assert any(path in refused.value.message for path in required)
    newest = max(required.values(), key=lambda version: [int(n) for n in version.split(".")])
    assert f"version {newest} or newer" in refused.value.hint


def test_requirements_are_found_in_maps_and_lists() -> None:
    more = LocationOfTomorrow(uri="s3://x", versioned=True)
    assert additions.requirements(order(by_name={"0": more}, listed=[replace(more, versioned=False), more])) == {
        "byName.0.versioned": "0.2.0",
        "listed[1].versioned": "0.2.0",
    }


@pytest.mark.parametrize(
    "changes", [{}, {"trainer": TrainerOfTomorrow(log_level="debug")}, {"trainer": TrainerOfTomorrow(name="nnUNetTrainer_5epochs")}]
)
def test_what_decides_nothing_is_skipped_and_logged(changes: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = work_order.decode(work_order.encode(order(**changes)))
    name = changes["trainer"].name if changes else "nnUNetTrainer"
    assert found == order(TrainOrder, trainer=TrainerChoice(name=name))
    told = "trainer.logLevel" in caplog.text
    assert told == ("debug" in work_order.encode(order(**changes)))


@pytest.mark.parametrize("where", [(), ("trainer",), ("storage",), ("preprocessed", "location"), ("pretrained",), ("checkpoint",)])
def test_a_field_that_is_not_required_is_skipped_wherever_it_stands(where: tuple[str, ...]) -> None:
    whole = order(TrainOrder, pretrained=PretrainedWeights(location=PLACE))
    document = json.loads(work_order.encode(whole))
    part = document
    for name in where:
        part = part.setdefault(name, {})
    part["novel"] = {"deep": [1]}
    assert work_order.decode(json.dumps(document)) == whole
    document["requires"] = {".".join((*where, "novel")): "7.0.0"}
    with pytest.raises(BadUsage, match="novel") as refused:
        work_order.decode(json.dumps(document))
    assert "7.0.0" in refused.value.hint


def test_tomorrows_trainer_carries_out_what_it_is_required_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(work_order.ORDERS, "train", OrderOfTomorrow)
    wanted = order(trainer=TrainerOfTomorrow(label_smoothing=0.1), validation="Fast")
    assert work_order.decode(work_order.encode(wanted)) == wanted
    assert work_order.decode(work_order.encode(order(TrainOrder))) == order(), "and today's orders mean to it what they meant"


def test_a_value_that_was_never_there_is_a_fault_of_the_order() -> None:
    document = json.loads(work_order.encode(order(TrainOrder))) | {"validation": "Soon"}
    with pytest.raises(BadUsage, match="validation: 'Soon' is none of") as refused:
        work_order.decode(json.dumps(document))
    assert refused.value.reason == "InvalidWorkOrder"


@pytest.mark.parametrize("requires", [[], "all", {"trainer": 2}, None])
def test_requirements_that_cannot_be_read_are_not_taken_for_none(requires: object) -> None:
    document = json.loads(work_order.encode(order(TrainOrder))) | {"requires": requires}
    with pytest.raises(BadUsage):
        work_order.decode(json.dumps(document))


def test_a_requirement_that_is_known_is_met() -> None:
    document = json.loads(work_order.encode(order(TrainOrder))) | {"requires": {"trainer.recipe": "0.1.0", "seed": "0.1.0"}}
    assert work_order.decode(json.dumps(document)) == order(TrainOrder)


def test_additions_at_their_default_change_no_digest() -> None:
    assert codec.to_plain(TrainerOfTomorrow()) == codec.to_plain(TrainerChoice())
    assert codec.to_plain(TrainerOfTomorrow(label_smoothing=0.1)) == codec.to_plain(TrainerChoice()) | {"labelSmoothing": 0.1}


@pytest.mark.parametrize("where", [(), ("error",), ("artifacts", 0)])
def test_a_report_with_more_in_it_is_read(where: tuple[Any, ...]) -> None:
    whole = Report(
        step="train", artifacts=[Artifact(kind="run", uri="s3://a", digest="d")], error=Error(code=79, reason="R", message="m")
    )
    document: Any = json.loads(report.encode(whole))
    part = document
    for name in where:
        part = part[name]
    part["novel"] = [{"a": 1}]
    assert report.decode(json.dumps(document)) == whole


def test_progress_with_more_in_it_is_heard() -> None:
    assert progress.decode('{"step": "train", "epoch": 3, "novel": {"a": 1}}') == Progress(step="train", epoch=3)
