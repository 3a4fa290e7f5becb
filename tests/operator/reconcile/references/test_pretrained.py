"""The weights that a run starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.work_order import PretrainedPolicies, decode
from support.objects import first_pass, plans, run
from support.world import MemoryWorld

Train = Callable[..., MemoryWorld]


@pytest.mark.parametrize(
    ("pretrained", "reason", "said"),
    [
        ({"runRef": {"name": "other", "fold": "all"}}, "UnknownFold", "its folds: 0, 1"),
        ({"runRef": {"name": "nobody", "fold": "0"}}, "WaitingForTrainingRun", "TrainingRun nobody (spec.pretrained.runRef)"),
        ({"runRef": {"name": "other", "fold": "0"}}, "WaitingForTrainingRun", "to train fold 0; it is Starting"),
        (
            {"runRef": {"name": "run", "fold": "0"}},
            "ReferenceCycle",
            "TrainingRun run → TrainingRun run): delete it, and name another",
        ),
    ],
)
def test_what_a_run_is_pretrained_from(prepared: MemoryWorld, pretrained: Any, reason: str, said: str) -> None:
    prepared.put(run("other", folds=["0", "1"]))
    prepared.put(run(pretrained=pretrained))
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == reason
    assert said in prepared.condition("TrainingRun", "run")[2]


def test_only_the_one_fold_of_the_other_run_matters(prepared: MemoryWorld) -> None:
    prepared.put(run("other", folds=["0", "1"]))
    prepared.put(run(pretrained={"runRef": {"name": "other", "fold": "0"}, "checkpoint": "best"}))
    prepared.settle()
    prepared.fail(prepared.job(fold="1"), 78)
    prepared.finish(prepared.job(fold="0"))
    prepared.settle()
    weights = prepared.order(prepared.job(owner_name="run"))["pretrained"]
    assert weights["location"]["uri"].endswith("fold_0/checkpoint_best.pth")
    prepared.edit("TrainingRun", "other", rerun="x")
    prepared.settle()
    assert prepared.condition("TrainingRun", "run")[1] == "Starting"


def test_weights_from_a_file(train: Train) -> None:
    world = train(pretrained={"uri": "s3://elsewhere/model.pth", "secretName": "theirs", "endpoint": "https://s3.example.org"})
    location = world.order(world.job(owner_name="run"))["pretrained"]["location"]
    assert location == {"uri": "s3://elsewhere/model.pth", "secretName": "theirs", "endpoint": "https://s3.example.org"}
    secrets = [
        v["secret"]["secretName"] for v in world.job(owner_name="run")["spec"]["template"]["spec"]["volumes"] if "secret" in v
    ]
    assert secrets == ["s3", "theirs"]


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


def test_a_fold_that_the_pretrained_run_does_not_have_is_said_before_anything_is_planned() -> None:
    world = MemoryWorld()
    world.put(plans())
    world.put(run("source", folds=["0", "1"]))
    reason, message, standing = first_pass(run(pretrained={"runRef": {"name": "source", "fold": "all"}}), world)
    assert (reason, standing) == ("UnknownFold", "Stalled")
    assert "its folds: 0, 1" in message
