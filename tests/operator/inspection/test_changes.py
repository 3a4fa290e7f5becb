"""`suspend`, `resume`, `rerun`: what they change, what they say, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from nnunet_operator.inspection import changes
from nnunet_operator.inspection.changes import Change
from nnunet_trainer.contract.faults import BadUsage

from .conftest import WorldReader

Advance = Callable[..., None]
PREPARATION = ("dataset", "plan", "transfer", "preprocess")
NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def do(reader: WorldReader, kind: str, name: str, change: Callable[..., Change], *arguments: Any) -> str:
    """Change an object as a shell does, let the operator see it, and return what was said."""
    wanted = change(reader.of(kind, name), *arguments)
    if wanted.spec:
        reader.world.edit(kind, name, **wanted.spec)
        reader.world.settle()
    return wanted.says


def training(reader: WorldReader, advance: Advance, epoch: int = 37) -> None:
    advance(reader, *PREPARATION)
    job = reader.world.job(step="train")
    reader.world.run(job)
    reader.world.say(job, phase="training", epoch=epoch, epochs=250)
    reader.world.settle()


def test_suspend_and_resume(chain_: WorldReader, advance: Advance) -> None:
    training(chain_, advance)
    said = do(chain_, "TrainingRun", "pretrain", changes.suspend)
    assert said == "trainingrun.nnunet.dev/pretrain suspended: a checkpoint is saved of fold all"
    assert do(chain_, "TrainingRun", "pretrain", changes.suspend).endswith("unchanged: it is suspended already")
    assert (
        do(chain_, "TrainingRun", "pretrain", changes.resume) == "trainingrun.nnunet.dev/pretrain resumed: fold all from epoch 37"
    )
    assert do(chain_, "TrainingRun", "pretrain", changes.resume).endswith("unchanged: it is not suspended")


@pytest.mark.parametrize("change", [changes.suspend, changes.resume])
def test_a_dataset_cannot_be_suspended(chain_: WorldReader, change: Callable[..., Change]) -> None:
    with pytest.raises(BadUsage, match="cannot be suspended: only a TrainingRun, a Plans or a PlanTransfer can"):
        change(chain_.of("Dataset", "source"))


@pytest.mark.parametrize("change", [changes.suspend, changes.resume, changes.rerun])
def test_plans_of_a_transfer_are_changed_by_the_transfer(chain_: WorldReader, change: Callable[..., Change]) -> None:
    with pytest.raises(BadUsage, match=r"is kept by PlanTransfer target-to-source: .* that"):
        change(chain_.of("Plans", "target-to-source"))


@pytest.mark.parametrize("change", [changes.suspend, changes.resume, changes.rerun])
def test_what_is_being_deleted_is_left_alone(chain_: WorldReader, change: Callable[..., Change]) -> None:
    chain_.of("TrainingRun", "pretrain")["metadata"]["deletionTimestamp"] = "2026-11-01T12:00:00Z"
    with pytest.raises(BadUsage, match="is being deleted"):
        change(chain_.of("TrainingRun", "pretrain"))


def test_what_is_done_has_nothing_to_suspend(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION, "train")
    with pytest.raises(BadUsage, match="is Ready: nothing of it runs"):
        changes.suspend(chain_.of("TrainingRun", "pretrain"))


def test_rerun_tries_again_what_failed(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.fail(chain_.world.job(step="train"), 65)
    chain_.world.settle()
    said = do(chain_, "TrainingRun", "pretrain", changes.rerun, None, NOON)
    assert said == "trainingrun.nnunet.dev/pretrain rerun (2026-11-01T12:00:00Z): fold all: tried again"
    assert len(chain_.world.jobs(step="train")) == 1, "the operator began another attempt"
    with pytest.raises(BadUsage, match="is '2026-11-01T12:00:00Z' already"):
        changes.rerun(chain_.of("TrainingRun", "pretrain"), "2026-11-01T12:00:00Z")


def test_rerun_of_what_waits_for_its_next_attempt(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.fail(chain_.world.job(step="train"), 1)
    chain_.world.settle()
    assert changes.rerun(chain_.of("TrainingRun", "pretrain"), "2").says.endswith("rerun (2): fold all: tried again")


def test_rerun_reads_a_dataset_again(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    assert changes.rerun(chain_.of("Dataset", "source"), "2") == Change(
        {"rerun": "2"}, "dataset.nnunet.dev/source rerun (2): its source is read again"
    )


def test_rerun_where_nothing_would_be_done(chain_: WorldReader, advance: Advance) -> None:
    training(chain_, advance)
    with pytest.raises(BadUsage, match="is Training: nothing of it has failed, and nothing has changed"):
        changes.rerun(chain_.of("TrainingRun", "pretrain"))
    with pytest.raises(BadUsage, match="is Preprocessed: nothing"):
        changes.rerun(chain_.of("Plans", "target"))


@pytest.mark.parametrize(
    ("name", "transferred", "asked"), [("mine", False, True), ("mine", True, False), ("an-installed-package", False, False)]
)
def test_rerun_of_plans_that_are_done_is_for_a_plugin_that_was_changed(
    chain_: WorldReader, advance: Advance, name: str, transferred: bool, asked: bool
) -> None:
    advance(chain_, *PREPARATION)
    manifest = chain_.of("Plans", "target")
    manifest["spec"]["plugins"] = [{"configMapName": "mine"}, {"configMapName": "unused"}]
    manifest["status"]["plugins"] = [{"name": name, "digest": "a" * 64, "needed": True}]
    if transferred:
        manifest["spec"]["transferFrom"] = {"plansRef": {"name": "others"}}
    if asked:
        said = "rerun (2): planned anew if the ConfigMap mine holds something else now than it was planned with"
        assert said in changes.rerun(manifest, "2").says
    else:
        with pytest.raises(BadUsage, match="is Preprocessed: nothing"):
            changes.rerun(manifest, "2")


def test_rerun_of_a_run_whose_plans_have_changed(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION, "train")
    chain_.of("TrainingRun", "finetune")["status"]["changedInput"] = "abc"
    assert changes.rerun(chain_.of("TrainingRun", "finetune"), "2").says.endswith("trained anew, on what has changed")


def test_rerun_of_what_is_suspended(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    do(chain_, "TrainingRun", "pretrain", changes.suspend)
    with pytest.raises(BadUsage, match="is suspended"):
        changes.rerun(chain_.of("TrainingRun", "pretrain"))
