"""What `kubectl get` would print: the printer columns of the CRDs over stored objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..api.resources import GROUP
from ..api.schema.crds import COLUMNS

Manifest = dict[str, Any]

NONE = "<none>"


def header(kind: str, *, wide: bool = False) -> list[str]:
    """The headings of a kind's table."""
    return ["NAME", *(name.upper() for name, _, _, priority in COLUMNS[kind] if wide or not priority)]


def row(manifest: Manifest, now: datetime, *, wide: bool = False, prefixed: bool = False) -> list[str]:
    """One object's cells, `header`'s order. `prefixed`: the name with its kind, as where kinds are mixed."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    cells = [f"{kind.lower()}.{GROUP}/{name}" if prefixed else name]
    for _, type_, path, priority in COLUMNS[kind]:
        if wide or not priority:
            value = lookup(manifest, path)
            cells.append(NONE if value is None else age(value, now) if type_ == "date" else str(value))
    return cells


def lookup(data: Any, path: str) -> Any:
    """The value at a JSONPath of the simple sort that printer columns use: `.a.b`, `.list[?(@.key=="value")].c`."""
    for name, key, wanted in re.findall(r'\.(\w+)(?:\[\?\(@\.(\w+)=="([^"]*)"\)\])?', path):
        data = data.get(name) if isinstance(data, dict) else None
        if key:
            data = next((item for item in data or [] if item.get(key) == wanted), None)
    return data


def age(stamp: str, now: datetime) -> str:
    """How long ago, as kubectl has it: 45s, 9m, 2m30s, 3h5m, 5d."""
    seconds = max(0, int((now - datetime.fromisoformat(stamp)).total_seconds()))
    return duration(seconds)


def until(stamp: str, now: datetime) -> str:
    """How long until then, in the same words; empty where it is over."""
    seconds = (datetime.fromisoformat(stamp) - now).total_seconds()
    return duration(seconds) if seconds >= 1 else ""


def duration(seconds: float) -> str:
    """Seconds as kubectl's HumanDuration writes them."""
    total = int(seconds)
    minutes, hours, days = total // 60, total // 3600, total // 86_400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, three spaces between, as kubectl prints them."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def tables(manifests: Sequence[Manifest], *, wide: bool = False, prefixed: bool = False) -> str:
    """A table a kind."""
    now, kinds = datetime.now(UTC), dict.fromkeys(manifest["kind"] for manifest in manifests)
    parts = []
    for kind in kinds:
        rows = [row(manifest, now, wide=wide, prefixed=prefixed) for manifest in manifests if manifest["kind"] == kind]
        parts.append(table([header(kind, wide=wide), *rows]))
    return "\n\n".join(parts)
