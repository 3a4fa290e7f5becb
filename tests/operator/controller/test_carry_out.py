"""What an Outcome becomes, wherever objects are kept."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nnunet_operator.controller.carry_out import ChildRefused, carry_out, without_nulls
from nnunet_operator.controller.events import EventRecorder
from nnunet_operator.controller.object_client import AlreadyExists, Outdated
from nnunet_operator.local.object_store.store import Store
from nnunet_operator.reconcile.outcome import Delete, Event, Outcome
from nnunet_operator.reconcile.view import Key, Manifest

from .conftest import NotedClient


async def test_children_come_first_then_deletions_one_status_and_the_events(client: NotedClient, recorder: EventRecorder) -> None:
    old = client.store.create(client.child("Job", "old"))
    outcome = Outcome(
        status={"observedGeneration": 1, "fingerprint": None},
        apply=[client.child("ConfigMap", "order")],
        create=[client.child("Job", "new")],
        delete=[Delete("Job", "old", old["metadata"]["uid"])],
        events=[Event(reason="Testing", message="told")],
    )
    assert (await carry_out(client, recorder, client.about, outcome)).children_changed
    wanted = [("apply", "ConfigMap", "order", True), ("create", "Job", "new"), ("delete", "Job", "old"), ("status", "brain")]
    assert client.calls == [*wanted, ("create", "Event")]
    stored = client.store.get("Dataset", "default", "brain")
    assert stored is not None
    assert stored["status"] == {"observedGeneration": 1}, "a null is not stored"


async def test_what_the_status_settles_goes_after_it_is_stored_and_told(client: NotedClient, recorder: EventRecorder) -> None:
    old = client.store.create(client.child("Job", "old"))
    gone = [Delete("ConfigMap", "order", ""), Delete("Job", "old", old["metadata"]["uid"])]
    outcome = Outcome(status={"cases": 1}, events=[Event(reason="Testing", message="told")], delete_once_stored=gone)
    done = await carry_out(client, recorder, client.about, outcome)
    assert client.calls == [("status", "brain"), ("create", "Event"), ("delete", "ConfigMap", "order"), ("delete", "Job", "old")]
    assert done == (True, True)


async def test_each_line_of_the_log_tells_its_object_as_a_key(
    client: NotedClient, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """By it a line has kind, namespace and name as fields of their own."""
    outcome = Outcome(status={}, create=[client.child("Job", "new")], create_missing=[client.child("ConfigMap", "order")])
    with caplog.at_level(logging.INFO):
        await carry_out(client, recorder, client.about, outcome)
    assert [record.getMessage().split()[:3] for record in caplog.records] == [
        ["created", "Job", "new"],
        ["ConfigMap", "order", "had"],
    ]
    assert [record.__dict__["object"] for record in caplog.records] == [Key("Dataset", "default", "brain")] * 2


class Stubborn(NotedClient):
    """A server that makes something else of a status, or has a newer version of its object."""

    outdated = False

    async def write_status(self, about: Manifest, status: Manifest) -> bool:
        await super().write_status(about, {})
        if self.outdated:
            raise Outdated
        return False


@pytest.mark.parametrize("outdated", [False, True])
async def test_what_is_not_stored_as_it_is_wanted_settles_nothing(tmp_path: Path, outdated: bool) -> None:
    client = Stubborn(Store(tmp_path))
    client.outdated = outdated
    job = client.store.create(client.child("Job", "old"))
    outcome = Outcome(status={"cases": 1}, delete_once_stored=[Delete("Job", "old", job["metadata"]["uid"])], settled=True)
    if outdated:
        with pytest.raises(Outdated):
            await carry_out(client, EventRecorder(client, "test"), client.about, outcome)
    else:
        assert await carry_out(client, EventRecorder(client, "test"), client.about, outcome) == (False, False)
    assert client.store.get("Job", "default", "old") == job


async def test_what_is_so_already_changes_nothing(client: NotedClient, recorder: EventRecorder) -> None:
    outcome = Outcome(status={"cases": 1}, apply=[client.child("ConfigMap", "order")], create=[client.child("Job", "new")])
    assert (await carry_out(client, recorder, client.about, outcome)).children_changed
    revision = client.store.revision()
    again = Outcome(status={"cases": 1}, apply=outcome.apply, create=outcome.create, delete=[Delete("Job", "never-there", "x")])
    assert not (await carry_out(client, recorder, client.about, again)).children_changed
    assert client.store.revision() == revision


@pytest.mark.parametrize("refused", ["order", "new"])
async def test_after_a_refused_child_nothing_is_done(client: NotedClient, recorder: EventRecorder, refused: str) -> None:
    client.refuse = {refused}
    outcome = Outcome(
        status={"cases": 1},
        apply=[client.child("ConfigMap", "order")],
        create=[client.child("Job", "new"), client.child("Job", "newer")],
        delete=[Delete("Job", "old", "x")],
        events=[Event(reason="Testing", message="told")],
    )
    with pytest.raises(ChildRefused) as raised:
        await carry_out(client, recorder, client.about, outcome)
    assert (raised.value.child["metadata"]["name"], raised.value.reason) == (refused, "Forbidden")
    assert raised.value.why == "exceeded quota: gpus"
    assert client.calls[-1][2] == refused
    assert not {call[0] for call in client.calls} & {"delete", "status"}


@pytest.mark.parametrize(
    ("kind", "owner", "force"),
    [
        ("ConfigMap", None, True),
        ("ConfigMap", "somebody-else", True),  # its name holds our uid and a digest: nobody else can bear it
        ("Plans", None, True),
        ("Plans", "somebody-else", False),
    ],
)
async def test_force_is_for_what_is_ours(
    client: NotedClient, recorder: EventRecorder, kind: str, owner: str | None, force: bool
) -> None:
    spec = {"spec": {"datasetRef": {"name": "brain"}}} if kind == "Plans" else {}
    version = {"apiVersion": "nnunet.dev/v1alpha1"} if kind == "Plans" else {}
    theirs = client.store.create(client.child(kind, "child", owner, **version, **spec))
    outcome = Outcome(apply=[client.child(kind, "child", **version, **spec)])
    if force:
        await carry_out(client, recorder, client.about, outcome)
    else:
        with pytest.raises(ChildRefused, match="somebody else's"):
            await carry_out(client, recorder, client.about, outcome)
        assert client.store.get(kind, "default", "child") == theirs
    assert client.calls[0] == ("apply", kind, "child", force)


class Forgetful(NotedClient):
    """Knows nothing without asking, as after a restart; and what it asks for may be gone by then."""

    gone = False

    def known(self, key: Key) -> Manifest | None:
        return None

    async def get(self, key: Key) -> Manifest | None:
        return None if self.gone else await super().get(key)

    async def create(self, manifest: Manifest) -> Manifest:
        if self.gone:
            raise AlreadyExists
        return await super().create(manifest)


async def test_a_job_that_is_there_after_a_restart_is_found_not_made_again(tmp_path: Path) -> None:
    client = Forgetful(Store(tmp_path / "store"))
    recorder = EventRecorder(client, "tests")
    ours, theirs = client.child("Job", "ours"), client.child("Job", "theirs", owner="somebody-else")
    found = client.store.create(ours)
    client.store.create(theirs)
    assert (await carry_out(client, recorder, client.about, Outcome(create=[ours]))).children_changed
    assert client.store.all("Job")[0] == found
    with pytest.raises(ChildRefused, match="is there already and is not of this Dataset") as raised:
        await carry_out(client, recorder, client.about, Outcome(create=[client.child("Job", "theirs")]))
    assert raised.value.reason == "NameTaken"
    client.gone = True
    with pytest.raises(Outdated):  # it was deleted between the two requests
        await carry_out(client, recorder, client.about, Outcome(create=[client.child("Job", "flickering")]))


async def test_an_object_whose_time_is_over_gets_no_status(client: NotedClient, recorder: EventRecorder) -> None:
    await carry_out(client, recorder, client.about, Outcome(status={"cases": 1}, delete_self=True))
    assert client.calls == [("delete", "Dataset", "brain")]
    assert client.store.get("Dataset", "default", "brain") is None


JSON = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=12,
)


@given(JSON)
@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_only_null_fields_are_left_out(value: object) -> None:
    def fields(data: object) -> list[object]:
        below = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
        return [*(data.values() if isinstance(data, dict) else []), *(field for item in below for field in fields(item))]

    without = without_nulls(value)
    assert None not in fields(without)
    assert without_nulls(without) == without
    assert len([f for f in fields(value) if isinstance(f, int)]) == len([f for f in fields(without) if isinstance(f, int)])
