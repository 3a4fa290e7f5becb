"""What verifying a dataset finds, and the same in few lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

MOST_WARNINGS, LONGEST_WARNING = 6, 300
"""Lines, and characters of one: a step's report has 3,500 bytes for all that it tells."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `fatal` is False for what nnU-Net only warns of (another origin or direction).

    Attributes:
        kind: what many cases may have in common, as "origin"; warnings of a kind are told as one.
    """

    case: str
    file: str
    message: str
    fatal: bool = True
    kind: str = ""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.case, self.file) if part)
        return f"{'' if self.fatal else 'warning: '}{where + ': ' if where else ''}{self.message}"

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


def warnings(findings: Iterable[Finding]) -> list[str]:
    """What is not fatal, one line a kind with the first case of it and how many more there are; no more than fit a status."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        if not finding.fatal:
            kinds.setdefault(finding.kind or finding.message, []).append(finding)
    lines = []
    for found in kinds.values():
        text = str(found[0]).removeprefix("warning: ")
        cases = len({each.case for each in found})
        lines.append(
            f"{text[:LONGEST_WARNING]}" + (f" (and {cases - 1} more {'case' if cases == 2 else 'cases'})" if cases > 1 else "")
        )
    if len(lines) > MOST_WARNINGS:
        lines[MOST_WARNINGS - 1 :] = [f"and {len(lines) - MOST_WARNINGS + 1} more warnings; nnunet-trainer verify prints all"]
    return lines
