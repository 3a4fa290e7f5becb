"""A dictionary of manifests that is small: what nobody has asked for lately is kept as compressed JSON."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping

from ...reconcile.view import Key, Manifest
from ..api import wire

MOST_UNPACKED = 1000
"""Manifests that are kept as they are, about 15 kB each. Packed, one of a finished run of five folds takes 2 kB."""


class PackedManifests(MutableMapping[Key, Manifest]):
    """Manifests by key.

    What is got is not to be changed; of one that was packed meanwhile another copy is got.

    Args:
        most: how many are kept unpacked.
    """

    def __init__(self, most: int = MOST_UNPACKED) -> None:
        self._most = most
        self._packed: dict[Key, bytes | None] = {}  # None: unpacked
        self._unpacked: OrderedDict[Key, Manifest] = OrderedDict()  # asked for last: last

    def __getitem__(self, key: Key) -> Manifest:
        found = self._unpacked.get(key)
        if found is not None:
            self._unpacked.move_to_end(key)
            return found
        packed = self._packed[key]
        assert packed is not None
        unpacked: Manifest = wire.decode(zlib.decompress(packed))
        self[key] = unpacked
        return unpacked

    def __setitem__(self, key: Key, manifest: Manifest) -> None:
        self._packed[key] = None
        self._unpacked[key] = manifest
        self._unpacked.move_to_end(key)
        if len(self._unpacked) > self._most:
            oldest, cold = self._unpacked.popitem(last=False)
            self._packed[oldest] = zlib.compress(wire.encode(cold), 1)

    def __delitem__(self, key: Key) -> None:
        del self._packed[key]
        self._unpacked.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[Key]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)
