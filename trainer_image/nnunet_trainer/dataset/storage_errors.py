"""A storage that does not answer is no damaged file: whoever reads it again may find it whole."""

from __future__ import annotations

import errno
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
