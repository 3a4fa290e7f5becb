"""Files of preprocessed data are taken for whole only when they are; those that the wheel wrote are."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_trainer.preprocessing import integrity, previous_stage, storage
from nnunet_trainer.preprocessing.blosc2_arrays import write_array

PROPERTIES = {
    "spacing": [1.0, 2.0, 3.0],
    "shape_before_cropping": (3, 4, 5),
    "class_locations": {1: np.arange(40000).reshape(-1, 4), (1, 2): np.zeros((0, 4), np.int64), 2: []},
}


def packed(path: Path) -> None:
    write_array(path, np.random.default_rng(1).normal(size=(1, 9, 17, 13)).astype(np.float32), [8, 8, 8])


def constant(path: Path) -> None:
    write_array(path, np.zeros((9, 17, 13), np.uint8), [8, 8, 8])


def properties(protocol: int, content: Any) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps(content, protocol=protocol))


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "packed": (".b2nd", packed),
    "constant": (".b2nd", constant),
    "large properties": (".pkl", properties(4, PROPERTIES)),
    "small properties": (".pkl", properties(4, {"spacing": [1.0, 1.0]})),
    "properties of today's default": (".pkl", properties(5, PROPERTIES)),
    "properties of an old protocol": (".pkl", properties(2, {"a": 1})),
    "empty properties": (".pkl", properties(4, {})),
    "long text": (".pkl", properties(4, {"a": "x" * 100000, "b": b"y" * 100000})),
    "unpacked": (".npy", lambda path: np.save(path, np.arange(60, dtype=np.int16).reshape(3, 4, 5))),
    "archive": (".npz", lambda path: np.savez_compressed(path, data=np.arange(999.0), seg=np.zeros(9))),
}


@pytest.fixture(params=WRITERS)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    ending, write = WRITERS[request.param]
    path = tmp_path / f"case{ending}"
    write(path)
    return path


def test_whole_files_are(whole: Path) -> None:
    assert integrity.fault(whole) is None


def test_a_file_that_was_cut_off_anywhere_is_not(whole: Path) -> None:
    content = whole.read_bytes()
    size = len(content)
    for length in {*range(0, min(size, 200)), *range(0, size, max(1, size // 150)), *range(max(0, size - 60), size)}:
        whole.write_bytes(content[:length])
        assert integrity.fault(whole), f"{length} of {size} bytes"


@pytest.mark.parametrize("lost", [24, 64, 0.5])
def test_a_file_that_ends_in_zeros_is_not(whole: Path, lost: float) -> None:
    content = whole.read_bytes()
    if whole.suffix == ".npy":
        return  # zeros may be its voxels
    count = min(len(content), int(lost if lost > 1 else lost * len(content)))
    whole.write_bytes(content[: len(content) - count] + bytes(count))
    assert integrity.fault(whole)


def test_what_is_not_there_or_something_else(tmp_path: Path) -> None:
    assert integrity.fault(tmp_path / "a.b2nd") == "it is not there"
    for ending in (".b2nd", ".pkl", ".npy", ".npz"):
        (tmp_path / f"a{ending}").write_bytes(b"<html>404</html>" * 20)
        assert integrity.fault(tmp_path / f"a{ending}")
        (tmp_path / f"folder{ending}").mkdir()
        assert integrity.fault(tmp_path / f"folder{ending}")


@pytest.mark.reference
def test_the_wheels_files_are_whole(tmp_path: Path) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy

    rng = np.random.default_rng(3)
    for index, data in enumerate((rng.normal(size=(2, 21, 33, 17)), np.zeros((1, 64, 64, 64)), np.ones((1, 1, 5, 7)))):
        for kind, folder in ((nnUNetDatasetBlosc2, tmp_path / "blosc"), (nnUNetDatasetNumpy, tmp_path / "numpy")):
            folder.mkdir(exist_ok=True)
            options = {"chunks": (1, *data.shape[1:]), "blocks": (1, *data.shape[1:])} if kind is nnUNetDatasetBlosc2 else {}
            seg = np.zeros((1, *data.shape[1:]), np.int16)
            kind.save_case(data.astype(np.float32), seg, PROPERTIES, str(folder / f"c{index}"), **options)
    written = [path for folder in ("blosc", "numpy") for path in (tmp_path / folder).iterdir()]
    assert len(written) == 3 * 3 + 3 * 2
    assert [path for path in written if not integrity.is_whole(path)] == []
    assert storage.is_whole(tmp_path / "blosc", "c0")


@pytest.mark.reference
def test_the_wheels_previous_stage_is_whole(tmp_path: Path) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy

    segmentation = np.random.default_rng(4).integers(0, 3, (11, 12, 13)).astype(np.uint8)
    for kind in (nnUNetDatasetBlosc2, nnUNetDatasetNumpy):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        kind.save_seg(segmentation, str(folder / "c"))
        assert previous_stage.has_previous_stage(folder, "c")
        file = previous_stage.previous_stage_file(folder, "c")
        assert file is not None
        file.write_bytes(file.read_bytes()[:-1])
        assert not previous_stage.has_previous_stage(folder, "c")
