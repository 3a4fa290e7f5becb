"""A log that is followed over answers that end too early: each line once, however a container runtime stamps them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from kubectl_nnunet.commands import logs
from support.apiclient import Manifest

POD: Manifest = {"metadata": {"name": "run-f0-0-x", "namespace": "ns", "uid": "u"}}


class Cut:
    """A cluster whose answers end after so many lines, and whose pod ends with its last line."""

    def __init__(self, lines: list[str], after: int) -> None:
        self.lines, self.after, self.sent = lines, after, 0

    def log(self, pod: Manifest, query: dict[str, str]) -> Iterator[str]:
        # The API server hands the kubelet whole seconds.
        since = datetime.fromisoformat(query["sinceTime"]).replace(microsecond=0) if "sinceTime" in query else None
        wanted = [line for line in self.lines if since is None or datetime.fromisoformat(line.split(" ")[0]) >= since]
        self.sent = min(len(self.lines), self.sent + self.after)
        known = len(self.lines) - len(wanted)
        yield from wanted[: self.sent - known]

    def pods(self, _: Manifest) -> list[Manifest]:
        state = {"running": {}} if self.sent < len(self.lines) else {"terminated": {"exitCode": 0}}
        return [{**POD, "status": {"containerStatuses": [{"name": "trainer", "state": state}]}}]


class Said(Cut):
    """A cluster that has only this to say."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines, len(lines))

    def log(self, pod: Manifest, query: dict[str, str]) -> Iterator[str]:
        self.sent = len(self.lines)
        yield from self.lines


def stamped(*stamps: str) -> list[str]:
    return [f"{stamp} line {number}" for number, stamp in enumerate(stamps)]


@pytest.mark.parametrize(
    "lines",
    [
        stamped(*(f"2026-11-01T12:00:0{n}Z" for n in range(9))),
        stamped(*["2026-11-01T12:00:00.123456789Z"] * 9),
        stamped(*["2026-11-01T12:00:00.1Z"] * 4, *["2026-11-01T12:00:00.12Z"] * 5),
        stamped(*(f"2026-11-01T12:00:00.00000000{n}Z" for n in range(9))),
        stamped("2026-10-25T02:59:59.9+02:00", *["2026-10-25T02:00:00.1+01:00"] * 8),
    ],
    ids=["a line a second", "all at once", "two writes", "nanoseconds", "the end of summer time"],
)
@pytest.mark.parametrize("after", [1, 2, 3, 9])
def test_each_line_is_told_once(monkeypatch: pytest.MonkeyPatch, lines: list[str], after: int) -> None:
    monkeypatch.setattr(logs.time, "sleep", lambda _: None)
    told = logs._to_its_end(POD, {"container": "trainer"}, {}, Cut(lines, after))  # type: ignore[arg-type]
    assert list(told) == [line.split(" ", 1)[1] for line in lines]


def test_what_the_kubelet_says_itself_is_told_as_it_is() -> None:
    lines = ["unable to retrieve container logs for containerd://1"]
    assert list(logs._to_its_end(POD, {}, {}, Said(lines))) == lines  # type: ignore[arg-type]
