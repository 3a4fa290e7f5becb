"""A test run that leaves a process behind fails, and one that does not is let alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent.parent
LEFT = {
    "a_child": "subprocess.Popen(program)",
    "one_of_a_session_of_its_own": "subprocess.Popen(program, start_new_session=True)",
    "one_whose_parent_has_ended": "subprocess.run(['sh', '-c', '\"$@\" & exit 0', 'sh', *program], stdout=subprocess.DEVNULL)",
}
TEST = """
def test_{name}():
    program = [sys.executable, "-c", "import time; time.sleep(300) # {name}"]
    {start}
"""


@pytest.mark.parametrize(("what", "workers"), [([], 0), (list(LEFT), 0), (list(LEFT), 1)], ids=["nothing", "some", "of-a-worker"])
def test_what_tests_leave_behind_is_named(tmp_path: Path, what: list[str], workers: int) -> None:
    # Where nothing is left it is not waited for that long: what was killed may need a moment to end.
    (tmp_path / "conftest.py").write_text(f"import support.left_behind as plugin\nplugin.PATIENCE = {0.3 if what else 60}\n")
    ended = TEST.format(name="one_that_has_ended", start="subprocess.Popen(program).kill()")
    tests = ended + "".join(TEST.format(name=name, start=LEFT[name]) for name in what)
    (tmp_path / "test_it.py").write_text(f"import subprocess, sys\n{tests}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.left_behind", "-n", str(workers), "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "test_it.py"],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(SUPPORT)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    left = {name: line.split()[0] for line in done.stdout.splitlines() for name in LEFT if f"time.sleep(300) # {name}" in line}
    for pid in left.values():
        os.kill(int(pid), signal.SIGKILL)
    assert f"{len(what) + 1} passed" in done.stdout
    assert (done.returncode, sorted(left)) == (1 if what else 0, sorted(what)), done.stdout + done.stderr
