"""Whether what earlier runs wrote is whole: segmentations, probabilities. Nothing large is unpacked where names and
lengths tell."""

from __future__ import annotations

from pathlib import Path

from nnunet_trainer.contract.faults import BadData
from nnunet_trainer.dataset.readers import Reader
from nnunet_trainer.dataset.readers.gzipped import check_nifti
from nnunet_trainer.dataset.storage_errors import raise_storage_error
from nnunet_trainer.preprocessing import integrity


def segmentation_fault(file: Path, reader: Reader) -> str | None:
    """What is wrong with a segmentation; None for one that is whole. Packed NIfTI is judged by its lengths, others are read.

    Raises:
        StorageFault: the file's storage does not answer.
    """
    if not file.is_file():
        return "it is not there"
    try:
        if file.name.endswith((".nii", ".nii.gz")):
            check_nifti(file)
        else:
            reader.read(file, label=True)
    except BadData as fault:
        return fault.message.removeprefix(f"{file}: ").removesuffix(".")
    except (ValueError, OSError) as error:
        raise_storage_error(error, file)
        return str(error) or type(error).__name__
    return None


def segmentation_is_whole(file: Path, reader: Reader) -> bool:
    """Whether a segmentation is there and whole."""
    return segmentation_fault(file, reader) is None


def probabilities_are_whole(file: Path) -> bool:
    """Whether `CASE.npz` and the `CASE.pkl` that goes with it are there and whole."""
    return integrity.is_whole(file) and integrity.is_whole(file.with_suffix(".pkl"))
