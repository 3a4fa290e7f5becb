"""Which events of our kinds are left out unread: those of our own status writes, and no other."""

from __future__ import annotations

import json

import pytest
from nnunet_operator.cluster.watch.own_writes import REMEMBERED, OwnWrites
from support.apiclient import Manifest


def run(version: str, uid: str = "u1", **metadata: object) -> Manifest:
    meta = {"annotations": {}, "managedFields": [{"manager": "x"}], "name": "run", "namespace": "ns", **metadata}
    meta |= {"resourceVersion": version, "uid": uid}
    return {"apiVersion": "nnunet.dev/v1alpha1", "kind": "TrainingRun", "metadata": meta, "spec": {}, "status": {}}


def event(kind: str, manifest: Manifest) -> bytes:
    """As the API server writes an event: without blanks, a custom object's fields in the order of their names."""
    meta = dict(sorted(manifest["metadata"].items()))
    return json.dumps({"type": kind, "object": {**manifest, "metadata": meta}}, separators=(",", ":")).encode() + b"\n"


def writes(*manifests: Manifest) -> OwnWrites:
    own = OwnWrites()
    for manifest in manifests:
        own.add(manifest)
    return own


def test_the_event_of_our_own_write_is_left_out_and_all_others_stay() -> None:
    own = writes(run("7"), run("9"))
    lines = [event("MODIFIED", run(version)) for version in ("6", "7", "8", "9", "10")]
    assert own.without(b"".join(lines)) == lines[0] + lines[2] + lines[4]


@pytest.mark.parametrize("kind", ["ADDED", "DELETED", "BOOKMARK", "ERROR"])
def test_only_changes_are_left_out(kind: str) -> None:
    line = event(kind, run("7"))
    assert writes(run("7")).without(line) == line


@pytest.mark.parametrize(
    "other",
    [
        run("7", uid="u2"),
        run("70"),
        run("8", annotations={"said": '"resourceVersion":"7","uid":"u1"'}),
        run("8", annotations={"resourceVersion": "7", "v": "u1"}),
        run("8", labels={"resourceVersion": "7"}),
        {**run("8"), "spec": {"resourceVersion": "7", "uid": "u1"}},
        {"kind": "TrainingRun", "metadata": {}},
    ],
    ids=["another object", "a longer version", "in a text", "annotations", "labels", "in the spec", "no version"],
)
def test_what_looks_like_it_stays(other: Manifest) -> None:
    line = event("MODIFIED", other)
    assert writes(run("7")).without(line) == line


def test_only_the_newest_versions_are_remembered() -> None:
    own = writes(*(run(str(version)) for version in range(REMEMBERED + 1)))
    assert own.without(event("MODIFIED", run("0")))
    assert not own.without(event("MODIFIED", run("1")))
