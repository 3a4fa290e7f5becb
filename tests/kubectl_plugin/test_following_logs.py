"""A log that is followed over answers that end too early: each line once, however a container runtime stamps them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from kubectl_nnunet.commands import logs
from nnunet_trainer.contract.faults import StorageFault
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


class Away(Cut):
    """The same, whose API server does not answer the next questions after each answer that was cut."""

    def __init__(self, lines: list[str], after: int, questions: int) -> None:
        super().__init__(lines, after)
        self._questions, self._unanswered = questions, 0

    def log(self, pod: Manifest, query: dict[str, str]) -> Iterator[str]:
        yield from super().log(pod, query)
        self._unanswered = self._questions
        raise StorageFault("NoCluster", "https://10.0.0.1 does not answer: refused.")

    def pods(self, owner: Manifest) -> list[Manifest]:
        if self._unanswered:
            self._unanswered -= 1
            raise StorageFault("NoCluster", "https://10.0.0.1 does not answer: refused.")
        return super().pods(owner)


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


@pytest.mark.parametrize("questions", [0, 1, 20])
def test_an_api_server_that_is_away_for_a_while_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], questions: int
) -> None:
    monkeypatch.setattr(logs.time, "sleep", lambda _: None)
    lines = stamped(*(f"2026-11-01T12:00:0{n}Z" for n in range(6)))
    told = logs._to_its_end(POD, {}, {}, Away(lines, 2, questions))  # type: ignore[arg-type]
    assert list(told) == [line.split(" ", 1)[1] for line in lines]
    assert capsys.readouterr().err.count("does not answer: refused. It is asked again") == (3 if questions else 0)


def test_one_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.time, "sleep", lambda _: None)
    monkeypatch.setattr(logs, "OUTAGE_SECONDS", 0.0)
    lines = stamped("2026-11-01T12:00:00Z", "2026-11-01T12:00:01Z")
    told = logs._to_its_end(POD, {}, {}, Away(lines, 1, 1))  # type: ignore[arg-type]
    assert next(told) == "line 0"
    with pytest.raises(StorageFault, match="does not answer"):
        next(told)


def test_what_the_kubelet_says_itself_is_told_as_it_is() -> None:
    lines = ["unable to retrieve container logs for containerd://1"]
    assert list(logs._to_its_end(POD, {}, {}, Said(lines))) == lines  # type: ignore[arg-type]
