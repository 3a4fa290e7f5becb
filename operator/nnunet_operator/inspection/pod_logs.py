"""Which pods' logs a person means: of a piece of work, of its newest attempt or another, of the first pod or another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nnunet_trainer.contract.faults import BadUsage, unknown_name

from ..manifests import names, ownership
from ..reconcile.observed import pods as reading
from ..reconcile.view import Manifest
from . import parts
from .object_names import short
from .parts import Part

EVERY = 0
"""As an attempt: all of which anything is left."""


class Log(NamedTuple):
    """One pod's log: of which piece of work, and which attempt, as people count."""

    title: str
    attempt: int
    pod: Manifest

    @property
    def heading(self) -> str:
        """What stands above it where there are several."""
        return f"{self.title}, attempt {self.attempt} ({reading.name(self.pod)})"


def wanted_parts(manifest: Manifest, fold: str | None, configuration: str | None) -> list[Part]:
    """The pieces of work that are meant; with neither fold nor configuration: all.

    Raises:
        BadUsage: there is no such fold or configuration.
    """
    found = parts.of(manifest)
    for label, kind, name in ((names.FOLD, "fold", fold), (names.CONFIGURATION, "configuration", configuration)):
        if name is None:
            continue
        known = [part.labels[label] for part in found if label in part.labels]
        if name not in known:
            raise BadUsage("NotFound", f"{short(manifest)}: {unknown_name(kind, name, known)}")
        found = [part for part in found if part.labels.get(label) == name]
    return found


def choose(
    manifest: Manifest, pods: Iterable[Manifest], wanted: Iterable[Part], *, attempt: int | None = None, index: int = 0
) -> list[Log]:
    """The logs that are meant, in the order of the work and its attempts.

    Args:
        manifest: the object.
        pods: that are labelled as its own.
        wanted: its pieces of work.
        attempt: as people count, from 1; None: each one's newest of which there is a pod; `EVERY`: all.
        index: which of an attempt's pods: of a training its node, of a preprocessing its shard.
    """
    mine, found = [pod for pod in pods if _is_of(pod, manifest)], list[Log]()
    for part in wanted:
        by_attempt: dict[int, Manifest] = {}
        for pod in sorted(mine, key=lambda pod: pod["metadata"].get("creationTimestamp", "")):
            number = str((pod["metadata"].get("labels") or {}).get(names.ATTEMPT, ""))
            if part.owns(pod) and reading.index(pod) == index and number.isdigit():
                by_attempt[int(number) + 1] = pod  # of several of one index, the newest
        chosen = [max(by_attempt)] if attempt is None and by_attempt else sorted(by_attempt)
        found += [Log(part.title, each, by_attempt[each]) for each in chosen if attempt in (None, EVERY, each)]
    return found


def has_started(pod: Manifest) -> bool:
    """Whether its container has begun to write."""
    return bool({"running", "terminated"} & reading.container(pod).keys())


def _is_of(pod: Manifest, manifest: Manifest) -> bool:
    """By its labels, in its owner's namespace, with a Job that controls it: a lost Job's pods are still to be read."""
    meta, labels = pod["metadata"], pod["metadata"].get("labels") or {}
    same = meta.get("namespace") == manifest["metadata"]["namespace"] and ownership.controlling_job(pod) is not None
    return same and labels.get(names.OWNER_UID) == manifest["metadata"]["uid"]
