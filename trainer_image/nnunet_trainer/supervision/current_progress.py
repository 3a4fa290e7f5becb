"""The progress last heard from rank 0, as JSON, as Prometheus metrics, and as lines of the log."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from ..contract import pod
from ..contract.json_text import codec
from ..contract.progress import Progress
from ..report.progress_log import ProgressLog

GAUGES = {
    "done": "Cases, epochs or validation cases that are done in this phase.",
    "total": "Of how many.",
    "epoch": "Finished epochs.",
    "epochs": "Epochs to train.",
    "train_loss": "Training loss of the last epoch.",
    "val_loss": "Validation loss of the last epoch.",
    "pseudo_dice": "Mean foreground pseudo-Dice of the last epoch.",
    "ema_pseudo_dice": "Its exponential moving average.",
    "learning_rate": "Learning rate of the last epoch.",
    "seconds_per_epoch": "Seconds that the last epoch took.",
    "patches_per_second": "Patches that all ranks trained on a second, in the last epoch.",
    "peak_memory_bytes": "Memory that the first rank held at most: of its GPU, or without one of the machine.",
    "eta_seconds": "Seconds that are left.",
    "resumed_from_epoch": "The epoch that this attempt went on from.",
    "checkpoint_epoch": "Epoch of the newest checkpoint in the store.",
    "updated_at": "Unix time of the last change.",
}

MOST_SLOW_CALLS, LONGEST_SLOW_CALL = 4, 1024
"""As many are told: the operator takes answers of 16 KiB at most."""


class CurrentProgress:
    """Thread-safe: one thread hears, others answer.

    Args:
        step: of the work order.
        log: where lines are written (`ProgressLog`); default: standard output.
        shared: the folder in which the step's processes say what calls have not ended for long.
    """

    def __init__(self, step: str, log: TextIO | None = None, shared: Path | None = None) -> None:
        self._shared = shared
        self._progress = Progress(step=step, phase="starting")
        self._lock = threading.Lock()
        self._log = ProgressLog(log)

    @property
    def progress(self) -> Progress:
        with self._lock:
            progress = self._progress
        slow = _slow_calls(self._shared) if self._shared else []
        return replace(progress, warnings=[*(progress.warnings or []), *slow]) if slow else progress

    def hear(self, progress: Progress) -> None:
        """Take what rank 0 says, and write the lines that it is worth."""
        with self._lock:
            self._progress = progress
            self._log(progress)

    def as_json(self) -> str:
        return codec.dumps(self.progress)

    def as_metrics(self) -> str:
        """Prometheus' text format, 0.0.4."""
        progress = self.progress
        labels = f'{{step="{progress.step}"}}'
        lines: list[str] = []
        for name, meaning in GAUGES.items():
            value = getattr(progress, name)
            if value is not None:
                metric = f"nnunet_{name}"
                lines += [f"# HELP {metric} {meaning}", f"# TYPE {metric} gauge", f"{metric}{labels} {value}"]
        about = "# HELP nnunet_warnings Signs of trouble that there are now; /progress names them."
        lines += [about, "# TYPE nnunet_warnings gauge", f"nnunet_warnings{labels} {len(progress.warnings or [])}"]
        return "\n".join(lines) + "\n"


def _slow_calls(folder: Path) -> list[str]:
    found = []
    for file in sorted(file for file in folder.glob(f"{pod.SLOW_CALL}*") if _is_there(file))[:MOST_SLOW_CALLS]:
        with contextlib.suppress(OSError):  # it has ended just now
            found.append(file.read_text(encoding="utf-8", errors="replace")[:LONGEST_SLOW_CALL])
    return found


def _is_there(slow_call: Path) -> bool:
    """Whether the process that says so is there: one that was killed does not take it back."""
    try:
        os.kill(int(slow_call.name.removeprefix(pod.SLOW_CALL).partition("-")[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
