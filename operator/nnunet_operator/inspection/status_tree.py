"""`status`: the chain as a tree, with how far each piece of work is; as text and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from ..api import kstatus, reasons
from ..api.common import State
from ..api.conditions import condition_of
from ..api.kstatus import Status
from ..reconcile.status.sentences import first_sentence
from ..reconcile.view import Manifest
from . import parts, printer_columns
from .chain import Node
from .parts import Part
from .terminal import Cell, Terminal

NOT_THERE, UNSEEN, DELETING = "NotFound", "NotYetSeen", "Deleting"
"""States that no condition has: it is referred to and not there; no operator has looked at it; it is being deleted."""

MEANING = {Status.CURRENT: "good", Status.FAILED: "bad", Status.SUSPENDED: "waiting"}
PART_MEANING = {
    **dict.fromkeys((State.RUNNING, State.VALIDATING), "busy"),
    **dict.fromkeys((State.SUSPENDED, State.QUEUED, State.BACKING_OFF, State.STARTING), "waiting"),
    State.SUCCEEDED: "good",
    State.FAILED: "bad",
    State.PENDING: "dim",
}


def state_of(manifest: Manifest | None) -> tuple[str, str]:
    """How an object stands in one word, and what that means (a key of `terminal.COLOURS`)."""
    if manifest is None:
        return NOT_THERE, "bad"
    if manifest["metadata"].get("deletionTimestamp"):
        return DELETING, "waiting"
    reason, status = kstatus.reason(manifest)[0], kstatus.compute(manifest)
    if not reason:
        return UNSEEN, "waiting"
    if status is Status.CURRENT:
        return "Ready", "good"
    if status is Status.FAILED:
        return f"Stalled ({reason})", "bad"
    working = any(part.state in (State.RUNNING, State.VALIDATING) for part in parts.of(manifest))
    return reason, MEANING.get(status, "busy" if working else "waiting")


def text(roots: Sequence[Node], terminal: Terminal, now: datetime, *, namespaces: bool = False) -> str:
    """The trees as a table: name, state, progress, details.

    Args:
        namespaces: roots of several namespaces: a heading for each.
    """
    rows: list[list[Cell]] = [[Cell("NAME"), Cell("STATE"), Cell("PROGRESS"), Cell("DETAILS")]]
    space = None
    for root in roots:
        if namespaces and root.key.namespace != space:
            space = root.key.namespace
            rows.append([Cell(f"namespace {space}", "dim"), Cell(""), Cell(""), Cell("")])
        rows += _rows(root, terminal, now, "", "")
    return terminal.table(rows)


def data(roots: Sequence[Node]) -> list[dict[str, Any]]:
    """The same for programs: a list of objects, each with its `parts` and its `children`."""
    return [_data(root) for root in roots]


def _rows(node: Node, terminal: Terminal, now: datetime, first: str, rest: str) -> Iterator[list[Cell]]:
    """The lines of an object and of all below it; `first` and `rest` stand before its own line and those below."""
    state, meaning = state_of(node.manifest)
    name = f"{first}{node.key.kind.lower()}/{node.key.name}"
    yield [Cell(name), Cell(state, meaning), _progress(node, terminal), Cell(_details(node, state, now))]
    work = [part for part in _parts(node) if _is_shown(part, node)]
    count = len(work) + len(node.children)
    for number, part in enumerate(work, 1):
        branch, _ = terminal.branches(last=number == count)
        yield _part_row(part, terminal, rest + branch, now)
    for number, child in enumerate(node.children, len(work) + 1):
        branch, below = terminal.branches(last=number == count)
        yield from _rows(child, terminal, now, rest + branch, rest + below)


def _parts(node: Node) -> list[Part]:
    shown = node.made or node.manifest
    return parts.of(shown) if shown else []


def _is_shown(part: Part, node: Node) -> bool:
    """Folds always; of the preparation what is not done. Not what only waits for what the object waits for."""
    if node.manifest is not None and part.only_waits(kstatus.reason(node.manifest)[0]):
        return False
    return part.unit == "epoch" or (part.state != State.SUCCEEDED and state_of(node.manifest)[0] != "Ready")


def _progress(node: Node, terminal: Terminal) -> Cell:
    """One bar for all pieces of work that say how far they are."""
    work = [part for part in _parts(node) if part.unit]
    if not work or node.manifest is None or state_of(node.manifest)[0] == "Ready":
        return Cell("")
    shares = [part.share or 0.0 for part in work]
    if len(work) < 2 or not any(shares):
        return Cell("")
    return _bar(sum(shares) / len(shares), terminal)


def _bar(share: float, terminal: Terminal) -> Cell:
    return Cell(f"{terminal.bar(share)} {int(share * 100):3d}%", "good" if share == 1 else "busy")


def _details(node: Node, state: str, now: datetime) -> str:
    manifest = node.manifest
    if manifest is None:
        return "is referred to, and is not there"
    status, spec = manifest.get("status") or {}, manifest.get("spec") or {}
    words: list[str] = []
    failed = [part for part in _parts(node) if part.state == State.FAILED]
    if state.startswith("Stalled") and not failed:  # else it is said of what failed
        words.append(first_sentence(kstatus.reason(manifest)[1]))
    match manifest["kind"]:
        case "Dataset":
            words += [str(spec.get("name", ""))] + ([f"{status['cases']} cases"] if status.get("cases") is not None else [])
        case "Plans" | "PlanTransfer":
            words += [str(status.get("plansName") or spec.get("plansName") or "")]
            words += [f"{cases} cases"] if (cases := status.get("cases")) not in (None, "-") else []
        case "TrainingRun":
            words += [str(spec.get("configuration", "3d_fullres")), f"{status.get('foldsDone', '-')} folds"]
            words += [f"Dice {status['meanDice']:.4f}"] if _number(status.get("meanDice")) else []
    if state not in ("Ready", UNSEEN, DELETING) and (since := condition_of(manifest, "Ready").get("lastTransitionTime")):
        words.append(f"not Ready for {printer_columns.age(since, now)}")
    words += node.notes
    return ", ".join(word for word in words if word)


def _part_row(part: Part, terminal: Terminal, name: str, now: datetime) -> list[Cell]:
    state = part.state
    # A pod that cannot start is Starting: its reason tells more.
    reason = part.status.get("reason")
    if state in (State.STARTING, State.PENDING) and reason and reason != reasons.STARTING:
        state = str(reason)
    share = part.share
    bar = Cell("") if share is None or part.state == State.PENDING else _bar(share, terminal)
    return [Cell(f"{name}{part.title}"), Cell(state, PART_MEANING.get(State(part.state), "")), bar, Cell(_words(part, now))]


def _words(part: Part, now: datetime) -> str:
    status, words = part.status, list[str]()
    if part.total:
        count = f"{part.done}/{part.total}"
        words.append(f"epoch {count}" if part.unit == "epoch" else f"{count} {part.unit}")
    if part.state == State.VALIDATING and status.get("phase"):
        words.append(str(status["phase"]))
    words += [f"{status['eta']} left"] if status.get("eta") and part.state in (State.RUNNING, State.VALIDATING) else []
    dice, pseudo = status.get("validationDice"), status.get("pseudoDice")
    if _number(dice):
        words.append(f"Dice {dice:.4f}")
    elif _number(pseudo):
        words.append(f"pseudo-Dice {pseudo:.3f}")
    for field, one, many in (("restarts", "restart", "restarts"), ("disruptions", "disruption", "disruptions")):
        if times := status.get(field):
            words.append(f"{times} {one if times == 1 else many}")
    if part.state == State.BACKING_OFF and (until := status.get("notBefore")):
        left = printer_columns.until(until, now)
        words.append(f"next attempt {f'in {left}' if left else 'now'}")
    if warnings := status.get("warnings"):
        words.append(f"warning: {first_sentence(str(warnings[0]))}")
    if part.state == State.FAILED and status.get("message"):
        words = [first_sentence(str(status["message"])), *words]
    return ", ".join(words)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _data(node: Node) -> dict[str, Any]:
    manifest = node.manifest
    reason, message = kstatus.reason(manifest) if manifest else ("", "")
    found: dict[str, Any] = {
        "kind": node.key.kind,
        "namespace": node.key.namespace,
        "name": node.key.name,
        "status": kstatus.compute(manifest).value if manifest else NOT_THERE,
        "reason": reason,
        "message": message,
        "parts": [_part_data(part) for part in _parts(node)],
        "children": [_data(child) for child in node.children],
    }
    if manifest and _number(dice := (manifest.get("status") or {}).get("meanDice")):
        found["meanDice"] = dice
    return found


def _part_data(part: Part) -> dict[str, Any]:
    status = part.status
    said: dict[str, Any] = {
        "title": part.title,
        "state": part.state,
        "reason": status.get("reason"),
        "message": status.get("message"),
    }
    if part.unit:
        said |= {"done": part.done, "total": part.total or None, "unit": part.unit}
    for field in ("attempt", "restarts", "disruptions", "eta", "pseudoDice", "validationDice", "warnings"):
        if status.get(field) is not None:
            said[field] = status[field]
    return said
