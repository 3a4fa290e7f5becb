"""Kubernetes' garbage collector: what belongs to nobody any more goes."""

from __future__ import annotations

from .store import Store


def collect(store: Store) -> None:
    """Delete every object that has owners of which none is there any more."""
    everything = list(store.everything())
    uids = {item["metadata"]["uid"] for item in everything}
    for item in everything:
        meta = item["metadata"]
        owners = {reference["uid"] for reference in meta.get("ownerReferences", [])}
        if owners and not owners & uids and not meta.get("deletionTimestamp"):
            store.delete(item["kind"], meta["namespace"], meta["name"], meta["uid"])
