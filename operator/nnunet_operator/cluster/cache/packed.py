"""A dictionary of manifests that is small: those at rest that nobody has asked for lately are kept as compressed JSON."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping

from ...reconcile.view import Key, Manifest
from ..api import wire

MOST_AT_REST = 1000
"""Manifests at rest that are kept as they are, about 15 kB each. Packed, one of a finished run of five folds takes 2 kB."""
MOST_AT_WORK = 12_000
"""The same of those at work, about 8 kB each: 4,000 runs, each with a Job and a pod. Each is looked at again and again: were some
packed, each look would unpack one and pack another."""


class PackedManifests(MutableMapping[Key, Manifest]):
    """Manifests by key.

    What is got is not to be changed; of one that was packed meanwhile another copy is got.

    Args:
        most: how many of those at rest are kept unpacked.
        most_at_work: the same of those at work.
    """

    def __init__(self, most: int = MOST_AT_REST, most_at_work: int = MOST_AT_WORK) -> None:
        self._packed: dict[Key, bytes | None] = {}  # None: unpacked
        self._at_rest, self._at_work = _Unpacked(most), _Unpacked(most_at_work)

    def put(self, key: Key, manifest: Manifest, *, at_work: bool) -> None:
        """Keep a manifest; `at_work`: it is likely to be asked for again soon."""
        mine, others = (self._at_work, self._at_rest) if at_work else (self._at_rest, self._at_work)
        others.pop(key, None)
        self._packed[key] = None
        if (oldest := mine.add(key, manifest)) is not None:
            self._packed[oldest[0]] = zlib.compress(wire.encode(oldest[1]), 1)

    def move(self, key: Key, *, at_work: bool) -> None:
        """From now on a manifest is one of those at work, or at rest; one that is packed stays so until it is asked for."""
        others = self._at_rest if at_work else self._at_work
        if (manifest := others.get(key)) is not None:
            self.put(key, manifest, at_work=at_work)

    def __getitem__(self, key: Key) -> Manifest:
        for unpacked in (self._at_work, self._at_rest):
            if (found := unpacked.get(key)) is not None:
                unpacked.move_to_end(key)
                return found
        packed = self._packed[key]
        assert packed is not None
        manifest: Manifest = wire.decode(zlib.decompress(packed))
        self[key] = manifest
        return manifest

    def __setitem__(self, key: Key, manifest: Manifest) -> None:
        self.put(key, manifest, at_work=False)

    def __delitem__(self, key: Key) -> None:
        del self._packed[key]
        self._at_rest.pop(key, None)
        self._at_work.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[Key]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class _Unpacked(OrderedDict[Key, Manifest]):
    """Manifests as they are, asked for last: last."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def add(self, key: Key, manifest: Manifest) -> tuple[Key, Manifest] | None:
        """Keep one; the oldest one, which goes, where they are too many."""
        self[key] = manifest
        self.move_to_end(key)
        return self.popitem(last=False) if len(self) > self._most else None
