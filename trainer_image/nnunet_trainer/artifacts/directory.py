"""A folder as an object store: one machine's disk, or a mounted PersistentVolumeClaim."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from ..contract.faults import BadConfiguration, Fault, StorageFault
from ..contract.pod import claims
from .location import Address, join
from .store import ObjectInfo, ObjectNotFound

PARTIAL = ".partial-"
"""Names that begin so are being written, or were left by a process that died."""

_counter = itertools.count()


class DirectoryStore:
    """Objects are files. A file is written beside its place and then renamed, so that no reader ever sees a part of one."""

    def __init__(self, uri: str, address: Address) -> None:
        self.root = join(uri, "")
        self.folder = address.folder
        if address.scheme == "pvc":
            claim = claims() / address.folder.relative_to(claims()).parts[0]
            if not claim.is_dir():
                message = f"The volume of {uri} is not mounted at {claim}."
                raise BadConfiguration("VolumeNotMounted", message, hint="Does the PersistentVolumeClaim exist in this namespace?")

    def uri(self, key: str = "") -> str:
        return join(self.root, key)

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            found = os.stat(self.folder / key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._fault(error, key) from error
        return ObjectInfo(key, found.st_size, str(found.st_mtime_ns))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        # Only the folder that the prefix names is walked.
        start = prefix.rpartition("/")[0]
        found: list[ObjectInfo] = []
        for folder, _, names in os.walk(self.folder / start, followlinks=True, onerror=self._walk_error):
            for name in names:
                key = Path(folder, name).relative_to(self.folder).as_posix()
                if key.startswith(prefix) and not name.startswith(PARTIAL) and (info := self.stat(key)):
                    found.append(info)
        yield from sorted(found, key=lambda info: info.key)

    def get(self, key: str) -> bytes:
        try:
            return (self.folder / key).read_bytes()
        except OSError as error:
            raise self._fault(error, key) from error

    def put(self, key: str, data: bytes) -> None:
        with self._beside(key) as temporary:
            _write(temporary, data)
            os.replace(temporary, self.folder / key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        with self._beside(key) as temporary:
            _write(temporary, data)
            try:
                os.link(temporary, self.folder / key)
            except FileExistsError:
                return False
            except OSError as error:
                # A file system without hard links (some network and FUSE volumes). Two writers may then both think that they
                # were first; a key stands for its content, so both write the same.
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                    raise
                if (self.folder / key).exists():
                    return False
                os.replace(temporary, self.folder / key)
        return True

    def get_file(self, key: str, path: Path) -> None:
        source = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{PARTIAL}{path.name}-{os.getpid()}-{next(_counter)}")
        try:
            shutil.copyfile(source, temporary)
            os.replace(temporary, path)
        except OSError as error:
            raise self._fault(error, key) from error
        finally:
            temporary.unlink(missing_ok=True)

    def put_file(self, path: Path, key: str) -> None:
        target = self.folder / key
        with self._beside(key) as temporary:
            shutil.copyfile(path, temporary)
            _sync(temporary)
            os.replace(temporary, target)

    def copy(self, key: str, target: str, size: int) -> bool:
        try:
            with self._beside(target) as temporary:
                os.link(self.folder / key, temporary)  # objects are replaced, never written in place
                if temporary.stat().st_size != size:
                    return False
                os.replace(temporary, self.folder / target)
        except Fault:  # there may be no hard links
            return False
        return True

    def delete(self, key: str) -> None:
        try:
            (self.folder / key).unlink(missing_ok=True)
        except OSError as error:
            raise self._fault(error, key) from error

    def discard_unfinished(self, prefix: str, part: str = "") -> int:
        found = 0
        for folder, _, names in os.walk(self.folder / prefix.rpartition("/")[0], followlinks=True, onerror=self._walk_error):
            for path in [Path(folder, name) for name in names if name.startswith(PARTIAL)]:
                key = path.with_name(path.name.removeprefix(PARTIAL)).relative_to(self.folder).as_posix()
                if key.startswith(prefix) and part in key:
                    path.unlink(missing_ok=True)
                    found += 1
        return found

    def local_path(self, key: str) -> Path | None:
        return self.folder / key

    @contextlib.contextmanager
    def _beside(self, key: str) -> Iterator[Path]:
        """A name in the key's own folder to write to; gone at the end when it was not renamed."""
        target = self.folder / key
        temporary = target.with_name(f"{PARTIAL}{target.name}-{os.getpid()}-{threading.get_ident()}-{next(_counter)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
        except OSError as error:
            raise self._fault(error, key) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _walk_error(self, error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise self._fault(error, "")

    def _fault(self, error: OSError, key: str) -> Fault:
        if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
            return ObjectNotFound(self.uri(key))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"No space is left while writing {self.uri(key)}."
            return StorageFault("StorageFull", message, hint="Free some space, or enlarge the volume.")
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return BadConfiguration("InvalidStorageUri", f"{self.uri(key)}: {error.strerror}.", hint="Correct the path.")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            message = f"{self.uri(key)}: {error.strerror} (user {os.getuid()})."
            return BadConfiguration("StorageAccessDenied", message, hint="Give the pod's user access to the folder.")
        return StorageFault("StorageUnreachable", f"{self.uri(key)}: {error.strerror or error}.")


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
