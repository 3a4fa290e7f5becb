"""Events are said once, under names that do not change."""

from __future__ import annotations

import pytest
from nnunet_operator.controller.events import BURST, MAX_MESSAGE, MAX_REASON, REFILL, EventRecorder, event_manifest, event_name
from nnunet_operator.reconcile.outcome import Event
from nnunet_operator.reconcile.view import Manifest

from .conftest import ABOUT, NotedClient

ONE = Event(reason="Testing", message="one")


def events(client: NotedClient) -> list[Manifest]:
    return client.store.owned(client.about["metadata"]["uid"], "Event")


async def test_what_the_last_pass_said_too_is_no_news(client: NotedClient, recorder: EventRecorder) -> None:
    for said in ([ONE, ONE], [ONE]):
        await recorder.record(client.about, said)
    assert [event["count"] for event in events(client)] == [1]


async def test_what_happens_again_raises_the_count(client: NotedClient, recorder: EventRecorder) -> None:
    for said in ([ONE], [], [ONE], [], [ONE]):
        await recorder.record(client.about, said)
    assert [event["count"] for event in events(client)] == [3]


async def test_an_event_that_the_server_has_forgotten_is_posted_anew(client: NotedClient, recorder: EventRecorder) -> None:
    await recorder.record(client.about, [ONE])
    (event,) = events(client)
    client.store.delete("Event", "default", event["metadata"]["name"])
    for said in ([], [ONE]):
        await recorder.record(client.about, said)
    assert [(event["count"], event["message"]) for event in events(client)] == [(2, "one")]


async def test_a_restart_says_nothing_again(client: NotedClient, recorder: EventRecorder) -> None:
    await recorder.record(client.about, [ONE])
    await EventRecorder(client, "another process").record(client.about, [ONE])
    assert [(event["count"], event["reportingInstance"]) for event in events(client)] == [(1, "tests")]


async def test_an_event_that_cannot_be_posted_is_no_failure(
    client: NotedClient, recorder: EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    client.refuse = {event_name(client.about, ONE)}
    await recorder.record(client.about, [ONE, Event(reason="Testing", message="two")])
    assert [event["message"] for event in events(client)] == ["two"]
    assert "event Testing could not be posted: exceeded quota: gpus" in caplog.text


async def test_one_object_does_not_drown_the_events_of_others(client: NotedClient, caplog: pytest.LogCaptureFixture) -> None:
    """A pod that tells another warning at each question is heard with so many, and then with one now and then."""
    now, other = [0.0], client.store.create({**ABOUT, "metadata": {**ABOUT["metadata"], "name": "liver"}})
    recorder = EventRecorder(client, "tests", clock=lambda: now[0])

    async def say(about: Manifest, count: int) -> int:
        client.calls.clear()
        for _ in range(count):
            number[0] += 1
            await recorder.record(about, [Event(reason="Testing", message=str(number[0]))])
        return client.calls.count(("create", "Event"))

    number = [0]
    assert await say(client.about, BURST + 7) == BURST
    assert await say(other, 3) == 3
    assert await say(client.about, 5) == 0
    assert len([record for record in caplog.records if "so many events" in record.getMessage()]) == 1
    now[0] += 2 * REFILL
    assert await say(client.about, 5) == 2
    now[0] += 1000 * REFILL
    assert await say(client.about, BURST + 7) == BURST


def test_a_name_is_of_the_object_and_of_all_that_is_said() -> None:
    about = {**ABOUT, "metadata": {**ABOUT["metadata"], "uid": "0d6b"}}
    other = {**about, "metadata": {**about["metadata"], "uid": "0d6c"}}
    said = [ONE, Event(reason="Testing", message="two"), Event(reason="Others", message="one")]
    said.append(Event(type="Warning", reason="Testing", message="one"))
    names = [event_name(about, event) for event in said] + [event_name(other, ONE)]
    assert len(set(names)) == 5
    assert event_name(about, ONE) == "brain.936d7e07244996f3", "an operator of another version must find its events again"


@pytest.mark.parametrize("length", [0, 1, MAX_MESSAGE, MAX_MESSAGE + 1, 10 * MAX_MESSAGE])
def test_messages_are_as_long_as_the_server_takes(length: int) -> None:
    about = {**ABOUT, "metadata": {**ABOUT["metadata"], "uid": "u"}}
    made = event_manifest(about, Event(reason="R" * 500, message="x" * length), "2026-01-01T00:00:00Z", 1, "tests")
    assert len(made["message"]) == min(length, MAX_MESSAGE)
    assert made["message"].endswith("…") == (length > MAX_MESSAGE)
    assert len(made["reason"]) == MAX_REASON
    assert made["involvedObject"]["uid"] == "u"


async def test_the_local_store_keeps_the_newest_fifty_and_they_go_with_the_object(client: NotedClient) -> None:
    recorder = EventRecorder(client, "tests")
    for i in range(53):
        await recorder.record(client.about, [Event(reason="Testing", message=str(i))])
    assert len(events(client)) == 50
    owner = events(client)[0]["metadata"]["ownerReferences"]
    assert [reference["uid"] for reference in owner] == [client.about["metadata"]["uid"]]
