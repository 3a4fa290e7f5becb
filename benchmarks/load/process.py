"""What a running process has cost, as /proc tells it."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A running process, and what it has cost until now."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def cpu(self) -> float:
        """CPU seconds, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, field: str = "VmHWM") -> float:
        """Resident memory in MB (10⁶ bytes): its peak (VmHWM), or now (VmRSS)."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024 / 1e6

    def forget_peak(self) -> None:
        """Let the peak begin anew from what is resident now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
