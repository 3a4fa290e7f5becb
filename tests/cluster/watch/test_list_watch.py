"""A list and the watch that follows it, against an API server that says what a test wants it to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.api.kinds import POD, ApiKind
from nnunet_operator.cluster.watch import backoff
from nnunet_operator.cluster.watch.list_watch import ListWatch
from support.apiclient import Manifest

Step = Manifest | Exception


def pod(name: str, version: str) -> Manifest:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": version}}


def event(kind: str, name: str, version: str) -> Manifest:
    return {"type": kind, "object": pod(name, version)}


def bookmark(version: str) -> Manifest:
    return {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": version}}}


def error(code: int, message: str = "") -> Manifest:
    return {"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": "", "message": message}}


class Script:
    """An API server: each watch gives its events, then ends, or fails with the exception that comes last.

    After the last watch nothing comes any more.
    """

    def __init__(self, *watches: list[Step], listed: list[str] | None = None) -> None:
        self._watches, self._listed = list(watches), listed or []
        self.asked: list[str] = []  # the version that each watch began with, "list" for a list
        self.told: list[tuple[str, str]] = []
        self.failures = self.relists = 0
        self.done = asyncio.Event()

    async def pages(self, kind: ApiKind, namespace: str | None) -> AsyncIterator[Manifest]:
        self.asked.append("list")
        for name in self._listed:
            item = pod(name, "50")
            del item["kind"]  # an item of a list does not say what it is
            yield {"metadata": {"resourceVersion": "100"}, "items": [item]}

    async def watch(
        self, kind: ApiKind, namespace: str | None, version: str, seconds: int, *, pause: float
    ) -> AsyncIterator[Manifest]:
        self.asked.append(version)
        if not self._watches:
            self.done.set()
            await asyncio.Event().wait()
        for step in self._watches.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step

    def _tell(self, what: str, manifest: Manifest) -> None:
        assert manifest["kind"] == "Pod"
        self.told.append((what, manifest["metadata"]["name"]))

    async def run(self) -> None:
        """Until all watches have been had."""

        def failed() -> None:
            self.failures += 1

        def listed() -> None:
            self.relists += 1

        watch = ListWatch(
            self,  # type: ignore[arg-type]
            POD,
            "ns",
            "1",
            changed=lambda manifest: self._tell("changed", manifest),
            deleted=lambda manifest: self._tell("deleted", manifest),
            listed=listed,
            failed=failed,
        )
        running = asyncio.create_task(watch.run())
        waiting = asyncio.create_task(self.done.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert not running.done(), running.exception()
        assert waiting.done()
        running.cancel()


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff.random, "uniform", lambda *_: 0.0)


async def test_events_are_told_and_the_next_watch_begins_where_the_last_ended() -> None:
    script = Script([event("ADDED", "a", "2"), event("MODIFIED", "a", "3"), event("DELETED", "a", "4")], [event("ADDED", "b", "9")])
    await script.run()
    assert script.told == [("changed", "a"), ("changed", "a"), ("deleted", "a"), ("changed", "b")]
    assert script.asked == ["1", "4", "9"]
    assert (script.failures, script.relists) == (0, 0)


async def test_bookmarks_move_the_version_on_and_are_told_to_nobody() -> None:
    script = Script([bookmark("7"), bookmark("8")])
    await script.run()
    assert script.asked == ["1", "8"]
    assert script.told == []


@pytest.mark.parametrize(
    "gone",
    [
        [error(410, "too old resource version")],
        [ApiError(410, "Expired", "too old resource version: 1 (200)")],
        [error(504, "Too large resource version: 900, current: 100")],
        [ApiError(504, "Timeout", "Too large resource version: 900, current: 100")],
    ],
)
async def test_a_version_that_the_server_does_not_know_leads_to_a_list(gone: list[Step]) -> None:
    script = Script([event("ADDED", "a", "2"), *gone], [event("ADDED", "c", "101")], listed=["a", "b"])
    await script.run()
    assert script.asked == ["1", "list", "100", "101"]
    assert script.told == [("changed", "a"), ("changed", "a"), ("changed", "b"), ("changed", "c")]
    assert script.relists == 1  # what was deleted meanwhile is looked for


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionResetError("away"),
        TimeoutError(),
        ApiError(500, "InternalError", "etcd"),
        ApiError(429, "TooManyRequests", "later"),
        ApiError(401, "Unauthorized", "token"),
    ],
)
async def test_after_a_failure_it_goes_on_where_it_was_and_nothing_is_listed(failure: Exception) -> None:
    script = Script([event("ADDED", "a", "2"), failure], [failure], [failure], [event("ADDED", "b", "3")])
    await script.run()
    assert script.asked == ["1", "2", "2", "2", "3"]
    assert script.told == [("changed", "a"), ("changed", "b")]
    assert script.failures == 3


async def test_a_server_that_ends_each_watch_at_once_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(backoff.random, "uniform", lambda *_: 1.0)
    monkeypatch.setattr(backoff.asyncio, "sleep", sleep)
    script = Script(*[[ApiError(500, "", "")] for _ in range(8)])
    await script.run()
    assert slept == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
