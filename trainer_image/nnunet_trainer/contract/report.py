"""What a finished step tells the operator, in a pod's termination message."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from . import CONTRACT_VERSION
from .json_text import codec, untrusted_json

MAX_BYTES = 3500
"""The kubelet keeps only the tail of 4,096 bytes; a cut JSON document would be no report at all."""
LONGEST_READ = 16_384
"""Characters of a termination message that are read at all."""
LONGEST_HINT = 300
SHORTEST_MESSAGE = 200
"""Characters that are kept of a hint and of a message before the summary is cut."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """Something kept in the object store. `digest` is that of its inputs (design: content addresses)."""

    kind: str  # dataset | plans | preprocessed | run
    uri: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Error:
    """Why a step failed: `reason` becomes a condition's reason, `message` and `hint` its text."""

    code: int
    reason: str
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The end of one step: artifacts and a summary, or an error. `detail` is where the whole, uncut report stands."""

    step: str
    version: int = CONTRACT_VERSION
    artifacts: list[Artifact] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    error: Error | None = None
    detail: str | None = None

    def artifact(self, kind: str) -> Artifact | None:
        """The first artifact of a kind."""
        return next((a for a in self.artifacts if a.kind == kind), None)


def encode(report: Report, limit: int = MAX_BYTES) -> str:
    """A report as JSON of at most `limit` bytes. What is too long is cut, and says that it was."""
    if _fits(report, limit):
        return codec.dumps(report)
    if report.error is not None and len(report.error.hint) > LONGEST_HINT:
        report = replace(report, error=replace(report.error, hint=report.error.hint[:LONGEST_HINT]))
    report = _cut_message(report, limit, at_least=SHORTEST_MESSAGE)
    # The summary's longest entries go next: what the operator needs (artifacts, error) is short.
    summary = dict(report.summary)
    while summary and not _fits(report, limit):
        del summary[max(summary, key=lambda key: len(json.dumps(summary[key])))]
        report = replace(report, summary={**summary, "cut": True})
    return codec.dumps(_cut_message(report, limit, at_least=0))


def _fits(report: Report, limit: int) -> bool:
    return len(codec.dumps(report).encode()) <= limit


def _cut_message(report: Report, limit: int, at_least: int) -> Report:
    """The error's message as long as it may be, but not shorter than `at_least` characters."""
    if report.error is None or len(report.error.message) <= at_least or _fits(report, limit):
        return report
    error = report.error

    def cut(length: int) -> Report:
        return replace(report, error=replace(error, message=error.message[:length] + " … (cut)"))

    shortest, longest = at_least, len(error.message)
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        shortest, longest = (middle, longest) if _fits(cut(middle), limit) else (shortest, middle - 1)
    return cut(shortest)


def decode(text: str) -> Report | None:
    """The report in a termination message, its texts printable; None when the message holds none (last log lines, garbage)."""
    try:
        report = codec.from_plain(Report, untrusted_json.parse(text, LONGEST_READ))
    except ValueError:
        return None
    return report if report.version == CONTRACT_VERSION else None
