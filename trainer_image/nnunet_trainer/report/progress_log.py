"""The progress of a running step as lines of JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TextIO

from ..contract.json_text import codec
from ..contract.progress import EPOCH_PHASES, Progress


class ProgressLog:
    """Writes a line for each new phase, each finished epoch, and each warning that begins or ends.

    Args:
        file: where to; default: standard output.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._told: tuple[str, int | None] | None = None
        self._warned: list[str] = []

    def __call__(self, progress: Progress) -> None:
        """Take what is said; one thread at a time."""
        mark = ("training" if progress.phase in EPOCH_PHASES else progress.phase, progress.epoch)
        warnings = progress.warnings or []
        began = [text for text in warnings if text not in self._warned]
        over = [text for text in self._warned if text not in warnings]
        new, self._told, self._warned = mark != self._told, mark, warnings
        if new or began or over:
            line = codec.to_plain(replace(progress, warnings=began or None)) | ({"warningsOver": over} if over else {})
            print(json.dumps(line, sort_keys=True, separators=(",", ":")), file=self._file, flush=True)
