"""What stands for an operator's process does what `subprocess.Popen` does."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from support.forked_operators import ForkedProcess


def test_one_that_has_ended_before_its_end_is_told_gets_no_signal() -> None:
    ended = subprocess.Popen([sys.executable, "-S", "-c", ""])
    ended.wait()
    process = ForkedProcess(ended.pid)
    process.send_signal(signal.SIGCONT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.end(3)
    process.kill()
    assert (process.poll(), process.wait(60), process.returncode) == (3, 3, 3)
