"""benchmarks/gpu.py: on a GPU its checks one by one, and everywhere a small version of it, with what it may import and no more.

nnU-Net's side runs in a process of its own, as in another interpreter that has it.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from . import checks, data

ROOT = Path(__file__).parents[2]
ALONE = {"torch", "numpy", "scipy", "blosc2", "triton"}
"""What a machine with a GPU may have beside this package, with what these need themselves."""
BLOCK = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)  # what is asked for as what may be missing is just not there
"""
"""Begins every Python process whose path has it as `sitecustomize`."""


def not_there():
    """Modules of all that is installed here, but for `ALONE`, what those need, and this repository."""
    needed, left = {"nnunet-operator"}, {(name, "") for name in ALONE}
    while left:
        name, extra = left.pop()
        needed.add(name)
        with contextlib.suppress(metadata.PackageNotFoundError):
            for want in map(Requirement, metadata.requires(name) or ()):
                if want.marker is None or want.marker.evaluate({"extra": extra}):
                    found = canonicalize_name(want.name)
                    left |= {(found, each) for each in (want.extras or {""}) if found not in needed}
    modules = metadata.packages_distributions()
    found = {module for module, packages in modules.items() if not needed & {canonicalize_name(each) for each in packages}}
    return found - sys.stdlib_module_names


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory):
    return data.write(tmp_path_factory.mktemp("preprocessed"), edge=24)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN: there is no GPU")
@pytest.mark.parametrize("check", checks.BY_NAME.values(), ids=checks.BY_NAME)
def test_on_a_gpu(check, preprocessed, tmp_path):
    check(checks.Bench(preprocessed, tmp_path, data.SMALL_PLANS["3d_fullres"], torch.device("cuda")))


@pytest.mark.reference
def test_the_small_benchmark_runs_on_a_cpu_with_few_packages(tmp_path):
    names = not_there()
    assert {"yaml", "SimpleITK", "matplotlib", "nnunetv2", "boto3", "pytest"} <= names
    assert not names & {*ALONE, "nnunet_trainer"}
    (tmp_path / "sitecustomize.py").write_text(BLOCK.format(names=names))
    another = tmp_path / "python"
    another.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{sys.executable}" "$@"\n')
    another.chmod(0o755)
    # Threads that wait for each other cost more than such small networks.
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--nnunetv2", str(another)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    lines = run.stdout.splitlines()
    found = json.loads(lines[-1])
    assert found["benchmark"] == "gpu"
    assert found["figures"]["failed_checks"] == []
    assert all(found["figures"][f"{name}_seconds_a_patch"] > 0 for name in data.SMALL_PLANS)
    assert {"1_cores_over_nnunetv2", "1_cores_epoch_over_fixed_batch"} <= {
        name.removeprefix("3d_fullres_") for name in found["figures"]
    }
    assert found["figures"]["prediction_over_nnunetv2"] > 0
    assert found["figures"]["prediction_as_nnunetv2s"] > 0.99
    assert found["figures"]["epoch_end_ms"] > 0
    assert "3d_fullres_epoch_end_over_250_steps" in found["figures"]  # of such small networks it is as good as nothing
    assert [line.removeprefix("NOT RUN ") for line in lines if line.startswith("NOT RUN ")] == found["figures"]["not_run"]
    assert not any("nnunetv2" in what for what in found["figures"]["not_run"]), found["figures"]["not_run"]
    on_a_gpu = checks.BY_NAME.keys() - {check.__name__ for check in checks.ANYWHERE}
    assert {f"check {name}" for name in on_a_gpu} <= set(found["figures"]["not_run"])


@pytest.fixture
def processes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(importlib.import_module("_gpu_processes"), "LEAST", 0.0)
    return importlib.import_module("_gpu_processes")


@pytest.fixture
def interruptible():
    """As at a terminal: what a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


FAILS = {
    "raises": ("print('half'); raise ValueError('of the GPU')", "ValueError: of the GPU"),
    "is killed": ("import os; print('half'); os.kill(os.getpid(), 9)", "it ended with -9"),
    "is stopped": ("import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(600)", "it was stopped"),
    "hangs": ("import time; time.sleep(600)", "it took longer than 1 s"),
}


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("code", "said"), FAILS.values(), ids=FAILS)
def test_what_becomes_of_one_process_is_told_and_hides_nothing_of_the_others(code, said, processes, capsys):
    run = processes.Processes(time.monotonic() + 600)
    limit = 1.0 if "longer" in said else 300.0
    assert run.output("first", [sys.executable, "-S", "-c", code], limit=limit) is None
    assert run.failed == ["first"]
    assert said in capsys.readouterr().out
    found = run.output("second", [sys.executable, "-S", "-c", "print(2)"], limit=300.0, quiet=True)
    stopped = "stopped" in said
    assert (found, run.left_out) == ((None, ["second: no time left"]) if stopped else ("2\n", []))


def test_figures_of_a_process_that_was_killed_as_it_wrote_are_those_before(processes, tmp_path):
    (tmp_path / "found").write_text('{"a": 1, "b": 2}\n{"b": 3}\n{"c": ')
    assert processes.told(tmp_path / "found") == {"a": 1, "b": 3}
    assert processes.told(tmp_path / "none") == {}
