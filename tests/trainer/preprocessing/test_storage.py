"""Stored cases: whole or not there, readable both ways."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadData, StorageFault
from nnunet_trainer.preprocessing import blosc2_arrays, previous_stage, storage
from nnunet_trainer.preprocessing.storage import PreprocessedFolder, write_case

PATCH = [8, 16, 16]


def case(seed: int = 0, shape: tuple[int, int, int] = (11, 23, 19)) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 1, (2, *shape)).astype(np.float32)
    seg = rng.integers(-1, 3, (1, *shape)).astype(np.int16)
    return data, seg, {"spacing": [1.0, 2.0, 3.0], "class_locations": {1: np.argwhere(seg == 1), (1, 2): []}}


def test_round_trip_and_partial_reads(tmp_path: Path) -> None:
    data, seg, properties = case()
    size = write_case(tmp_path, "a", data, seg, properties, PATCH)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    folder = PreprocessedFolder(tmp_path)
    assert folder.cases == ["a"]
    stored = folder.open("a")
    assert stored.data.shape == data.shape
    assert np.array_equal(stored.data[:, 3:7, :, 5], data[:, 3:7, :, 5])
    assert np.array_equal(stored.seg[:], seg)
    assert np.array_equal(stored.properties["class_locations"][1], properties["class_locations"][1])


@pytest.mark.reference
def test_the_wheel_reads_ours_and_we_read_its(tmp_path: Path) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetDatasetBlosc2, nnUNetDatasetNumpy

    data, seg, properties = case()
    (tmp_path / "ours").mkdir()
    write_case(tmp_path / "ours", "a", data, seg, properties, PATCH)
    kind = infer_dataset_class(str(tmp_path / "ours"))
    their_data, their_seg, _, their_properties = kind(str(tmp_path / "ours")).load_case("a")
    assert np.array_equal(their_data[:], data)
    assert np.array_equal(their_seg[:], seg)
    assert their_properties["spacing"] == properties["spacing"]
    for name, writer in (("blosc", nnUNetDatasetBlosc2), ("numpy", nnUNetDatasetNumpy)):
        folder = tmp_path / name
        folder.mkdir()
        options = {"chunks": (1, 8, 16, 16), "blocks": (1, 8, 16, 16)} if name == "blosc" else {}
        writer.save_case(data, seg, properties, str(folder / "b"), **options)
        assert PreprocessedFolder(folder).cases == ["b"]
        stored = PreprocessedFolder(folder).open("b")
        assert np.array_equal(stored.data[:], data)
        assert np.array_equal(stored.seg[:, 2:4], seg[:, 2:4])


@pytest.mark.reference
@settings(max_examples=150, deadline=None)
@given(
    shape=st.lists(st.integers(1, 700), min_size=3, max_size=3),
    patch=st.lists(st.integers(1, 512), min_size=2, max_size=3),
    itemsize=st.sampled_from([2, 4]),
)
def test_blocks_as_the_wheel(shape: list[int], patch: list[int], itemsize: int) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

    assert blosc2_arrays.block_shapes([2, *shape], patch, itemsize) == comp_blosc2_params([2, *shape], patch, itemsize)


def test_a_case_without_its_last_part_is_not_there(tmp_path: Path) -> None:
    write_case(tmp_path, "a", *case(), PATCH)
    for missing in (".pkl", ".b2nd", "_seg.b2nd"):
        content = (tmp_path / f"a{missing}").read_bytes()
        (tmp_path / f"a{missing}").unlink()
        assert PreprocessedFolder(tmp_path).cases == []
        assert not storage.is_whole(tmp_path, "a")
        (tmp_path / f"a{missing}").write_bytes(content)
    assert storage.is_whole(tmp_path, "a")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageFault) as caught:
        write_case(tmp_path, "a", *case(), PATCH)
    assert caught.value.reason == "NoSpace"
    assert list(tmp_path.iterdir()) == []


def test_damaged_cases(tmp_path: Path) -> None:
    write_case(tmp_path, "a", *case(), PATCH)
    (tmp_path / "a.b2nd").write_bytes(b"x" * 50)
    with pytest.raises(BadData, match="case a cannot be read"):
        PreprocessedFolder(tmp_path).open("a")
    with pytest.raises(BadData, match="has no case 'b'"):
        PreprocessedFolder(tmp_path).open("b")
    with pytest.raises(BadData, match="does not exist"):
        PreprocessedFolder(tmp_path / "nowhere")


class Dangerous:
    def __reduce__(self) -> Any:
        return (print, ("this must not run",))


def test_a_pickle_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path, "a", *case(), PATCH)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"spacing": Dangerous()}))
    with pytest.raises(BadData, match="not a plain value"):
        PreprocessedFolder(tmp_path).open("a")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", range(6))
def test_properties_of_any_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    value = {"spacing": [np.float64(1.5)], "places": np.arange(6).reshape(2, 3), (1, 2): (3, np.int64(4))}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
    read = storage.read_properties(tmp_path / "a.pkl")
    assert read["spacing"] == [1.5]
    assert np.array_equal(read["places"], value["places"])
    assert read[(1, 2)] == (3, 4)


def test_the_previous_stage_of_a_cascade(tmp_path: Path) -> None:
    data, seg, properties = case()
    previous = np.maximum(seg[0], 0)
    (tmp_path / "cases").mkdir()
    write_case(tmp_path / "cases", "a", data, seg, properties, PATCH)
    previous_stage.write_previous_stage(tmp_path / "previous", "a", previous, PATCH)
    folder = PreprocessedFolder(tmp_path / "cases", tmp_path / "previous")
    assert np.array_equal(folder.open("a").previous[2:5, 3:9], previous[2:5, 3:9])
    assert PreprocessedFolder(tmp_path / "cases").open("a").previous is None
    (tmp_path / "previous" / "a.b2nd").unlink()
    with pytest.raises(BadData, match="no segmentation of case 'a'"):
        folder.open("a")


@pytest.mark.parametrize("suffix", [".b2nd", "_seg.b2nd"])
def test_a_part_of_another_case(suffix: str, tmp_path: Path) -> None:
    """Each file is whole; together they are not one case."""
    for name, shape in (("a", (11, 23, 19)), ("b", (12, 23, 19))):
        write_case(tmp_path, name, *case(shape=shape), [8, 8, 8])
    (tmp_path / f"b{suffix}").replace(tmp_path / f"a{suffix}")
    with pytest.raises(BadData, match=r"case a cannot be read: its image has shape .*another case's") as caught:
        PreprocessedFolder(tmp_path).open("a")
    assert "then preprocess again" in (caught.value.hint or "")


@pytest.mark.parametrize("content", [{}, {"class_locations": None}, [1], []])
def test_properties_of_no_case(content: Any, tmp_path: Path) -> None:
    write_case(tmp_path, "a", *case(), [8, 8, 8])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(BadData, match=r"a\.pkl") as caught:
        PreprocessedFolder(tmp_path).open("a")
    assert "then preprocess again" in (caught.value.hint or "")


@pytest.mark.parametrize("suffix", [".b2nd", "_seg.b2nd", ".pkl"])
def test_a_folder_in_the_place_of_a_file(suffix: str, tmp_path: Path) -> None:
    write_case(tmp_path, "a", *case(), [8, 8, 8])
    (tmp_path / storage.MARKER).parent.mkdir()
    (tmp_path / storage.MARKER).write_text(f'{{"format": {storage.keys.PREPROCESSED_FORMAT}}}')
    (tmp_path / f"a{suffix}").unlink()
    (tmp_path / f"a{suffix}").mkdir()
    with pytest.raises(BadData) as caught:
        PreprocessedFolder(tmp_path).open("a")
    assert f"Remove {tmp_path / 'a'}{suffix}, then preprocess again" in (caught.value.hint or "")
