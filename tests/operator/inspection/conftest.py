"""Objects of a world in memory, read as the shells read theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nnunet_operator.inspection.reader import ObjectReader
from nnunet_operator.manifests import names
from nnunet_operator.reconcile.view import Key, Manifest
from support.world import KINDS, MemoryWorld, stamp

CHAIN = """
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: source}
spec: {name: Dataset001_Source, source: {uri: "s3://nnunet/raw/Dataset001_Source"}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Dataset
metadata: {name: target}
spec: {name: Dataset004_Hippocampus, source: {uri: "s3://nnunet/raw/Dataset004_Hippocampus"}}
---
apiVersion: nnunet.dev/v1alpha1
kind: Plans
metadata: {name: target}
spec: {datasetRef: {name: target}, preprocessing: {configurations: [3d_fullres]}}
---
apiVersion: nnunet.dev/v1alpha1
kind: PlanTransfer
metadata: {name: target-to-source}
spec: {from: {plansRef: {name: target}}, to: {datasetRef: {name: source}}, plansName: nnUNetPlans_target}
---
apiVersion: nnunet.dev/v1alpha1
kind: TrainingRun
metadata: {name: pretrain}
spec: {plansRef: {name: target-to-source}, folds: ["all"]}
---
apiVersion: nnunet.dev/v1alpha1
kind: TrainingRun
metadata: {name: finetune}
spec: {plansRef: {name: target}, folds: ["0", "1"], pretrained: {runRef: {name: pretrain, fold: all}}}
"""
"""Pretraining by transferred plans, as in the quickstart."""


class WorldReader(ObjectReader):
    """A MemoryWorld, read. `missing`: objects that pods name and that are not there; what is not known of is there."""

    def __init__(self, world: MemoryWorld) -> None:
        self.world = world
        self.said: list[Manifest] = []
        self.missing: set[tuple[str, str]] = set()
        self.others: dict[tuple[str, str], Manifest] = {}

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return self.world.get(kind, namespace, name)

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        return [found for key, found in self.world.objects.items() if key.kind == kind and namespace in (None, key.namespace)]

    def owned(self, owner: Manifest, kind: str) -> list[Manifest]:
        return self.world.owned(owner["metadata"]["uid"], kind)

    def events(self, about: Manifest) -> list[Manifest]:
        return [event for event in self.said if event["involvedObject"]["uid"] == about["metadata"]["uid"]]

    def workload(self, job: Manifest) -> Manifest | None:
        return self.world.workloads.get(job["metadata"]["uid"])

    def other(self, kind: str, namespace: str, name: str) -> Manifest | bool | None:
        return False if (kind, name) in self.missing else self.others.get((kind, name), True)

    def say(self, about: Manifest, reason: str, message: str, *, count: int = 1, warning: bool = True) -> None:
        """An event, as a kubelet or a scheduler posts it."""
        event: Manifest = {
            "kind": "Event",
            "metadata": {"name": f"e{len(self.said)}", "namespace": "default"},
            "involvedObject": {"uid": about["metadata"]["uid"]},
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message,
            "count": count,
            "lastTimestamp": stamp(self.world.now),
        }
        self.said.append(event)

    def ours(self) -> list[Manifest]:
        """All objects of the four kinds."""
        return [found for key, found in self.world.objects.items() if key.kind in KINDS]

    def of(self, kind: str, name: str) -> Manifest:
        """An object of the world."""
        return self.world.objects[Key(kind, "default", name)]


@pytest.fixture
def reader() -> WorldReader:
    """An empty world."""
    return WorldReader(MemoryWorld())


@pytest.fixture
def chain_(reader: WorldReader) -> WorldReader:
    """The whole chain, of which nothing has begun."""
    reader.world.put(CHAIN)
    reader.world.settle()
    return reader


@pytest.fixture
def advance() -> Callable[..., None]:
    """Finishes all Jobs of these steps, again and again until there are none."""

    def finish(reader: WorldReader, *steps: str) -> None:
        for _ in range(12):
            jobs: list[Any] = [job for job in reader.world.jobs() if job["metadata"]["labels"][names.STEP] in steps]
            if not jobs:
                return
            for job in jobs:
                reader.world.finish(job)
            reader.world.settle()
        raise AssertionError(f"{steps} do not end")

    return finish
