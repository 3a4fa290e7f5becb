"""What a finished step tells the operator, in a pod's termination message."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from . import CONTRACT_VERSION, codec

MAX_BYTES = 3500
"""The kubelet keeps only the tail of 4,096 bytes; a cut JSON document would be no report at all."""


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
    text = codec.dumps(report)
    if len(text.encode()) <= limit:
        return text
    if report.error is not None:
        spare = len(text.encode()) - limit
        keep = max(200, len(report.error.message.encode()) - spare - 80)
        message = report.error.message.encode()[:keep].decode(errors="ignore") + " … (cut)"
        cut = replace(report, error=replace(report.error, message=message, hint=report.error.hint[:300]))
        text = codec.dumps(cut)
        if len(text.encode()) <= limit:
            return text
        report = cut
    # The summary's longest entries go first: what the operator needs (artifacts, error) is short.
    summary = dict(report.summary)
    while summary and len(text.encode()) > limit:
        longest = max((k for k in summary), key=lambda k: len(json.dumps(summary[k])))
        del summary[longest]
        text = codec.dumps(replace(report, summary={**summary, "cut": True}))
        if set(summary) <= {"cut"}:
            break
    return text


def decode(text: str) -> Report | None:
    """The report in a termination message, or None when the message holds none (a crash's last log lines, garbage)."""
    try:
        report = codec.loads(Report, text)
    except (codec.CodecError, RecursionError):
        return None
    return report if report.version == CONTRACT_VERSION else None
