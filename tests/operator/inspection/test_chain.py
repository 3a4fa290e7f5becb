"""Objects as trees."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from nnunet_operator.inspection import chain
from nnunet_operator.inspection.chain import Node
from nnunet_operator.reconcile.view import Key

from .conftest import WorldReader


def obj(kind: str, name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace, "uid": f"{kind}-{name}"}, "spec": spec}


def shape(nodes: list[Node]) -> list[Any]:
    """Names, each with those below it."""
    return [
        (f"{node.key.kind}/{node.key.name}", shape(node.children)) if node.children else f"{node.key.kind}/{node.key.name}"
        for node in nodes
    ]


def test_each_object_stands_below_what_it_is_made_from(chain_: WorldReader) -> None:
    trees = chain.trees(chain_.ours())
    assert shape(trees) == [
        "Dataset/source",
        (
            "Dataset/target",
            [("Plans/target", [("PlanTransfer/target-to-source", ["TrainingRun/pretrain"]), "TrainingRun/finetune"])],
        ),
    ]
    by_name = {node.key.name: node for root in trees for node in root.walk()}
    assert by_name["target-to-source"].notes == ["for dataset/source"]
    assert by_name["target-to-source"].made is chain_.of("Plans", "target-to-source")
    assert by_name["finetune"].notes == ["from trainingrun/pretrain"]


def test_the_order_in_which_they_are_read_does_not_matter(chain_: WorldReader) -> None:
    some = chain_.ours()
    for order in itertools.islice(itertools.permutations(some), 0, None, 97):
        assert shape(chain.trees(order)) == shape(chain.trees(some))


def test_a_transfer_that_has_not_made_its_plans_yet_has_its_runs_below_it() -> None:
    transfer = obj("PlanTransfer", "moved", **{"from": {"plansRef": {"name": "plans"}}, "to": {"datasetRef": {"name": "data"}}})
    run = obj("TrainingRun", "run", plansRef={"name": "moved"})
    assert shape(chain.trees([run, transfer])) == [("Plans/plans", [("PlanTransfer/moved", ["TrainingRun/run"])])]


def test_what_is_referred_to_and_not_there_is_a_root_without_an_object() -> None:
    trees = chain.trees(
        [obj("TrainingRun", "one", plansRef={"name": "lost"}), obj("TrainingRun", "two", plansRef={"name": "lost"})]
    )
    assert shape(trees) == [("Plans/lost", ["TrainingRun/one", "TrainingRun/two"])]
    assert trees[0].manifest is None


@pytest.mark.parametrize("length", [1, 2, 3])
def test_references_in_a_circle_are_shown_all_the_same(length: int) -> None:
    some = [
        obj(
            "PlanTransfer", f"t{n}", **{"from": {"plansRef": {"name": f"t{(n + 1) % length}"}}, "to": {"datasetRef": {"name": "d"}}}
        )
        for n in range(length)
    ]
    shown = [node.key.name for root in chain.trees(some) for node in root.walk()]
    assert sorted(shown) == [f"t{n}" for n in range(length)]


@pytest.mark.parametrize(("field", "note"), [("pretrained", "from"), ("continues", "continues"), ("previousStage", "after")])
def test_a_run_says_once_what_it_begins_with(field: str, note: str) -> None:
    run = obj("TrainingRun", "run", plansRef={"name": "plans"}, **{field: {"runRef": {"name": "other"}}})
    assert chain.trees([run])[0].children[0].notes == [f"{note} trainingrun/other"]


@pytest.mark.parametrize("spec", [{}, {"plansRef": None}, {"plansRef": {}}, {"plansRef": "text"}, {"plansRef": {"name": 7}}])
def test_a_spec_that_cannot_be_read_makes_a_root(spec: dict[str, Any]) -> None:
    assert shape(chain.trees([obj("TrainingRun", "run", **spec)])) == ["TrainingRun/run"]


def test_namespaces_do_not_mix() -> None:
    data = [obj("Dataset", "data", space) for space in ("a", "b")]
    plans = obj("Plans", "plans", "b", datasetRef={"name": "data"})
    trees = chain.trees([*data, plans])
    assert [(root.key.namespace, len(root.children)) for root in trees] == [("a", 0), ("b", 1)]


@pytest.mark.parametrize(
    ("kind", "name", "kept"),
    [
        ("TrainingRun", "finetune", ["Dataset/target", "Plans/target", "TrainingRun/finetune"]),
        (
            "PlanTransfer",
            "target-to-source",
            ["Dataset/target", "Plans/target", "PlanTransfer/target-to-source", "TrainingRun/pretrain"],
        ),
        ("Plans", "target-to-source", ["Dataset/target", "Plans/target", "PlanTransfer/target-to-source", "TrainingRun/pretrain"]),
        ("Dataset", "source", ["Dataset/source"]),
    ],
)
def test_around_one_object_is_what_leads_to_it_and_what_comes_from_it(
    chain_: WorldReader, kind: str, name: str, kept: list[str]
) -> None:
    trees = chain.around(chain.trees(chain_.ours()), {Key(kind, "default", name)})
    assert [f"{node.key.kind}/{node.key.name}" for root in trees for node in root.walk()] == kept
