"""What becomes of pretrained weights that do not fit: asked for in a manifest, told in the status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.reconcile.observed import results
from nnunet_trainer.contract import codec
from nnunet_trainer.contract.report import Report
from nnunet_trainer.contract.work_order import PretrainedPolicies, decode
from support.world import MemoryWorld, report_of

Train = Callable[..., MemoryWorld]
FILE = {"uri": "s3://nnunet/source/checkpoint_final.pth"}


@pytest.mark.parametrize(
    ("spec", "policies"),
    [
        ({}, PretrainedPolicies()),
        ({"inputChannels": "Repeat"}, PretrainedPolicies(input_channels="Repeat")),
        ({"inputChannels": "Average", "heads": "MatchByLabel"}, PretrainedPolicies(input_channels="Average", heads="MatchByLabel")),
        (
            {"inputChannels": "Reinitialize", "mismatched": "Skip"},
            PretrainedPolicies(input_channels="Reinitialize", mismatched="Skip"),
        ),
    ],
)
def test_policies_stand_in_the_work_order(train: Train, spec: dict[str, Any], policies: PretrainedPolicies) -> None:
    world = train(pretrained={**FILE, **spec})
    written = world.order(world.job(owner_name="run"))
    order = decode(codec.dumps(written))
    assert order.step == "train"
    assert order.pretrained is not None
    assert order.pretrained.policies == policies


def test_policies_of_weights_of_a_run(prepared: MemoryWorld) -> None:
    for name, spec in (
        ("source", {}),
        ("run", {"pretrained": {"runRef": {"name": "source", "fold": "0"}, "heads": "MatchByLabel"}}),
    ):
        prepared.put(
            {
                "apiVersion": "nnunet.dev/v1alpha1",
                "kind": "TrainingRun",
                "metadata": {"name": name},
                "spec": {"plansRef": {"name": "plans"}, "folds": ["0"], **spec},
            }
        )
    prepared.settle()
    prepared.finish(prepared.job(owner_name="source"))
    prepared.settle()
    assert prepared.order(prepared.job(owner_name="run"))["pretrained"]["policies"]["heads"] == "MatchByLabel"


SAID = {
    "source": "s3://nnunet/source/checkpoint_final.pth",
    "loaded": 84,
    "adapted": 1,
    "skipped": 4,
    "mismatched": 2,
    "missing": 0,
    "unused": 3,
    "message": "84 tensors loaded, 1 adapted, 4 of the segmentation layers begin anew",
}


def finished(train: Train, said: Any) -> MemoryWorld:
    world = train(pretrained=FILE)
    job = world.job(owner_name="run")
    report = report_of(job)
    world.finish(job, Report(step="train", artifacts=report.artifacts, summary={**report.summary, "pretrained": said}))
    world.settle()
    return world


def test_the_load_report_stands_in_the_status_and_its_message(train: Train) -> None:
    world = finished(train, SAID)
    fold = world.get("TrainingRun", "default", "run")["status"]["folds"][0]  # type: ignore[index]
    assert fold["pretrained"] == SAID
    status, reason, message = world.condition("TrainingRun", "run")
    assert (status, reason) == ("True", "Completed")
    assert "from pretrained weights (84 tensors loaded, 1 adapted" in message


@pytest.mark.parametrize("said", [None, [], {"loaded": 3}, {"source": "s3://b/c.pth", "loaded": "many", "skipped": -1}])
def test_a_load_report_of_another_trainer_is_read_as_far_as_it_can_be(train: Train, said: Any) -> None:
    world = finished(train, said)
    fold = world.get("TrainingRun", "default", "run")["status"]["folds"][0]  # type: ignore[index]
    assert fold["state"] == "Succeeded"
    if isinstance(said, dict) and "source" in said:
        assert fold["pretrained"] == {"source": "s3://b/c.pth", **dict.fromkeys(results.PRETRAINED_COUNTS, 0)}
    else:
        assert "pretrained" not in fold
