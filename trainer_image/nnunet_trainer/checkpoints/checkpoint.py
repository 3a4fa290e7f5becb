"""Checkpoints in nnU-Net's format: what they hold, read without running code, and which one to go on from."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadConfiguration, BadData

from .files import PREVIOUS as PREVIOUS
from .files import digests as digests
from .files import keep_previous as keep_previous
from .files import name_also as name_also
from .files import remove as remove
from .files import save as save
from .files import sha256 as sha256
from .files import sidecar_of

FINAL = keys.FINAL_CHECKPOINT
LATEST, BEST = "checkpoint_latest.pth", "checkpoint_best.pth"
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

NAME_ANOTHER = "Name a checkpoint_*.pth of nnU-Net v2 or of this trainer."


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
    try:
        known = digests(path)
        same, archive = not known or sha256(path) in known, zipfile.is_zipfile(path)
    except OSError as error:
        raise _damaged(f"{path} cannot be read: {error.strerror or error}.") from error
    if not same and not (archive and _is_whole(path)):
        raise _damaged(f"{path} is damaged: its sha256 is not the one in {sidecar_of(path).name}.")
    if not archive:
        raise _damaged(f"{path} is not a whole checkpoint: torch writes a zip archive, and this is none.")
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
        raise _damaged(f"{path} is not a whole checkpoint: {first}") from error
    if not isinstance(content, dict) or "network_weights" not in content:
        raise BadData("NotACheckpoint", f"{path} is no nnU-Net checkpoint: it has no network_weights.", hint=NAME_ANOTHER)
    weights = content["network_weights"]
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        message = f"{path} is no nnU-Net checkpoint: its network_weights are not tensors by name."
        raise BadData("NotACheckpoint", message, hint=NAME_ANOTHER)
    if not same and EXTRA in content:
        raise _damaged(f"{path} is another checkpoint than was written here: its sha256 is not the one in {sidecar_of(path).name}.")
    _check_format(path, content)
    return content


def _is_whole(path: Path) -> bool:
    """Whether all in the archive has its checksum: then nnU-Net may have written it over one of ours, whose digest is left."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError):
        return False


def _damaged(message: str) -> BadData:
    return BadData("DamagedCheckpoint", message, hint="Copy it anew from where it came from, or name another one.")


@cache
def version() -> str:
    """This package's, as checkpoints bear it; "source" where it is not installed, but on the path."""
    try:
        return metadata.version("nnunet-operator")
    except metadata.PackageNotFoundError:
        return "source"


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
