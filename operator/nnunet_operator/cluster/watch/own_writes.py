"""What the watches of our four kinds say of our own status writes: it is known from the answers, and is left out unread."""

from __future__ import annotations

import re

from ...reconcile.view import Manifest

REMEMBERED = 1000
"""Versions. The event of a write comes within moments."""

_MODIFIED = b'{"type":"MODIFIED",'
_VERSION = re.compile(rb'"resourceVersion":"([^"\\]*)","uid":"([^"\\]*)"')
"""As the API server orders the fields of an object's metadata: nothing that somebody else writes stands between the two.

Within a text quotes are escaped. Where data of any shape before the metadata holds such a pair, which none of our kinds has, that
is another's, and the event is read.
"""


class OwnWrites:
    """The versions that our own writes made, by which their events are told from others'."""

    def __init__(self) -> None:
        self._versions: dict[tuple[bytes, bytes], None] = {}  # (resourceVersion, uid), newest last

    def add(self, manifest: Manifest) -> None:
        """Remember the version in the answer to a write. Whoever adds it has put it into the cache."""
        meta = manifest["metadata"]
        self._versions[str(meta.get("resourceVersion")).encode(), str(meta.get("uid")).encode()] = None
        if len(self._versions) > REMEMBERED:
            del self._versions[next(iter(self._versions))]

    def without(self, lines: bytes) -> bytes:
        """A watch's whole lines without the events of these versions."""
        if not self._versions:
            return lines
        return b"".join(line for line in lines.splitlines(keepends=True) if not self._is_known(line))

    def _is_known(self, line: bytes) -> bool:
        if not line.startswith(_MODIFIED) or (found := _VERSION.search(line)) is None:
            return False
        return (found[1], found[2]) in self._versions
