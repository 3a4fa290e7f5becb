"""In a container whose limit holds one large case but not two: worked on in order, not killed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nnunet_trainer import cli
from support.containers.cgroup import Group, NoGroup, limited
from support.datasets import describe, write_nifti

pytestmark = pytest.mark.xdist_group("small-container")  # its images are made once, not by each worker

LIMIT = 400 << 20
SHAPE = (96, 240, 220)
CASES = 4
COMMAND = [sys.executable, "-m", "nnunet_trainer.cli"]
HEEDLESS = """
import sys
from nnunet_trainer import cli
from nnunet_trainer.dataset import parallel
parallel.memory_limit = lambda: 1 << 50
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        with limited(LIMIT) as made:
            yield made
    except NoGroup as why:
        pytest.skip(f"no control group can be made here: {why}")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "Dataset001_Large"
    for index in range(CASES):
        rng = np.random.default_rng(index)
        label = np.zeros(SHAPE, np.uint8)
        label[20:70, 60:180, 50:150] = 1
        image = (rng.integers(-5, 6, SHAPE) * 20 + 100 * label).astype(np.int16)
        spacing = tuple(float(s) for s in rng.uniform(0.9, 1.1, 3))
        write_nifti(folder / "imagesTr" / f"case_{index}_0000.nii.gz", image, spacing)
        write_nifti(folder / "labelsTr" / f"case_{index}.nii.gz", label, spacing)
    describe(folder, ("CT",), {"background": 0, "organ": 1}, CASES, ".nii.gz", None)
    return folder


def calls(raw: Path, out: Path, workers: int) -> dict[str, list[str]]:
    plan = ["--fingerprint", str(out / "f.json"), "--target-spacing", "0.9", "0.95", "0.95", "-o", str(out / "p.json")]
    many = ["--workers", str(workers)]
    return {
        "verify": ["verify", str(raw), *many],
        "fingerprint": ["fingerprint", str(raw), "-o", str(out / "f.json"), *many],
        "plan": ["plan", str(raw), *plan],
        "preprocess": ["preprocess", str(raw), "--plans", str(out / "p.json"), "-c", "3d_fullres", "-o", str(out / "data"), *many],
    }


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_in_order_not_killed(group: Group, raw: Path, tmp_path: Path) -> None:
    for name, call in calls(raw, tmp_path / "small", workers=8).items():
        done = group.run([*COMMAND, *call])
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert group.kills == 0, name
    unlimited = calls(raw, tmp_path / "small", workers=1)["preprocess"]
    unlimited[unlimited.index("-o") + 1] = str(tmp_path / "large")
    assert cli.main(unlimited) == 0
    assert content(tmp_path / "small" / "data") == content(tmp_path / "large")


def test_the_limit_is_a_real_one(group: Group, raw: Path, tmp_path: Path) -> None:
    """The same, heedless of the limit: killed, and said so; what was finished is whole."""
    wanted = calls(raw, tmp_path, workers=CASES)
    for name in ("fingerprint", "plan"):
        assert cli.main(wanted[name]) == 0
    done = group.run([sys.executable, "-c", HEEDLESS, *wanted["preprocess"]])
    assert group.kills > 0
    if done.returncode >= 0:  # not the parent itself
        assert done.returncode == 75
        assert "memory limit was reached" in done.stderr
    assert cli.main([*wanted["preprocess"][:-1], "1"]) == 0
    plans = json.loads((tmp_path / "p.json").read_text())
    identifier = plans["configurations"]["3d_fullres"]["data_identifier"]
    assert len(list((tmp_path / "data" / identifier).glob("*.pkl"))) == CASES
    assert os.listdir(tmp_path / "data" / "gt_segmentations")
