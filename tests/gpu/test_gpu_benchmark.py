"""benchmarks/gpu.py: on a GPU its checks one by one, and everywhere a small version of it, with what it may import and no more.

nnU-Net's side runs in a process of its own, as in another interpreter that has it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from . import checks, data

ROOT = Path(__file__).parents[2]
BLOCK = """
import runpy, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)  # what is asked for as what may be missing is just not there
sys.path.insert(0, {folder!r})
sys.argv = [{script!r}, "--device", "cpu", "--nnunetv2", sys.executable]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
NOT_NEEDED = {"SimpleITK", "nibabel", "tifffile", "imageio", "skimage", "pandas", "boto3", "botocore", "kopf", "kubernetes_asyncio"}
NOT_NEEDED |= {"matplotlib", "tensorboard", "aiohttp", "pydantic", "prometheus_client", "nnunetv2", "batchgeneratorsv2"}


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory):
    return data.write(tmp_path_factory.mktemp("preprocessed"), edge=24)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN: there is no GPU")
@pytest.mark.parametrize("check", [*checks.ANYWHERE, *checks.ON_A_GPU], ids=lambda check: check.__name__)
def test_on_a_gpu(check, preprocessed, tmp_path):
    check(checks.Bench(preprocessed, tmp_path, data.SMALL_PLANS["3d_fullres"], torch.device("cuda")))


@pytest.mark.reference
def test_the_small_benchmark_runs_on_a_cpu_with_few_packages():
    script = ROOT / "benchmarks" / "gpu.py"
    code = BLOCK.format(names=NOT_NEEDED, folder=str(script.parent), script=str(script))
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other cost more than such small networks
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=alone)
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
    assert [line.removeprefix("NOT RUN ") for line in lines if line.startswith("NOT RUN ")] == found["figures"]["not_run"]
    assert not any("nnunetv2" in what for what in found["figures"]["not_run"]), found["figures"]["not_run"]
    assert {f"check {check.__name__}" for check in checks.ON_A_GPU} <= set(found["figures"]["not_run"])
