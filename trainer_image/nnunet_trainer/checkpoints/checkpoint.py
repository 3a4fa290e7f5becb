"""Checkpoint files in nnU-Net's format: written beside, checksummed, then named; read without running code.

Beside each file stands `<file>.sha256` in the format of sha256sum. While a file is replaced it holds two lines, the new digest and
the old one, so that whichever file a crash leaves behind is known to be whole.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadConfiguration, BadData, StorageFault

FINAL = keys.FINAL_CHECKPOINT
LATEST, BEST, PREVIOUS = "checkpoint_latest.pth", "checkpoint_best.pth", "checkpoint_previous.pth"
EXTRA = "nnunet_operator"
"""The key of all that nnU-Net's checkpoints do not have; nnU-Net does not look at it."""
FORMAT = 1
"""Of what stands under that key."""

KEYS = (
    "network_weights",
    "optimizer_state",
    "grad_scaler_state",
    "logging",
    "_best_ema",
    "current_epoch",
    "init_args",
    "trainer_name",
    "inference_allowed_mirroring_axes",
)


class _Hashing:
    """A file that takes the digest of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def save(path: Path, content: dict[str, Any]) -> str:
    """Write a checkpoint so that a crash at any moment leaves the old or the new one, whole.

    Returns:
        Its sha256.

    Raises:
        StorageFault: the disk is full or cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(content, hashing)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        digest = hashing.sha.hexdigest()
        _write_digests(path, [digest, *digests(path)])
        os.replace(beside, path)
        _sync_folder(path.parent)
        _write_digests(path, [digest])
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageFault("CheckpointNotWritten", f"{path} cannot be written: {error.strerror or error}.") from error
    return digest


def _write_digests(path: Path, all_digests: Iterable[str]) -> None:
    sidecar = _sidecar(path)
    beside = sidecar.with_name(f".{sidecar.name}.{os.getpid()}.part")
    with beside.open("w") as file:
        file.writelines(f"{digest}  {path.name}\n" for digest in all_digests)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, sidecar)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digests(path: Path) -> list[str]:
    """The digests that a checkpoint may have; none for a file without `.sha256` (nnU-Net's own)."""
    try:
        return [line.split()[0] for line in _sidecar(path).read_text().splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def sha256(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Delete a checkpoint and its digest."""
    path.unlink(missing_ok=True)
    _sidecar(path).unlink(missing_ok=True)


def keep_previous(path: Path) -> None:
    """Give the checkpoint at `path` the name of the previous one, before a newer one is written."""
    if path.exists():
        previous = path.with_name(PREVIOUS)
        _write_digests(previous, [*digests(path), *digests(previous)])
        os.replace(path, previous)


def load(path: Path, device: torch.device | str = "cpu", *, allow_pickle: bool = False) -> dict[str, Any]:
    """Read a checkpoint, ours or nnU-Net's. What the file contains is not executed: only tensors and plain values are accepted.

    Args:
        path: the file.
        device: where its tensors go.
        allow_pickle: execute what the file contains, for files that you trust with your account.

    Raises:
        BadData: the file is missing, damaged (its digest differs, it is cut off), or holds what could run code.
        BadConfiguration: a newer version wrote it, in a format that this one does not know.
    """
    if not path.is_file():
        raise BadData("MissingCheckpoint", f"There is no checkpoint at {path}.")
    known = digests(path)
    if known and sha256(path) not in known:
        raise BadData("DamagedCheckpoint", f"{path} is damaged: its sha256 is not the one in {_sidecar(path).name}.")
    if not zipfile.is_zipfile(path):
        raise BadData("DamagedCheckpoint", f"{path} is not a whole checkpoint: torch writes a zip archive, and this is none.")
    try:
        with _numpy_scalars():
            content = torch.load(path, map_location=device, weights_only=not allow_pickle)
    except pickle.UnpicklingError as error:
        what = next(
            (line.strip() for line in str(error).splitlines() if "GLOBAL" in line), "objects beyond tensors and plain values"
        )
        raise BadData(
            "UnsafeCheckpoint",
            f"{path} holds what could run code when it is read ({what.split('Please')[0].strip()[:200]}).",
            hint="If you trust where it comes from, say --allow-pickle by hand; a TrainingRun never runs what a file holds.",
        ) from error
    except (RuntimeError, EOFError, KeyError, IndexError, ValueError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadData("DamagedCheckpoint", f"{path} is not a whole checkpoint: {first}") from error
    if not isinstance(content, dict) or "network_weights" not in content:
        raise BadData("NotACheckpoint", f"{path} is no nnU-Net checkpoint: it has no network_weights.")
    weights = content["network_weights"]
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise BadData("NotACheckpoint", f"{path} is no nnU-Net checkpoint: its network_weights are not tensors by name.")
    _check_format(path, content)
    return content


def version() -> str:
    """This package's, as checkpoints bear it."""
    return metadata.version("nnunet-operator")


def _check_format(path: Path, content: dict[str, Any]) -> None:
    # Not passed over as a damaged one is: an older checkpoint would be gone on from, and this one's epochs trained again.
    extra = content.get(EXTRA)
    found = extra.get("format", FORMAT) if isinstance(extra, dict) else FORMAT
    if found != FORMAT and not (isinstance(found, int) and 0 < found < FORMAT):
        written = extra.get("version") if isinstance(extra, dict) else None
        raise BadConfiguration(
            "CheckpointTooNew",
            f"{path} has format {found!r}{f', by nnunet-trainer {written}' if written else ''}; this is nnunet-trainer {version()}"
            f", which knows formats up to {FORMAT}.",
            hint="Use a trainer image of that version or a later one (spec.template.image).",
        )


@contextmanager
def _numpy_scalars() -> Iterator[None]:
    """nnU-Net logs numpy scalars. They are data: numpy builds them from bytes and a type."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    types = [
        type(np.dtype(kind)) for kind in (np.float16, np.float32, np.float64, np.int16, np.int32, np.int64, np.uint8, np.bool_)
    ]
    allowed: list[Any] = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *types]
    with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint to go on from."""

    path: Path
    content: dict[str, Any]

    @property
    def position(self) -> tuple[int, int]:
        """Finished epochs, and finished iterations of the next one."""
        return position(self.content)

    def described(self) -> Found:
        """All but the tensors, which may be gigabytes: what ranks that did not read the file must know."""
        return replace(self, content={key: value for key, value in self.content.items() if key not in TENSORS})


TENSORS = ("network_weights", "optimizer_state")


def position(content: dict[str, Any]) -> tuple[int, int]:
    """Finished epochs, and finished iterations of the next one."""
    return int(content.get("current_epoch", 0)), int((content.get(EXTRA) or {}).get("iteration", 0))


def newest(
    paths: Iterable[Path], device: torch.device | str = "cpu", *, allow_pickle: bool = False
) -> tuple[Found | None, list[str]]:
    """The most advanced of those checkpoints that are whole, and a warning for each that is not."""
    best: Found | None = None
    problems = []
    for path in paths:
        if not path.is_file():
            continue
        try:
            found = Found(path, load(path, device, allow_pickle=allow_pickle))
        except BadData as fault:
            problems.append(f"Skipped: {fault.message}")
            continue
        if best is None or found.position > best.position:
            best = found
    return best, problems


def candidates(folder: Path) -> list[Path]:
    """Where a fold's folder may hold a checkpoint to go on from."""
    return [folder / name for name in (FINAL, LATEST, PREVIOUS, BEST)]
