"""The images to predict: which files of a folder they are, and which are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from os.path import realpath
from pathlib import Path

from nnunet_trainer.contract.faults import BadData, BadUsage
from nnunet_trainer.dataset.readers import READERS, Reader
from nnunet_trainer.dataset.readers.gzipped import check_nifti
from nnunet_trainer.dataset.readers.packed import check_packed
from nnunet_trainer.dataset.storage_errors import raise_storage_error

from .existing import segmentation_fault

DOCUMENTS = (".csv", ".html", ".json", ".log", ".md", ".npz", ".pdf", ".pkl", ".tsv", ".txt", ".xlsx", ".xml", ".yaml", ".yml")
"""Files that nobody takes for an image."""
MOST = 20
"""Names that are shown."""


def find_images(folder: Path, file_ending: str, channels: int, reader: Reader) -> dict[str, list[Path]]:
    """Cases of a folder by name, each with its files `{case}_{number:04d}{file_ending}`, which have the model's channels together.

    Args:
        folder: of images.
        file_ending: with its dot.
        channels: that the model takes.
        reader: says how many channels a file has: one each, or all of them in one file, or any mixture.

    Raises:
        BadUsage: no folder, or no image in it.
        BadData: cases with other channels; a file that cannot be read is none of them.
    """
    if not folder.is_dir():
        raise BadUsage("NoSuchFolder", f"There is no folder {folder}.")
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        if match := _image(path, file_ending):
            found.setdefault(match[1], {})[int(match[2])] = path
    if not found:
        others = left_out(folder, file_ending)
        raise BadUsage("NoImages", f"{folder} has no images named CASE_0000{file_ending}.", findings=_shown(others))
    findings = [f"{case}: {fault}" for case, files in found.items() if (fault := _channels_fault(files, channels, reader))]
    if findings:
        wanted = "1 channel" if channels == 1 else f"{channels} channels"
        numbered = f"CASE_0000{file_ending}" if channels == 1 else f"CASE_0000{file_ending} to CASE_{channels - 1:04d}{file_ending}"
        hint = f"A case is {numbered}, one channel a file, or fewer files that have {wanted} together."
        raise BadData("InvalidCases", f"{folder}: the model needs {wanted} of every case.", findings=findings, hint=hint)
    return {case: [files[c] for c in sorted(files)] for case, files in found.items()}


def left_out(folder: Path, file_ending: str, *, but: Iterable[Path] = ()) -> list[str]:
    """A line for each file that may be meant for an image but is none by its name, and for each folder that holds images.

    Args:
        folder: of the images.
        file_ending: of the model's images.
        but: files that something reads, and folders that are no input.
    """
    known = {realpath(path) for path in but}  # unlike Path.resolve(), it takes links that lead to themselves
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or realpath(path) in known or _image(path, file_ending):
            continue
        if path.is_dir():
            try:
                holds_images = any(_image(inner, file_ending) for inner in path.iterdir())
            except OSError as error:
                found.append(f"{path.name}/: a folder that cannot be read ({error.strerror})")
                continue
            if holds_images:
                found.append(f"{path.name}/: a folder with images; only those in {folder} itself are predicted")
        elif path.suffix.lower() not in DOCUMENTS:
            found.append(f"{path.name}: {_why(path.name, file_ending)}")
    return found


def said(folder: Path, others: Sequence[str]) -> str:
    """What is left out, in one text."""
    lines = "".join(f"\n  {line}" for line in _shown(others))
    number = f"{len(others)} {'is' if len(others) == 1 else 'are'}"
    return f"{number} left out of what {folder} holds:{lines}"


def files_beside(cases: Mapping[str, Iterable[Path]], reader: Reader) -> list[Path]:
    """What is read beside the images, as far as their headers can be understood."""
    found = []
    for path in (path for files in cases.values() for path in files):
        with suppress(BadData):
            found += [each.path for each in reader.companions(path)]
    return found


def require_undamaged(files: Iterable[Path], reader: Reader) -> None:
    """Unpack what is packed to its checksum: readers take what is damaged inside for voxels.

    Raises:
        BadData: names the file.
        StorageFault: the file's storage does not answer.
    """
    for file in files:
        reader.require(file)
        try:
            if file.name.endswith(".nii.gz"):
                check_nifti(file, thorough=True)
            check_packed(file)
        except (ValueError, OSError) as error:
            raise_storage_error(error, file)
            raise BadData("InvalidCases", f"{file}: {error}.", hint="Copy it anew from where it came from.") from error


def find_previous(folder: Path, cases: Iterable[str], file_ending: str, reader: Reader) -> dict[str, Path]:
    """The previous stage's segmentation `CASE` of each case.

    Raises:
        BadData: there are cases without one, or with a damaged one.
    """
    files = {case: folder / f"{case}{file_ending}" for case in cases}
    faults = {case: fault for case, file in files.items() if (fault := segmentation_fault(file, reader))}
    if faults:
        message = f"{folder} has no whole segmentation of {len(faults)} of {len(files)} images."
        hint = "Predict the same images with the previous stage's model first (where some are there: --continue)."
        findings = [
            f"{case}: {files[case].name}: {fault}" if files[case].exists() else f"{case}: no {files[case].name}"
            for case, fault in faults.items()
        ]
        raise BadData("MissingPreviousStage", message, findings=findings, hint=hint)
    return files


def _channels_fault(files: dict[int, Path], wanted: int, reader: Reader) -> str:
    """What is wrong with the files of a case, by their numbers; empty if nothing is."""
    if sorted(files) != list(range(len(files))):
        return f"has files {', '.join(f'{c:04d}' for c in sorted(files))}, expected them to be numbered from 0000 on without gaps"
    if folder := next((path.name for path in files.values() if path.is_dir()), None):
        return f"{folder} is a folder, expected an image"
    try:
        counts = [reader.channels(files[number]) for number in sorted(files)]
    except BadData:
        return ""  # told when it is read, after which the others are predicted
    if sum(counts) == wanted:
        return ""
    each = ", ".join(f"{files[number].name}: {count}" for number, count in enumerate(counts))
    return f"has {'1 channel' if sum(counts) == 1 else f'{sum(counts)} channels'} ({each}), the model needs {wanted}"


def _image(path: Path, file_ending: str) -> re.Match[str] | None:
    if path.name.startswith("."):
        return None
    return re.fullmatch(r"(.+)_(\d{4})" + re.escape(file_ending), path.name)


def _why(name: str, file_ending: str) -> str:
    if name.endswith(file_ending):
        stem = name.removesuffix(file_ending)
        number = re.search(r"_(\d+)$", stem)
        expected = f"{stem[: number.start()] if number else stem}_0000{file_ending}"
        what = f"a channel number of {len(number[1])} digits" if number else "no channel number"
        return f"{what}; expected a name like {expected}"
    if name.lower().endswith(file_ending.lower()):
        return f"the model's images end in {file_ending}, written just so"
    known = [ending for reader in READERS.all() for ending in reader.file_endings if name.lower().endswith(ending)]
    ending = max(known, key=len, default=Path(name).suffix)
    return f"it ends in {ending or 'nothing'}, the model's images in {file_ending}"


def _shown(lines: Sequence[str]) -> list[str]:
    return [*lines[:MOST], *([f"… and {len(lines) - MOST} more"] if len(lines) > MOST else [])]
