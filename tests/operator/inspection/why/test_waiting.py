"""`why`: from object to object, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_operator.inspection.terminal import Terminal
from nnunet_operator.inspection.why import explanation, waiting
from support.objects import resource
from support.world import stamp

from ..conftest import WorldReader
from .conftest import PREPARATION, Advance, subjects, why


def test_what_works_needs_nothing(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.run(chain_.world.job(step="train"))
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert "runs for" in steps[-1]
    assert todo == []
    found = waiting.explain(chain_.of("TrainingRun", "finetune"), chain_, chain_.world.now, "kubectl nnunet")
    assert explanation.text(found, Terminal()).endswith("Nothing to do: it goes on by itself.")


def test_what_is_ready_waits_for_nothing(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION, "train")
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert len(steps) == 1
    assert "is Ready (Completed" in steps[0]
    assert todo == []


def test_a_failed_dependency_leads_to_what_failed(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.fail(chain_.world.job(step="train"), 71)
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert subjects(steps) == ["trainingrun/finetune", "trainingrun/pretrain", "fold all"]
    assert "Failed, attempt 1" in steps[-1]
    assert todo[0].startswith("OutOfGPUMemory: A larger GPU")
    assert todo[-1] == "When that is mended: kubectl nnunet rerun trainingrun/pretrain"


@pytest.mark.parametrize("transferred", [False, True])
def test_a_plugin_that_was_changed_leads_to_the_plans(chain_: WorldReader, advance: Advance, transferred: bool) -> None:
    advance(chain_, *PREPARATION)
    world, name = chain_.world, "target-to-source" if transferred else "target"
    made_with = [{"name": "mine", "digest": "a" * 64, "needed": True}, {"name": "planning-only", "digest": "c" * 64}]
    world.status("Plans", name)["plugins"] = made_with
    world.plugins = {"mine": "b" * 64}
    world.put(resource("TrainingRun", "new", plansRef={"name": name}, folds=["0"], plugins=[{"configMapName": "mine"}]))
    world.settle()
    steps, todo = why(chain_, "TrainingRun", "new")
    assert "PluginChanged" in steps[0]
    assert steps[1].strip() == f"plans/{name}: was made with the plug-in mine (digest aaaaaaaaaaaa)"
    assert todo == [
        "Put the ConfigMap back; or plan anew with it as it is now: kubectl nnunet rerun plans/target, "
        "then kubectl nnunet rerun trainingrun/new"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "spec", "missing"),
    [
        ("TrainingRun", "run", {"plansRef": {"name": "targets"}, "folds": [0]}, "plans/targets"),
        ("Plans", "plans", {"datasetRef": {"name": "sourcs"}}, "dataset/sourcs"),
        (
            "TrainingRun",
            "run",
            {"plansRef": {"name": "target"}, "folds": [0], "pretrained": {"runRef": {"name": "pretrains"}}},
            "trainingrun/pretrains",
        ),
    ],
)
def test_a_reference_to_nothing_with_the_nearest_names(
    chain_: WorldReader, advance: Advance, kind: str, name: str, spec: dict[str, Any], missing: str
) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.put({"apiVersion": "nnunet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    chain_.world.settle()
    steps, todo = why(chain_, kind, name)
    assert steps[-1].strip().startswith(f"{missing}: is not there. There is no")
    assert f"Did you mean {missing.split('/')[1][:-1]}" in steps[-1]
    assert todo[0].startswith("Apply the ")


def test_suspended_and_how_to_go_on(chain_: WorldReader, advance: Advance) -> None:
    chain_.world.edit("TrainingRun", "pretrain", suspend=True)
    chain_.world.settle()
    advance(chain_, *PREPARATION)
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert "is suspended, by its spec.suspend" in steps[-1]
    assert todo == ["Let it go on: kubectl nnunet resume trainingrun/pretrain"]


def test_backing_off(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, *PREPARATION)
    chain_.world.fail(chain_.world.job(step="train"), 1)
    chain_.world.settle()
    steps, _ = why(chain_, "TrainingRun", "pretrain")
    assert "the next attempt starts in" in "".join(steps)


def test_an_object_that_nobody_has_looked_at(reader: WorldReader) -> None:
    reader.world.put("{apiVersion: nnunet.dev/v1alpha1, kind: Dataset, metadata: {name: data}, spec: {name: Dataset001_A}}")
    reader.world.wait(minutes=4)
    steps, todo = why(reader, "Dataset", "data")
    assert steps == ["dataset/data: was made 4m ago, and no operator has looked at it"]
    assert todo == ["Does an operator run, and does it work in namespace default? nnunet-operator diagnose"]


def test_what_makes_somebody_look_is_the_shells_to_say(reader: WorldReader) -> None:
    reader.world.put("{apiVersion: nnunet.dev/v1alpha1, kind: Dataset, metadata: {name: data}, spec: {name: Dataset001_A}}")
    found = waiting.explain(reader.of("Dataset", "data"), reader, reader.world.now, "local", work="local run")
    assert found.what_to_do() == ["local run"]


def test_a_changed_spec_that_nobody_has_looked_at(chain_: WorldReader) -> None:
    chain_.world.edit("Dataset", "source", rerun="2")
    steps, todo = why(chain_, "Dataset", "source")
    assert "its spec was changed, and no operator has looked at it since" in steps[0]
    assert todo


def test_an_object_that_is_being_deleted(chain_: WorldReader) -> None:
    meta = chain_.of("TrainingRun", "pretrain")["metadata"]
    meta |= {"finalizers": ["nnunet.dev/results"], "deletionTimestamp": stamp(chain_.world.now)}
    chain_.world.wait(minutes=5)
    steps, _ = why(chain_, "TrainingRun", "pretrain")
    assert "is being deleted for 5m; nnunet.dev/results holds it" in steps[0]


def test_references_in_a_circle_end(reader: WorldReader) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        reader.world.put(
            {
                "apiVersion": "nnunet.dev/v1alpha1",
                "kind": "TrainingRun",
                "metadata": {"name": name},
                "spec": {"plansRef": {"name": "p"}, "folds": [0], "pretrained": {"runRef": {"name": other}}},
            }
        )
    reader.world.settle()
    steps, _ = why(reader, "TrainingRun", "one")
    assert "ReferenceCycle" in steps[0]


def test_an_object_that_cannot_be_read(chain_: WorldReader) -> None:
    chain_.of("TrainingRun", "finetune")["spec"]["folds"] = 7
    chain_.world.edit("TrainingRun", "finetune")
    chain_.world.settle()
    steps, todo = why(chain_, "TrainingRun", "finetune")
    assert "InvalidSpec" in steps[0]
    assert todo[0].startswith("InvalidSpec:")


def test_long_lines_are_folded_below_their_own_beginning(chain_: WorldReader, advance: Advance) -> None:
    advance(chain_, "dataset")
    chain_.world.schedule(chain_.world.job(step="plan"), node=None)
    chain_.world.settle()
    found = waiting.explain(chain_.of("TrainingRun", "finetune"), chain_, chain_.world.now, "kubectl nnunet")
    text = explanation.text(found, Terminal(width=70))
    assert max(map(len, text.splitlines())) <= 70
    assert "\033" not in text
    assert "\033[33mplans/target\033[0m" in explanation.text(found, Terminal(width=70, colour=True))
