from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract.json_text import codec


@dataclass(frozen=True, kw_only=True)
class Inner:
    every_epochs: int = 1


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    ratio: float = 0.5
    kind: Literal["a", "b"] = "a"
    inner: Inner | None = None
    many: list[Inner] = field(default_factory=list)
    by_name: dict[str, Inner] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)


texts = st.text(max_size=20)
inners = st.builds(Inner, every_epochs=st.integers())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
outers = st.builds(
    Outer,
    name=texts,
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["a", "b"]),
    inner=st.none() | inners,
    many=st.lists(inners, max_size=3),
    by_name=st.dictionaries(texts, inners, max_size=3),
    anything=st.dictionaries(texts, values, max_size=3),
)


@given(outers)
def test_what_is_written_is_read(value: Outer) -> None:
    text = codec.dumps(value)
    assert codec.loads(Outer, text) == value
    assert codec.dumps(codec.loads(Outer, text)) == text


def test_names_are_camel_case_outside() -> None:
    assert json.loads(codec.dumps(Outer(name="x", inner=Inner(every_epochs=3))))["inner"] == {"everyEpochs": 3}
    assert "inner" not in json.loads(codec.dumps(Outer(name="x")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "Outer: an object was expected, found list"),
        ("null", "Outer: an object was expected"),
        ("{}", "Outer: .*name"),
        ('{"name": 1}', "Outer.name: str was expected, found 1"),
        ('{"name": "x", "kind": "c"}', "Outer.kind: 'c' is none of 'a', 'b'"),
        ('{"name": "x", "inner": {"everyEpochs": "3"}}', "Outer.inner.everyEpochs: int was expected"),
        ('{"name": "x", "inner": {"everyEpochs": true}}', "everyEpochs: int was expected"),
        ('{"name": "x", "ratio": true}', "ratio: float was expected"),
        ('{"name": "x", "many": [{}, {"everyEpochs": ""}]}', r"Outer.many\[1\].everyEpochs: int was expected"),
        ('{"name": "x", "many": {}}', "Outer.many: a list was expected"),
        ('{"name": "x", "byName": {"k": 1}}', "Outer.byName.k: an object was expected"),
        ('{"name": null}', "Outer.name: str was expected, found None"),
    ],
)
def test_the_message_names_the_field(text: str, message: str) -> None:
    with pytest.raises(codec.CodecError, match=message):
        codec.loads(Outer, text)


@given(st.binary(max_size=200))
def test_garbage_is_a_codec_error(data: bytes) -> None:
    with pytest.raises(codec.CodecError):
        codec.loads(Outer, data)


def test_a_whole_number_is_a_float() -> None:
    assert codec.loads(Outer, '{"name": "x", "ratio": 1}').ratio == 1.0


def test_what_is_not_known_is_skipped_and_said() -> None:
    skipped: list[str] = []
    data = {"name": "x", "nmae": 1, "many": [{}, {"a": {"b": 1}}], "byName": {"k": {"every_epochs": 3}}, "anything": {"c": 1}}
    assert codec.from_plain(Outer, data, skipped) == Outer(
        name="x", many=[Inner(), Inner()], by_name={"k": Inner()}, anything={"c": 1}
    )
    assert skipped == ["nmae", "many[1].a", "byName.k.every_epochs"]
    assert codec.loads(Outer, json.dumps(data)).name == "x"
