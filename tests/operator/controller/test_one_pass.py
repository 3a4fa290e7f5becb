"""One pass over one object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nnunet_operator.api.conditions import condition_of
from nnunet_operator.api.fields.uris import StorageSpec
from nnunet_operator.controller.events import EventRecorder
from nnunet_operator.controller.object_client import key_of
from nnunet_operator.controller.one_pass import Passed, Reconciliation
from nnunet_operator.local.session.uri_map import UriMap
from nnunet_operator.manifests.job import FAILURE_RULES
from nnunet_operator.reconcile.view import Key, Settings

from .conftest import NotedClient

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def reconciliation(client: NotedClient, recorder: EventRecorder) -> Reconciliation:
    settings = Settings(storage=StorageSpec(uri="s3://nnunet"))
    return Reconciliation(client, UriMap(client.store), recorder, settings, NOW)


async def test_a_new_object_gets_its_job_and_a_status(client: NotedClient, recorder: EventRecorder) -> None:
    passed = await reconciliation(client, recorder).pass_over(key_of(client.about), NOW, {})
    assert passed.children_changed
    assert passed.refusal is None
    (job,) = client.store.all("Job")
    assert job["spec"]["podFailurePolicy"]["rules"] == FAILURE_RULES
    stored = client.store.get("Dataset", "default", "brain")
    assert stored is not None
    assert condition_of(stored, "Ready")["reason"] == "Starting"


async def test_a_refused_child_is_told_in_the_status_and_heals(client: NotedClient, recorder: EventRecorder) -> None:
    passes, key = reconciliation(client, recorder), key_of(client.about)
    await passes.pass_over(key, NOW, {})
    (job,) = client.store.all("Job")
    client.store.remove(job)
    client.store.edit(*key, lambda new: new.pop("status"))
    client.refuse = {job["metadata"]["name"]}
    passed = await passes.pass_over(key, NOW, {})
    assert passed.refusal is not None
    assert passed.refusal.child["metadata"]["name"] == job["metadata"]["name"]
    stored = client.store.get(*key)
    assert stored is not None
    ready = condition_of(stored, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ChildRefused")
    assert "exceeded quota: gpus" in ready["message"]
    assert condition_of(stored, "Stalled", "True")
    client.refuse = set()
    healed = await passes.pass_over(key, NOW + timedelta(seconds=30), {})
    assert healed.refusal is None
    stored = client.store.get(*key)
    assert stored is not None
    assert condition_of(stored, "Ready")["reason"] == "Starting"
    assert not condition_of(stored, "Stalled")


async def test_what_is_gone_or_going_is_left_alone(client: NotedClient, recorder: EventRecorder) -> None:
    passes, key = reconciliation(client, recorder), key_of(client.about)
    client.store.edit(*key, lambda new: new["metadata"].update(deletionTimestamp="2026-11-01T12:00:00Z", finalizers=["x"]))
    for some in (key, Key("Dataset", "default", "never-there")):
        assert await passes.pass_over(some, NOW, {}) == Passed()
    assert not client.calls
