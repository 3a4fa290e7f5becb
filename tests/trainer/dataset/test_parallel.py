"""Worker processes and the container's limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from nnunet_trainer.contract.faults import BadData, Temporary
from nnunet_trainer.dataset import parallel


def double(value: int) -> int:
    return 2 * value


def fail(value: int) -> int:
    if value == 3:
        raise BadData("InvalidCases", "three", hint="count to two", findings=["one", "two"])
    return value


def die(value: int) -> int:
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def loaded(value: int) -> tuple[int, bool]:
    return os.getpid(), "torch" in sys.modules


@pytest.mark.parametrize("workers", [1, 3])
def test_each_job_once(workers: int) -> None:
    assert dict(parallel.run(double, [(i,) for i in range(20)], workers)) == {i: 2 * i for i in range(20)}
    assert list(parallel.run(double, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_the_fault_of_a_job_comes_through(workers: int) -> None:
    with pytest.raises(BadData, match="three") as caught:
        list(parallel.run(fail, [(i,) for i in range(9)], workers))
    assert caught.value.reason == "InvalidCases"
    assert (caught.value.hint, caught.value.findings) == ("count to two", ("one", "two"))


def test_a_killed_worker_is_said_not_waited_for() -> None:
    with pytest.raises(Temporary, match="killed"):
        list(parallel.run(die, [(i,) for i in range(6)], 2))


def test_large_jobs_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "memory_limit", lambda: 100)
    # Jobs of 60 of 75 allowed: one at a time, and still all of them.
    results = dict(parallel.run(double, [(i,) for i in range(4)], 4, [60] * 4))
    assert results == {i: 2 * i for i in range(4)}


def test_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    list(parallel.run(double, [(1,), (2,)], 2))
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert os.environ["OMP_NUM_THREADS"] == "7"


SCRIPT = """
import sys
from nnunet_trainer import cli
code = cli.main(sys.argv[1:])
print("LOADED", sorted({"torch", "skimage", "sklearn", "pandas"} & set(sys.modules)))
sys.exit(code)
"""


def test_no_step_of_the_data_half_imports_what_it_does_not_need(tmp_path: Path) -> None:
    from support.datasets import TARGET

    calls = [
        ["verify", str(TARGET)],
        ["fingerprint", str(TARGET), "-o", str(tmp_path / "f.json")],
        ["plan", str(TARGET), "--fingerprint", str(tmp_path / "f.json"), "-o", str(tmp_path / "p.json")],
        ["preprocess", str(TARGET), "--plans", str(tmp_path / "p.json"), "--configuration", "2d", "-o", str(tmp_path / "out")],
    ]
    for call in calls:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *call, *(["--workers", "1"] if call[0] != "plan" else [])],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "LOADED []"


def test_workers_have_no_torch() -> None:
    import torch  # noqa: F401  (this process has it, and threads besides)

    pids = dict(parallel.run(loaded, [(i,) for i in range(4)], 2))
    assert all(pid != os.getpid() for pid, _ in pids.values())
