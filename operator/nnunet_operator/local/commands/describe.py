"""`local describe`: one object in full, in the order in which a person asks: what it is, how it stands, what it does, what was."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from datetime import UTC, datetime
from typing import Any

from nnunet_trainer.contract.faults import ExitCode
from nnunet_trainer.contract.uri import to_path
from nnunet_trainer.contract.yaml_text import writer

from ...inspection import printer_columns
from ..object_store.store import Store
from . import store_argument

Manifest = dict[str, Any]


def describe(arguments: argparse.Namespace) -> int:
    """Objects in full."""
    store = store_argument.open_store(arguments)
    print(f"\n\n{'─' * 40}\n".join(described(manifest, store) for manifest in store_argument.named(arguments, store)))
    return ExitCode.DONE


def described(manifest: Manifest, store: Store) -> str:
    """What `kubectl describe` says, and where the logs are."""
    meta, status = manifest["metadata"], dict(manifest.get("status") or {})
    now = datetime.now(UTC)
    conditions = status.pop("conditions", [])
    head = {
        "Name": meta["name"],
        "Namespace": meta["namespace"],
        "Kind": manifest["kind"],
        "Created": f"{meta['creationTimestamp']} ({printer_columns.age(meta['creationTimestamp'], now)} ago)",
    }
    if meta.get("labels"):
        head["Labels"] = ", ".join(f"{key}={value}" for key, value in meta["labels"].items())
    parts = ["\n".join(f"{key + ':':<12}{value}" for key, value in head.items())]
    parts += [f"{title}:\n{_yaml(content)}" for title, content in (("Spec", manifest["spec"]), ("Status", status)) if content]
    if conditions:
        rows = [["Type", "Status", "Reason", "Age", "Message"]]
        rows += [
            [c["type"], c["status"], c["reason"], printer_columns.age(c["lastTransitionTime"], now), c.get("message", "")]
            for c in conditions
        ]
        parts.append(f"Conditions:\n{_wrapped(rows)}")
    if notes := _notes(status):
        folded = (
            "\n    ".join(textwrap.wrap(note, _columns() - 4, break_on_hyphens=False, break_long_words=False)) for note in notes
        )
        parts.append("Notes of the planner:\n" + "\n".join(f"  {note}" for note in folded))
    if children := _children(meta["uid"], store, now):
        parts.append(f"Work:\n{children}")
    events = sorted(store.owned(meta["uid"], "Event"), key=lambda event: event["lastTimestamp"])
    if events:
        rows = [["Type", "Reason", "Age", "Message"]]
        for event in events:
            often = f" (x{event['count']})" if event["count"] > 1 else ""
            rows.append(
                [event["type"], event["reason"], printer_columns.age(event["lastTimestamp"], now) + often, event["message"]]
            )
        parts.append(f"Events:\n{_wrapped(rows)}")
    logs = store.logs(manifest)
    if logs.is_dir():
        parts.append(f"Logs:       {logs}")
    return "\n\n".join(parts)


def _notes(status: Manifest) -> list[str]:
    """Why plans are as they are (`plan --explain`), from their report; none where it is not on this machine."""
    path = to_path(str(status.get("report") or ""))
    try:
        notes = json.loads(path.read_text(encoding="utf-8")).get("notes") if path else None
    except (OSError, ValueError, AttributeError):
        return []
    return [str(note) for note in notes] if isinstance(notes, list) else []


def _columns() -> int:
    return max(80, shutil.get_terminal_size((140, 24)).columns)


def _children(uid: str, store: Store, now: datetime) -> str:
    rows = [["POD", "PHASE", "AGE", "SAYS"]]
    for pod in store.owned(uid, "Pod"):
        status = pod.get("status", {})
        says = next((c.get("message", "") for c in status.get("conditions", []) if c["status"] == "False" and c.get("message")), "")
        for container in status.get("containerStatuses", []):
            ended = container["state"].get("terminated")
            waits = container["state"].get("waiting")
            says = (
                f"exit code {ended['exitCode']} ({ended['reason']})"
                if ended
                else f"{waits['reason']}: {waits['message']}"
                if waits
                else says
            )
        rows.append(
            [
                pod["metadata"]["name"],
                status.get("phase", "Pending"),
                printer_columns.age(pod["metadata"]["creationTimestamp"], now),
                says,
            ]
        )
    return _wrapped(rows) if len(rows) > 1 else ""


def _yaml(data: Any) -> str:
    text = writer.dumped(data, width=110, default_flow_style=None)
    return textwrap.indent(text.rstrip(), "  ")


def _wrapped(rows: list[list[str]]) -> str:
    """A table whose last column is folded to the terminal's width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    left = 2 + sum(widths) + 2 * len(widths)
    room = max(40, shutil.get_terminal_size((140, 24)).columns - left)
    lines = []
    for row in rows:
        first = "  " + "".join(cell.ljust(width + 2) for cell, width in zip(row, widths, strict=False))
        folded = [
            piece
            for line in (row[-1].splitlines() or [""])
            for piece in textwrap.wrap(line, room, break_on_hyphens=False, break_long_words=False) or [""]
        ]
        lines += [(first + folded[0]).rstrip(), *(" " * left + piece for piece in folded[1:])]
    return "\n".join(lines)
