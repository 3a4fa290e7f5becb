"""What `why` says of a chain of objects, for tests."""

from __future__ import annotations

from collections.abc import Callable

from nnunet_operator.inspection.why import waiting
from nnunet_operator.reconcile.view import Manifest

from ..conftest import WorldReader

Advance = Callable[..., None]
PREPARATION = ("dataset", "plan", "transfer", "preprocess")


def why(reader: WorldReader, kind: str, name: str) -> tuple[list[str], list[str]]:
    """The steps, indented by their depth, and what to do."""
    found = waiting.explain(reader.of(kind, name), reader, reader.world.now, "kubectl nnunet")
    return [f"{'  ' * step.depth}{step.subject}: {step.says}" for step in found.steps], found.what_to_do()


def subjects(steps: list[str]) -> list[str]:
    return [step.split(": ")[0].strip().split("-0000")[0] for step in steps]


def waiting_pod(reader: WorldReader, **hold: str) -> Manifest:
    """The pod of the first training, which does not start."""
    world = reader.world
    job = world.job(step="train")
    if hold:
        world.hold(job, **hold)
    world.wait(minutes=5)
    world.settle()
    (pod,) = world.pods(job["metadata"]["name"])
    return pod
