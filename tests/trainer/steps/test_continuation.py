"""The step `train` of a run that goes on from a finished one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.contract.progress import Progress, ProgressHook
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import Continuation, Location, TrainerChoice, TrainOrder
from nnunet_trainer.steps import train

from .conftest import RECIPE, Prepared

Order = Callable[..., TrainOrder]


@pytest.fixture
def order(prepared: Prepared, request: pytest.FixtureRequest) -> Order:
    """A small training of a run of this test's own."""

    def make(run: str, **changes: Any) -> TrainOrder:
        given = prepared.chain.train_order(prepared.data, prepared.plans, **changes)
        return replace(given, run=f"{request.node.originalname.replace('_', '-')}-{run}")

    return make


@pytest.fixture
def run(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Carries out an order in a pod of its own."""
    numbers = itertools.count()

    def carry_out(order: TrainOrder, listener: ProgressHook = prepared.chain.heard.append) -> Report:
        monkeypatch.setenv(pod.ENV_SCRATCH, str(tmp_path / f"pod-{next(numbers)}"))
        return train.carry_out(order, listener)

    return carry_out


def of(report: Report, **changes: Any) -> Continuation:
    (made,) = report.artifacts
    given = Continuation(
        run="base",
        location=Location(uri=report.summary["checkpointUri"]),
        digest=made.digest,
        additional_epochs=2,
        schedule="Restart",
        sha256=report.summary["checkpointSha256"],
    )
    return replace(given, **changes)


def content(report: Report) -> dict[str, Any]:
    return checkpoint.load(Path(report.summary["checkpointUri"].removeprefix("file://")))


def test_a_finished_run_goes_on_and_is_found_again(prepared: Prepared, run: Callable[..., Report], order: Order) -> None:
    first = run(order("base"))
    wanted = order("more", continues=of(first))
    report = run(wanted)
    summary = report.summary
    assert (summary["epochs"], summary["found"], summary["resumedFromEpoch"]) == (4, False, None)
    said = "continues TrainingRun base (fold 0): 2 epochs after its 2, poly restarted over these 2, learning rate 0.005359 → 0.01"
    assert summary["continued"] == said
    assert summary["continued"] in {progress.continued for progress in prepared.chain.heard}
    rates = [0.01, 0.01 * 0.5**0.9]
    assert content(report)["logging"]["lrs"] == [*rates, *rates]
    manifest = json.loads(Path(f"{summary['folderUri'].removeprefix('file://')}/manifest.json").read_text())
    assert manifest["inputs"]["continues"] == {"epochs": 2, "additionalEpochs": 2, "schedule": "Restart"}
    again = run(wanted)
    assert (again.summary["found"], again.summary["continued"]) == (True, summary["continued"])
    validated = run(replace(wanted, validation="Run"))
    assert validated.summary["validationDice"] is not None, "a validation that is asked for later is of the same weights"
    assert validated.summary["checkpointSha256"] == summary["checkpointSha256"]


def test_an_attempt_that_follows_goes_on_from_the_one_before(run: Callable[..., Report], order: Order) -> None:
    first = run(order("base"))
    wanted = order("more", continues=of(first, additional_epochs=3))

    def fail(progress: Progress) -> None:
        if progress.epoch == 4:
            raise RuntimeError("the node is gone")

    with pytest.raises(RuntimeError):
        run(wanted, fail)
    report = run(replace(wanted, attempt=1))
    assert (report.summary["epochs"], report.summary["resumedFromEpoch"]) == (5, 3)


def test_what_is_gone_on_from_decides_the_address_and_the_fold_does_not(order: Order) -> None:
    given = Continuation(
        run="base", location=Location(uri="file:///c.pth"), digest="d", additional_epochs=2, schedule="Stretch", sha256="ab" * 32
    )

    def digest(continues: Continuation | None, fold: str = "0") -> str:
        return train.run_digest(order("x", continues=continues, fold=fold), {"epochs": 5}, None)

    others = [None, given, replace(given, digest="e"), replace(given, additional_epochs=3), replace(given, schedule="Restart")]
    assert len({digest(other) for other in others}) == len(others)
    elsewhere = replace(given, location=Location(uri="file:///fold_1/c.pth"), sha256="cd" * 32, run="renamed")
    assert digest(elsewhere, "1") == digest(given), "folds of one run lie in one model folder"


@pytest.mark.parametrize("harm", ["another file", "no file", "another recipe"])
def test_what_does_not_fit_is_named(run: Callable[..., Report], order: Order, harm: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {}
    continues = of(run(order(f"base-{harm[:2]}")))
    if harm == "another file":
        continues = replace(continues, sha256="0" * 64)
    elif harm == "no file":
        continues = replace(continues, location=Location(uri=f"file://{tmp_path}/none.pth"))
    else:
        changes = {"trainer": TrainerChoice(name="tiny", base="nnUNetTrainer", recipe={**RECIPE, "iterationsPerEpoch": 3})}
    with pytest.raises((BadData, BadConfiguration)) as raised:
        run(order(f"more-{harm[:4]}".replace(" ", ""), continues=continues, **changes))
    expected = {
        "another file": "is not the file that its run wrote",
        "no file": "There is no file://",
        "another recipe": "TrainingRun base (fold 0) cannot be gone on from",
    }[harm]
    assert expected in raised.value.message
    if harm == "another recipe":
        assert "recipe.iterationsPerEpoch: 2 in the checkpoint, 3 now" in raised.value.findings
