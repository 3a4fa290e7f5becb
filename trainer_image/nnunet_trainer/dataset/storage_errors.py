"""Why a file cannot be read that is not damaged: it is not there, or its storage does not answer."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

from nnunet_trainer.contract.faults import StorageFault

NAMES = (
    *("EIO", "ESTALE", "EREMOTEIO", "EBADMSG", "EUCLEAN", "ENODEV", "ENXIO", "EAGAIN", "ETIMEDOUT", "ENOLINK", "ECOMM"),
    *("ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "ENOTCONN", "ESHUTDOWN", "EPIPE", "EHOSTDOWN", "EHOSTUNREACH"),
    *("ENETDOWN", "ENETRESET", "ENETUNREACH"),
)
"""What the kernel says of disks, network volumes and FUSE, not of a file's content or of who may read it."""
ERRORS = frozenset(getattr(errno, name) for name in NAMES if hasattr(errno, name))
CHUNK = 1 << 20


def absence(path: Path) -> str:
    """What there is in place of a file that is not one, as the end of a sentence that begins with its path."""
    if path.is_dir():
        return "is a folder; expected a file"
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}, which does not exist"
    return f"does not exist{similar_name(path)}"


def similar_name(path: Path) -> str:
    """A file beside a missing one whose name only looks the same, to be appended to a message; empty if there is none.

    File systems and archives of macOS decompose letters with accents, others compose them (Unicode's NFD and NFC).
    """
    name = unicodedata.normalize("NFC", path.name)
    if name.isascii() or not path.parent.is_dir() or path.exists():
        return ""
    if not any(unicodedata.normalize("NFC", other) == name for other in os.listdir(path.parent)):
        return ""
    return "; a name there looks the same but has its accents encoded in another way (Unicode's NFC and NFD): rename it"


def raise_storage_error(error: BaseException, path: Path) -> None:
    """Raise StorageFault where an error, or what it came from, is the storage's; else nothing happens.

    Args:
        error: met while `path` was read.
        path: what the fault names.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in ERRORS:
            hint = "The file may be whole: its disk or its server did not answer (the node's log says more). Try again."
            raise StorageFault("StorageUnreachable", f"{path}: {seen.strerror or seen}.", hint=hint) from error
        seen = seen.__cause__ or seen.__context__


def require_storage(path: Path) -> None:
    """Read a file that a library could not read, for its own error says nothing of the storage.

    Raises:
        StorageFault: that is not the file's fault.
    """
    try:
        path.stat()
        if path.is_file():
            with path.open("rb") as file:
                while file.read(CHUNK):
                    pass
    except OSError as error:
        raise_storage_error(error, path)
