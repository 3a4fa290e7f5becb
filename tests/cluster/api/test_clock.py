"""The operator's moment is the API server's, whatever our own clock is set to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from nnunet_operator.cluster.api.clock import ServerClock
from nnunet_operator.cluster.api.kubeconfig import connect
from support.controlplane import ControlPlane

START = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)


class Machine:
    """Our machine: a clock that is set, one that cannot be, and the server's."""

    def __init__(self) -> None:
        self.wall, self.monotonic, self.server = START, 5000.0, START
        self.clock = ServerClock(lambda: self.wall.timestamp(), lambda: self.monotonic)
        self.jumps = 0
        self.clock.jumped = self.count

    def count(self) -> None:
        self.jumps += 1

    def wait(self, seconds: float) -> None:
        self.wall, self.server = self.wall + timedelta(seconds=seconds), self.server + timedelta(seconds=seconds)
        self.monotonic += seconds

    def answer(self) -> None:
        self.clock.heard(format_datetime(self.server, usegmt=True))

    @property
    def error(self) -> float:
        return abs((self.clock.now() - self.server).total_seconds())


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
def test_setting_our_own_clock_changes_nothing(hours: int) -> None:
    machine = Machine()
    assert machine.clock.now() == START, "our own counts until the first answer"
    machine.wall += timedelta(hours=hours)
    machine.answer()
    assert machine.error < 1
    for seconds in (0.4, 3600, 86_400):
        machine.wait(seconds)
        machine.wall -= timedelta(hours=hours / 2)
        assert machine.error < 1, "between two answers"
    machine.answer()
    assert machine.error < 1
    assert machine.jumps == 0


@pytest.mark.parametrize("hours", [-30, -1, 1, 30])
def test_it_follows_a_server_whose_clock_is_set(hours: int) -> None:
    machine = Machine()
    machine.answer()
    machine.server += timedelta(hours=hours)
    assert machine.jumps == 0
    for _ in range(3):
        machine.answer()
        assert machine.error < 1
    assert machine.jumps == 1, "what was to be looked at hours later may be due now"


def test_whole_seconds_and_slow_answers_do_not_make_it_waver() -> None:
    machine = Machine()
    machine.answer()
    moments = []
    for _ in range(40):
        machine.wait(0.13)
        machine.answer()
        moments.append(machine.clock.now())
    steps = [(after - before).total_seconds() for before, after in pairwise(moments)]
    assert steps == pytest.approx([0.13] * len(steps))


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Sat, 99 Nov 2026 25:61:61 GMT", "Sun, 01 Nov 99999 12:00:00 GMT", "\ud800"]
)
def test_a_date_that_is_none_is_no_news(date: str | None) -> None:
    machine = Machine()
    machine.answer()
    machine.clock.heard(date)
    assert machine.error < 1


@pytest.mark.controlplane
async def test_the_real_server_tells_it(control_plane: ControlPlane) -> None:
    api = await connect(control_plane.kubeconfig)
    api.clock = ServerClock(wall=lambda: 0.0)
    try:
        await api.request("GET", "/version")
        assert abs(api.clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    finally:
        await api.close()
