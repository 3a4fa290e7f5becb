"""One replica's view of the Lease, on the real API server, with a clock that the tests set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from nnunet_operator.cluster import lease as lease_module
from nnunet_operator.cluster.api.client import Api
from nnunet_operator.cluster.api.errors import ApiError
from nnunet_operator.cluster.api.kinds import ApiKind
from nnunet_operator.cluster.api.kubeconfig import connect
from nnunet_operator.cluster.lease import Lease
from support.controlplane import ControlPlane

pytestmark = pytest.mark.controlplane

DURATION, DEADLINE = 120.0, 80.0
"""Seconds of the tests' clock. Requests time out after a part of them by the real one, which a slow machine is not to notice."""
LOOKS = 3


class Clock:
    """The monotonic clock of all replicas."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease_module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
async def api(control_plane: ControlPlane, looks: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    api = await connect(control_plane.kubeconfig)
    get = api.get

    async def counted(kind: ApiKind, namespace: str, name: str) -> dict[str, Any] | None:
        found = await get(kind, namespace, name)
        looks.append(name)
        return found

    monkeypatch.setattr(api, "get", counted)
    yield api
    await api.close()


@pytest.fixture
def looks() -> list[str]:
    """Grows with each look at the Lease that was answered."""
    return []


def replica(api: Api, namespace: str, name: str) -> Lease:
    return Lease(api, namespace, "nnunet-operator", name, duration=DURATION, deadline=DEADLINE, retry=0.01, look=0.01)


async def goes_on(task: asyncio.Task[None], looks: list[str]) -> bool:
    """Whether a task, the only one that looks, has not ended after some looks."""
    enough = len(looks) + LOOKS
    async with asyncio.timeout(60):
        while not task.done() and len(looks) < enough:
            await asyncio.sleep(0.005)
    return not task.done()


async def ends(task: asyncio.Task[None]) -> bool:
    """Whether a task ends."""
    done, _ = await asyncio.wait({task}, timeout=60)
    return bool(done)


async def acquired(one: Lease) -> None:
    async with asyncio.timeout(60):
        await one.acquire()
    assert one.held


def holder(plane: ControlPlane, namespace: str) -> str:
    found = plane.admin.get("coordination.k8s.io/v1", "Lease", namespace, "nnunet-operator")
    assert found is not None
    return str(found["spec"]["holderIdentity"])


async def test_it_runs_out_by_the_clock_of_who_waits(api: Api, namespace: str, clock: Clock, looks: list[str]) -> None:
    first, second = replica(api, namespace, "first"), replica(api, namespace, "second")
    await acquired(first)
    waiting = asyncio.create_task(second.acquire())
    assert await goes_on(waiting, looks)
    clock.now += DEADLINE
    assert not first.held, "writes end before another may begin"
    clock.now += DURATION - DEADLINE - 0.1
    assert await goes_on(waiting, looks)
    clock.now += 0.2
    assert await ends(waiting)
    assert second.held


async def test_it_is_taken_at_once_when_it_was_given_away(
    api: Api, control_plane: ControlPlane, namespace: str, clock: Clock, looks: list[str]
) -> None:
    first, second = replica(api, namespace, "first"), replica(api, namespace, "second")
    await acquired(first)
    waiting = asyncio.create_task(second.acquire())
    assert await goes_on(waiting, looks)
    await first.release()
    assert not first.held
    await asyncio.wait_for(waiting, 60)
    await first.release()  # again: what another has is left
    assert holder(control_plane, namespace) == "second"


@pytest.mark.parametrize("after", ["nothing", "taken", "taken and given away"])
@pytest.mark.parametrize("seconds", [DEADLINE + 1, DURATION + 1, 3600])
async def test_whoever_was_frozen_for_long_does_not_go_on(
    api: Api, control_plane: ControlPlane, namespace: str, clock: Clock, looks: list[str], seconds: float, after: str
) -> None:
    frozen, other = replica(api, namespace, "frozen"), replica(api, namespace, "other")
    await acquired(frozen)
    keeping = asyncio.create_task(frozen.keep())
    if after != "nothing":
        waiting = asyncio.create_task(other.acquire())
        keeping.cancel()
        assert await goes_on(waiting, looks)
        clock.now += DURATION + 1
        await asyncio.wait_for(waiting, 60)
        if after == "taken and given away":
            await other.release()
        keeping = asyncio.create_task(frozen.keep())
    await asyncio.sleep(0)  # it waits for its next renewal, and wakes up after the clock has gone on
    clock.now += seconds
    assert await ends(keeping)
    assert not frozen.held
    assert holder(control_plane, namespace) == {"nothing": "frozen", "taken": "other", "taken and given away": ""}[after]


async def test_another_that_has_it_is_believed_at_once(api: Api, control_plane: ControlPlane, namespace: str, clock: Clock) -> None:
    ours = replica(api, namespace, "ours")
    await acquired(ours)
    keeping = asyncio.create_task(ours.keep())
    lease = control_plane.admin.get("coordination.k8s.io/v1", "Lease", namespace, "nnunet-operator")
    assert lease is not None
    control_plane.admin.patch(lease, {"spec": {"holderIdentity": "by hand"}})
    await asyncio.wait_for(keeping, 60)
    assert not ours.held
    await ours.release()
    assert holder(control_plane, namespace) == "by hand"


async def test_a_renewal_that_comes_between_does_not_hinder_giving_it_away(
    api: Api, control_plane: ControlPlane, namespace: str, clock: Clock
) -> None:
    ours = replica(api, namespace, "ours")
    await acquired(ours)
    real, conflicts = api.replace, [True]

    async def replace(manifest: dict[str, Any]) -> dict[str, Any]:
        if conflicts:
            conflicts.pop()
            raise ApiError(409, "Conflict", "the object has been modified")
        return await real(manifest)

    api.replace = replace  # type: ignore[method-assign]
    await ours.release()
    assert holder(control_plane, namespace) == ""


@pytest.mark.parametrize("error", [TimeoutError(), OSError("no route")], ids=repr)
async def test_why_it_is_not_renewed_or_given_away_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        async def get(self, *_: object) -> None:
            raise error

    ours = replica(Away(), "namespace", "ours")  # type: ignore[arg-type]
    assert not await ours._try(take=False)
    ours._asked_for_it = True
    await ours.release()
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [str(error) or "TimeoutError"] * 2
