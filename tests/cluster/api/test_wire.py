"""JSON of Jobs and pods is read without their managedFields, and is otherwise what any parser reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nnunet_operator.cluster.api import wire

FIELDS = {"f:metadata": {"f:labels": {".": {}, 'k:{"name":"}]},\\"spec\\":"}': {}, "v:[1]": {}}}}
MANAGED = [{"manager": "kubectl", "fieldsV1": FIELDS}, {"manager": 'a "managedFields":[ b', "fieldsV1": {}}]
META = {"name": "job", "labels": {"managedFields": "x"}, "annotations": {"said": '"managedFields":[{}]},"spec":'}}
SPEC = {"containers": [{"name": "a", "args": ['"managedFields":[', '}]},"spec":']}]}


def text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("managed", [MANAGED, MANAGED[:1]], ids=["two", "one"])
@pytest.mark.parametrize("in_event", [False, True], ids=["object", "event"])
def test_managed_fields_are_left_out_and_nothing_else(managed: list[Any], in_event: bool) -> None:
    whole = {"kind": "Job", "metadata": {**META, "managedFields": managed}, "spec": SPEC, "status": {"active": 1}}
    without = {**whole, "metadata": META}
    if in_event:
        assert wire.decode_child(text({"type": "ADDED", "object": whole})) == {"type": "ADDED", "object": without}
    else:
        assert wire.decode_child(text(whole)) == without


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "Job", "metadata": META, "spec": SPEC},
        {"kind": "Job", "metadata": {"managedFields": MANAGED, "name": "another order"}, "spec": SPEC},
        {"kind": "Job", "metadata": {**META, "managedFields": MANAGED}, "status": {}},
        {"kind": "Job", "metadata": {**META, "managedFields": []}, "spec": SPEC},
        {"type": "BOOKMARK", "object": {"kind": "Job", "metadata": {"resourceVersion": "7"}}},
        {"type": "ERROR", "object": {"kind": "Status", "code": 410}},
    ],
    ids=["none", "another order", "no spec", "empty", "bookmark", "error"],
)
def test_what_is_written_otherwise_is_read_whole(value: Any) -> None:
    assert wire.decode_child(text(value)) == value


@pytest.mark.parametrize("data", [b"", b"{", b"<html>", b'{"a":"managedFields":[}]},"spec":'])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        wire.decode_child(data)


VALUES = [
    None,
    True,
    0,
    -(10**30),
    1.0,
    1e-7,
    2.5e22,
    "",
    "Größe \u2028 \U0001f9e0",
    '"\\\n\x00\x7f',
    "\ud800",
    [[], {}],
    {"a.b/c": {"": [1, None]}},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_written_is_read_by_any_parser(value: Any) -> None:
    written = wire.encode({"value": value})
    assert json.loads(written) == {"value": value}
    assert written.startswith(b'{"value":')
