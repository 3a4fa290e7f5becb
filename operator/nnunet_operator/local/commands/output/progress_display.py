"""What is going on, while it goes on: a live table with bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from nnunet_trainer.contract.progress import Progress

from ....api import kstatus
from ....api.kstatus import Status
from ....inspection import printer_columns
from ....manifests import names

if TYPE_CHECKING:
    from ...session.session import Snapshot

Manifest = dict[str, Any]

LINE_SECONDS = 15.0
"""A plain line about progress alone comes no more often than this."""

WIDE = 130
"""From so many columns on, names are shown with their kinds."""


class Display(Protocol):
    """Shows snapshots until it is closed."""

    def show(self, snapshot: Snapshot) -> None:
        """Show what has changed."""

    def note(self, text: str) -> None:
        """Say a line."""

    def close(self) -> None:
        """Show no more."""


@dataclass(frozen=True)
class PodProgress:
    """One running pod's progress: a bar and a few words."""

    label: str  # fold 0, 3d_fullres …
    done: float
    total: float
    text: str


def pods_of(manifest: Manifest, snapshot: Snapshot) -> Iterator[PodProgress]:
    """What the running pods of an object say."""
    for pod in snapshot.pods:
        labels = pod["metadata"].get("labels", {})
        if labels.get(names.OWNER_UID) != manifest["metadata"]["uid"]:
            continue
        heard = snapshot.heard.get(pod["metadata"]["uid"])
        fold = labels.get(names.FOLD)
        label = f"fold {fold}" if fold else labels.get(names.CONFIGURATION, "")
        if heard:
            yield _pod_progress(label, heard.progress)
        elif pod["status"].get("phase") == "Running":
            yield PodProgress(label, 0, 0, "starting")


def _pod_progress(label: str, progress: Progress) -> PodProgress:
    done, total, words = float(progress.done), float(progress.total), [progress.phase or progress.step]
    if progress.epochs and "valid" not in progress.phase.lower():
        done, total = float(progress.epoch or 0), float(progress.epochs)
        words.append(f"epoch {progress.epoch or 0}/{progress.epochs}")
    elif progress.total:
        words.append(f"{progress.done}/{progress.total}")
    if progress.ema_pseudo_dice is not None:
        words.append(f"Dice {progress.ema_pseudo_dice:.3f}")
    if progress.eta_seconds:
        words.append(f"{printer_columns.duration(progress.eta_seconds)} left")
    if progress.warnings:
        words.append("warning: see `nnunet-operator local why`")
    return PodProgress(label, done, total, ", ".join(words))


class PlainLines:
    """A line whenever an object's reason changes, and now and then about progress."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._progress: dict[str, tuple[str, float]] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Print what has changed."""
        for manifest in snapshot.objects:
            uid, name = manifest["metadata"]["uid"], f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"
            reason, message = kstatus.reason(manifest)
            if not reason:
                continue
            # Numbers alone do not make a new line: those are progress. Nor does how far others are that are waited for.
            essence = reason if reason.startswith("Waiting") else re.sub(r"[\d.:]+", "#", f"{reason} {message}")
            if self._said.get(uid) != essence:
                self._said[uid] = essence
                self._say(f"{name}: {reason}" + (f": {message}" if message and message != reason else ""))
            for pod in pods_of(manifest, snapshot):
                key, at = uid + pod.label, time.monotonic()
                before, when = self._progress.get(key, ("", 0.0))
                if pod.total and pod.text != before and at - when >= LINE_SECONDS:
                    self._progress[key] = pod.text, at
                    self._say(f"{name}: {pod.label + ': ' if pod.label else ''}{pod.text}")

    def note(self, text: str) -> None:
        """A line."""
        self._say(text)

    def close(self) -> None:
        """Nothing to do: every line is out."""

    def _say(self, text: str) -> None:
        print(f"{datetime.now().strftime('%H:%M:%S')}  {text}", flush=True)


class Quiet:
    """Shows nothing."""

    def show(self, snapshot: Snapshot) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """A line, all the same."""
        print(text, flush=True)

    def close(self) -> None:
        """Nothing."""


class LiveTable:
    """The rows of `get`, redrawn in place, with a bar for what is running."""

    def __init__(self) -> None:
        from rich.live import Live as RichLive

        self._live = RichLive(auto_refresh=True, refresh_per_second=2, transient=False)
        self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        """Redraw."""
        from rich.console import Group
        from rich.padding import Padding

        groups = []
        for kind in dict.fromkeys(manifest["kind"] for manifest in snapshot.objects):
            rows = [manifest for manifest in snapshot.objects if manifest["kind"] == kind]
            groups.append(Padding(self._table(kind, rows, snapshot), (0, 0, 1, 0)))
        self._live.update(Group(*groups))

    def note(self, text: str) -> None:
        """A line above the table."""
        self._live.console.print(text)

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()

    def _table(self, kind: str, manifests: list[Manifest], snapshot: Snapshot) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        heads = printer_columns.header(kind)
        for head in heads:
            table.add_column(head, no_wrap=True)
        table.add_column("", no_wrap=True)
        now = datetime.now(UTC)
        for manifest in manifests:
            cells: list[Any] = list(printer_columns.row(manifest, now, prefixed=self._live.console.width >= WIDE))
            style = {Status.CURRENT: "green", Status.FAILED: "red"}.get(kstatus.compute(manifest), "")
            cells[heads.index("REASON")] = Text(cells[heads.index("REASON")], style=style)
            table.add_row(*cells, self._bars(manifest, snapshot))
        return table

    def _bars(self, manifest: Manifest, snapshot: Snapshot) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        rows = list(pods_of(manifest, snapshot))
        if not rows:
            return ""
        lines = []
        for pod in rows:
            line = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=pod.total or None, completed=pod.done, width=16, pulse=not pod.total)
            line.add_row(bar, f"{pod.label + ': ' if pod.label else ''}{pod.text}")
            lines.append(line)
        return Group(*lines)


def display() -> Display:
    """The display that fits where the output goes."""
    return LiveTable() if sys.stdout.isatty() else PlainLines()
