"""resourceVersions: which of two is newer, and whether a cluster has gone back in time.

Of the versions of one kind the API server promises that they are numbers that grow (KEP-5504); older and other servers need not
keep that. What is no number can only be told apart.
"""

from __future__ import annotations

import re

from ...reconcile.view import Manifest

_NUMBER = re.compile(r"[0-9]{1,40}")


class WentBack(Exception):
    """The cluster is older than it was: its etcd was restored from a backup. What is known of it is worth nothing."""


def version_of(manifest: Manifest) -> str:
    """The resourceVersion of an object or a list; empty where it has none."""
    return str(manifest["metadata"].get("resourceVersion") or "")


def number(version: str) -> int | None:
    """A resourceVersion as a number, or None where it is none."""
    return int(version) if _NUMBER.fullmatch(version) else None


def is_newer(version: str, than: str) -> bool:
    """Whether what bears `version` is to take the place of what bears `than`: what cannot be compared is, where it differs.

    Events come in order, and the last one to come is right in the end.
    """
    ours, theirs = number(version), number(than)
    return version != than if ours is None or theirs is None else ours > theirs
