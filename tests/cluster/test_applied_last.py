"""An object that is applied once all else is at rest: nothing else happens any more that could wake whom it concerns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from nnunet_operator.api.resources import parse
from nnunet_operator.reconcile.references.dependencies import needed_by, wanted_by
from support.apiclient import ApiClient, Manifest, wait_until
from support.controlplane import ControlPlane
from support.operator import OperatorProcess
from support.pretend import PretendKubelet, succeed

from .conftest import API_VERSION, STORAGE, condition, quickstart

pytestmark = pytest.mark.controlplane

LAST = {
    "dataset": {("Dataset", "source")},
    "plans": {("Plans", "hippocampus")},
    "transfer": {("PlanTransfer", "hippocampus-to-source")},
    "run": {("TrainingRun", "pretrain")},
}
"""By namespace, the objects of the quickstart (kind, name) that are applied last."""


def kind_and_name(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def waiting_for(missing: set[tuple[str, str]], manifests: list[Manifest]) -> set[tuple[str, str]]:
    """These objects, those that they make, and all that refer to them, however far."""
    found, before = set(missing), -1
    while len(found) > before:
        before = len(found)
        for manifest in manifests:
            resource = parse(manifest)
            if kind_and_name(manifest) in found:
                found |= {(key.kind, key.name) for key in wanted_by(resource)}
            elif any((key.kind, key.name) in found for key in needed_by(resource)):
                found.add(kind_and_name(manifest))
    return found


class Cluster:
    """One namespace's quickstart.

    Args:
        last: what is applied last.
    """

    def __init__(self, api: ApiClient, namespace: str, last: set[tuple[str, str]]) -> None:
        self._api, self._namespace = api, namespace
        manifests = quickstart(namespace)
        self.first = [manifest for manifest in manifests if kind_and_name(manifest) not in last]
        self.last = [manifest for manifest in manifests if kind_and_name(manifest) in last]
        waiting = waiting_for(last, manifests)
        self.can_begin = [manifest for manifest in self.first if kind_and_name(manifest) not in waiting]
        self.waits = [manifest for manifest in self.first if kind_and_name(manifest) in waiting]

    def is_at_rest(self) -> bool:
        """All that can be Ready is, all else has said that it waits, and no Job is left."""
        waiting = [condition(self._get(manifest)) for manifest in self.waits]
        said = all(ready.get("status") == "False" for ready in waiting)
        return self.are_ready(self.can_begin) and said and not self._api.list("batch/v1", "Job", self._namespace)

    def are_ready(self, manifests: list[Manifest]) -> bool:
        return all(condition(self._get(manifest)).get("status") == "True" for manifest in manifests)

    def stands(self) -> str:
        said = {kind_and_name(manifest): condition(self._get(manifest)) for manifest in (*self.first, *self.last)}
        return f"{self._namespace} to go on: {said}"

    def _get(self, manifest: Manifest) -> Manifest | None:
        return self._api.get(API_VERSION, manifest["kind"], self._namespace, manifest["metadata"]["name"])


@pytest.fixture
def namespaces(control_plane: ControlPlane) -> Iterator[dict[str, str]]:
    found = {name: control_plane.create_namespace(name) for name in LAST}
    yield found
    for name in found.values():
        control_plane.delete_namespace(name)


def test_an_object_of_each_kind_that_is_applied_last_is_reconciled_and_so_is_all_that_waited_for_it(
    control_plane: ControlPlane, namespaces: dict[str, str], tmp_path: Path
) -> None:
    api = control_plane.admin
    clusters = [Cluster(api, namespace, LAST[name]) for name, namespace in namespaces.items()]
    operator = OperatorProcess(control_plane, tmp_path, namespaces=list(namespaces.values()), environment=STORAGE)
    with ExitStack() as stack:
        for namespace in namespaces.values():
            stack.enter_context(PretendKubelet(api, namespace, succeed))
        stack.callback(operator.start().stop)
        for cluster in clusters:
            for manifest in cluster.first:
                api.apply(manifest)
        for cluster in clusters:
            wait_until(cluster.is_at_rest, timeout=120, what=cluster.stands)
        for cluster in clusters:
            for manifest in cluster.last:
                api.apply(manifest)
        for cluster in clusters:
            wait_until(lambda cluster=cluster: cluster.are_ready(cluster.first + cluster.last), timeout=120, what=cluster.stands)
    assert "a bug" not in operator.log
