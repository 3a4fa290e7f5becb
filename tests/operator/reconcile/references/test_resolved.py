"""What an object refers to is looked up once a pass, however many folds ask for it, and may be unreadable at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from nnunet_operator.api.resources import Resource
from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.view import Key
from nnunet_operator.reconcile.view_builder import build_view
from support.objects import dataset, finish, plans, run, transfer
from support.world import MemoryWorld


class Counted(Mapping[Key, Resource]):
    """References that count how often each is asked for."""

    def __init__(self, references: Mapping[Key, Resource]) -> None:
        self.references, self.asked = references, Counter[str]()

    def __getitem__(self, key: Key) -> Resource:
        self.asked[key.name] += 1
        return self.references[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.references)

    def __len__(self) -> int:
        return len(self.references)


def asked(world: MemoryWorld, name: str) -> Counter[str]:
    view = build_view(world, Key("TrainingRun", "default", name), world.now, world.settings)
    assert view is not None
    counted = Counted(view.references)
    reconcile(replace(view, references=counted))
    return counted.asked


def test_no_fold_looks_anything_up_again(prepared: MemoryWorld) -> None:
    other: dict[str, Any] = {"pretrained": {"runRef": {"name": "source", "fold": "0"}}}
    prepared.put(run("source"))
    prepared.put(run("one", folds=["0"], **other))
    prepared.put(run("five", folds=["0", "1", "2", "3", "4"], **other))
    prepared.settle()
    assert asked(prepared, "one") == asked(prepared, "five")
    assert {"plans", "source"} <= asked(prepared, "five").keys()


READY_UNTIL = {
    "Dataset": ("data", {"splits": {"groupBy": ""}}, "Plans", "plans"),
    "Plans": ("plans", {"preprocessing": {"shards": "many"}}, "TrainingRun", "run"),
    "Plans of a transfer": ("plans", {"preprocessing": {"shards": "many"}}, "Plans", "moved"),
    "TrainingRun": ("source", {"folds": ["first"]}, "TrainingRun", "run"),
}


@pytest.mark.parametrize("kind", READY_UNTIL)
def test_what_was_ready_and_cannot_be_read_any_more_is_waited_for(kind: str) -> None:
    world = MemoryWorld()
    name, broken, waiting_kind, waiting = READY_UNTIL[kind]
    world.put(dataset())
    world.settle()
    finish(world, "dataset")
    if name != "data":
        world.put(plans())
        world.settle()
        finish(world, "plan")
        finish(world, "preprocess")
    if name == "source":
        world.put(run("source"))
        world.settle()
        finish(world, "train")
    key = Key(kind.split()[0], "default", name)
    assert world.condition(key.kind, name)[0] == "True"
    world.edit(key.kind, name, **broken)
    world.settle()
    if name == "data":
        world.put(plans())
    world.put(run(**({"pretrained": {"runRef": {"name": "source", "fold": "0"}}} if name == "source" else {})))
    world.put(transfer())
    world.settle()
    assert world.condition(waiting_kind, waiting)[1] == "DependencyFailed"
    assert f"{key.kind} {name} is stalled (InvalidSpec)" in world.condition(waiting_kind, waiting)[2]
