"""A storage that does not answer is told apart from a damaged file, however a file is read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_trainer.contract.faults import BadData, Fault, StorageFault
from nnunet_trainer.dataset.readers import by_name
from nnunet_trainer.inference.existing import segmentation_fault
from nnunet_trainer.inference.images import require_undamaged
from nnunet_trainer.preprocessing import integrity

STORAGE = [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN]
FILES = [errno.EACCES, errno.EISDIR, errno.ELOOP]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Let the opening of a file fail."""
    real = Path.open

    def fail(file: Path, number: int) -> None:
        def open_file(path: Path, *arguments: Any, **named: Any) -> Any:
            if path == file:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *arguments, **named)

        monkeypatch.setattr(Path, "open", open_file)

    return fail


def image(folder: Path, ending: str) -> Path:
    path = folder / f"case_0000{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), np.uint8)), str(path), True)
    return path


WAYS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "checked to its checksum, NIfTI": (".nii.gz", lambda path: require_undamaged([path], by_name("SimpleITKIO"))),
    "checked to its checksum, NRRD": (".nrrd", lambda path: require_undamaged([path], by_name("SimpleITKIO"))),
    "looked at by its lengths": (".nii.gz", lambda path: segmentation_fault(path, by_name("SimpleITKIO"))),
    "header of several files": (".mhd", lambda path: by_name("SimpleITKIO").companions(path)),
}


@pytest.mark.parametrize("number", STORAGE, ids=errno.errorcode.get)
@pytest.mark.parametrize("way", WAYS)
def test_the_storages_errors_are_said_to_be_its_own(
    tmp_path: Path, failing: Callable[[Path, int], None], way: str, number: int
) -> None:
    ending, read = WAYS[way]
    path = image(tmp_path, ending)
    failing(path, number)
    with pytest.raises(StorageFault) as caught:
        read(path)
    assert caught.value.message == f"{path}: {os.strerror(number)}."
    assert not caught.value.exit_code.permanent


@pytest.mark.parametrize("number", FILES, ids=errno.errorcode.get)
def test_others_are_the_files(tmp_path: Path, failing: Callable[[Path, int], None], number: int) -> None:
    path = image(tmp_path, ".nii.gz")
    failing(path, number)
    with pytest.raises(BadData, match=os.strerror(number)):
        require_undamaged([path], by_name("SimpleITKIO"))


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, StorageFault), (None, BadData)])
def test_what_a_library_cannot_read_is_read_again_to_know_why(
    tmp_path: Path, failing: Callable[[Path, int], None], monkeypatch: pytest.MonkeyPatch, number: int | None, kind: type[Fault]
) -> None:
    path, reader = image(tmp_path, ".nii.gz"), by_name("SimpleITKIO")

    def load(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("ITK ERROR: NiftiImageIO: could not read")

    monkeypatch.setattr(type(reader), "load", load)
    if number is not None:
        failing(path, number)
    with pytest.raises(kind):
        reader.read(path)


@pytest.mark.parametrize("ending", [".b2nd", ".pkl", ".npy", ".npz"])
def test_preprocessed_data_is_not_made_anew_because_of_the_storage(
    tmp_path: Path, failing: Callable[[Path, int], None], ending: str
) -> None:
    path = tmp_path / f"case{ending}"
    path.write_bytes(b"content")
    assert integrity.fault(path)
    failing(path, errno.EIO)
    with pytest.raises(StorageFault):
        integrity.fault(path)
