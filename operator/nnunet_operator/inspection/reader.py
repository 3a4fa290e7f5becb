"""How objects are read: from an API server, from the local store, or, in tests, from a list."""

from __future__ import annotations

from typing import Protocol

from ..reconcile.view import Manifest


class ObjectReader(Protocol):
    """Reads objects when they are asked for. What may not be read is as good as not there, but for objects of the four kinds."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object of one of the four kinds, or None when there is none."""

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        """All objects of one of the four kinds, of one namespace or (None) of all."""

    def owned(self, owner: Manifest, kind: str) -> list[Manifest]:
        """The Jobs or Pods that are labelled as an object's own."""

    def events(self, about: Manifest) -> list[Manifest]:
        """The events about any object, in any order."""

    def workload(self, job: Manifest) -> Manifest | None:
        """Kueue's Workload of a Job."""

    def other(self, kind: str, namespace: str, name: str) -> Manifest | bool | None:
        """What a pod needs: a Secret (only whether it is there), a ConfigMap, a PersistentVolumeClaim, a Node.

        True: it is there and cannot be looked into; False: it is not there; None: that cannot be told.
        """


class Sources(Protocol):
    """The part of a reader that names are looked up in."""

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """As `ObjectReader.get`."""

    def all(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        """As `ObjectReader.all`."""
