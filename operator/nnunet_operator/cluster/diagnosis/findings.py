"""What a check has found, and how it is shown: as text for people, as JSON for tools."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from typing import Any


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"  # it could not be looked at
    WARNING = "warning"  # it works, or may
    PROBLEM = "problem"  # it does not


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        check: what was looked at: kubernetes, definitions, permissions, scheduling, operator, storage,
            objects.
        about: what it is about: an object, an address.
        message: what was found.
        hint: what to do about it.
    """

    check: str
    level: Level
    about: str
    message: str
    hint: str = ""


def count(findings: Iterable[Finding], level: Level) -> int:
    """How many there are of a level."""
    return sum(finding.level is level for finding in findings)


def as_text(findings: list[Finding]) -> str:
    """A line each, what to do below it, and one line of all."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.check:<{width}}  {finding.about}: {' '.join(finding.message.split())}")
        indent = " " * (11 + width)
        lines += textwrap.wrap(finding.hint, 120, initial_indent=f"{indent}→ ", subsequent_indent=f"{indent}  ")
    counted = {level: count(findings, level) for level in reversed(Level)}
    plural = {
        level: f"{level}s" if number != 1 and level in (Level.PROBLEM, Level.WARNING) else level
        for level, number in counted.items()
    }
    return "\n".join([*lines, "", ", ".join(f"{number} {plural[level]}" for level, number in counted.items())])


def as_json(findings: list[Finding], host: str) -> str:
    """`{"cluster", "version", "problems", "warnings", "findings": [{"check", "level", "about", "message", "hint"}]}`"""
    data: dict[str, Any] = {
        "cluster": host,
        "version": metadata.version("nnunet-operator"),
        "problems": count(findings, Level.PROBLEM),
        "warnings": count(findings, Level.WARNING),
        "findings": [asdict(finding) for finding in findings],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)
