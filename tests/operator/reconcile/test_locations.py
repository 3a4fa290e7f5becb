"""Where artifacts go."""

from __future__ import annotations

from nnunet_operator.reconcile.view import Settings
from support.objects import dataset
from support.world import MemoryWorld


def test_without_any_storage_it_is_said_what_to_do() -> None:
    world = MemoryWorld(Settings())
    world.put(dataset())
    world.settle()
    status, reason, message = world.condition("Dataset", "data")
    assert (status, reason) == ("False", "NoStorage")
    assert "spec.storage.uri" in message
    world.edit("Dataset", "data", storage={"uri": "s3://nnunet"})
    world.settle()
    assert world.condition("Dataset", "data")[1] == "Starting"
