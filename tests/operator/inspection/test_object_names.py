"""Words that name objects."""

from __future__ import annotations

import pytest
from nnunet_operator.inspection import object_names
from nnunet_trainer.contract.faults import BadUsage

from .conftest import WorldReader


@pytest.mark.parametrize(
    ("words", "kind", "name"),
    [
        (["finetune"], "TrainingRun", "finetune"),
        (["trainingrun/finetune"], "TrainingRun", "finetune"),
        (["nnrun", "finetune"], "TrainingRun", "finetune"),
        (["trainingruns.nnunet.dev/finetune"], "TrainingRun", "finetune"),
        (["plans/target"], "Plans", "target"),
        (["Dataset", "target"], "Dataset", "target"),
        (["target-to-source"], "PlanTransfer", "target-to-source"),  # and not the Plans that it has made
        (["plans", "target-to-source"], "Plans", "target-to-source"),
    ],
)
def test_one_object(chain_: WorldReader, words: list[str], kind: str, name: str) -> None:
    found = object_names.one(words, "default", chain_)
    assert (found["kind"], found["metadata"]["name"]) == (kind, name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["target"], "There are dataset/target and plans/target.\nSay which one, as in dataset/target"),
        (["finetun"], "Did you mean finetune"),
        (["nnrun/finetun"], "Did you mean finetune"),
        (["run/finetune"], "There is no kind named 'run'"),
        (["a", "b", "c"], "names no object"),
    ],
)
def test_words_that_name_none_or_several(chain_: WorldReader, words: list[str], message: str) -> None:
    with pytest.raises(BadUsage) as caught:
        object_names.one(words, "default", chain_)
    assert message in str(caught.value)


def test_of_one_kind_alone(chain_: WorldReader) -> None:
    run = "kind: TrainingRun, metadata: {name: target}, spec: {plansRef: {name: target}, folds: [0]}"
    chain_.world.put(f"{{apiVersion: nnunet.dev/v1alpha1, {run}}}")
    assert object_names.one(["target"], "default", chain_, ("TrainingRun",))["kind"] == "TrainingRun"
    with pytest.raises(BadUsage, match="Plans target is a Plans; this is for a TrainingRun"):
        object_names.one(["plans/target"], "default", chain_, ("TrainingRun",))


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        (["a"], [["a"]]),
        (["a", "b"], [["a"], ["b"]]),
        (["nnrun", "a", "b"], [["nnrun", "a"], ["nnrun", "b"]]),
        (["trainingrun/a", "b"], [["trainingrun/a"], ["b"]]),
        (["plans", "plans/a"], [["plans"], ["plans/a"]]),
    ],
)
def test_several_objects(words: list[str], groups: list[list[str]]) -> None:
    assert object_names.grouped(words) == groups
