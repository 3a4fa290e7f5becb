"""Encodings, messages and round trips of the YAML that people write."""

from __future__ import annotations

import codecs
import math
import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.yaml_text import reader, scalars, writer

TEXT = "a: ü\nb: 1e-3\n"
VALUE = {"a": "ü", "b": 0.001}


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_utf_8_with_or_without_a_mark(mark: bytes) -> None:
    assert reader.one(mark + TEXT.encode(), "x.yaml") == VALUE


@pytest.mark.parametrize("text", [TEXT, '{"a": 1}', "# only ASCII here\na: 1\n", "a"])
@pytest.mark.parametrize(
    ("codec", "mark", "said"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE, "UTF-16 (little-endian)"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "UTF-16 (big-endian)"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "UTF-32 (little-endian)"),
        ("utf-32-be", codecs.BOM_UTF32_BE, "UTF-32 (big-endian)"),
        ("utf-16-le", b"", "UTF-16 (little-endian)"),
        ("utf-16-be", b"", "UTF-16 (big-endian)"),
        ("utf-32-le", b"", "UTF-32 (little-endian)"),
        ("utf-32-be", b"", "UTF-32 (big-endian)"),
    ],
)
def test_another_encoding_is_refused_by_its_name(text: str, codec: str, mark: bytes, said: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        reader.one(mark + text.encode(codec), "dir/x.yaml")
    assert raised.value.message == f"dir/x.yaml is written in {said}; UTF-8 was expected."
    assert raised.value.hint.startswith("Save it as UTF-8: iconv -f utf-")


@pytest.mark.parametrize("codec", ["latin-1", "cp1252"])
def test_a_byte_that_is_not_utf_8_is_named_with_its_place(codec: str) -> None:
    with pytest.raises(BadConfiguration, match=r"^x\.yaml, line 2, column 5: the byte 0xfc is not UTF-8; .*Latin-1"):
        reader.one("a: 1\nb: gr\u00fcn\n".replace("gr", "g").encode(codec), "x.yaml")


@pytest.mark.parametrize("character", ["\0", "\x07", "\x1b", "\x7f", "\x80", "\ufffe"])
def test_a_control_character_is_named_with_its_place(character: str) -> None:
    with pytest.raises(BadConfiguration, match=rf"^x\.yaml, line 2, column 4: .*U\+{ord(character):04X} is not allowed"):
        reader.one(f"a: 1\nb: {character}\n", "x.yaml")


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: [\n", 2, 1, "A bracket, a brace or a comma may be missing."),
        ("a: 1\nb: c: d\n", 2, 5, "mapping values are not allowed"),
        ("a:\n\tb: 1\n", 2, 1, "indent with spaces"),
        ("a: 1\nb: @x\n", 2, 4, "needs quotes"),
        ("a: 'x\n", 2, 1, "that began in line 1"),
        ("a: 1\n---\nb: 1\nb: 2\n", 4, 1, "'b' is given twice; it is in line 3 already"),
        ("a: 1\n--- b\n", 2, 4, "follows the ---"),
        ("a: 1\n---\nb: {c: *d}\n", 3, 8, "*d refers to an anchor &d that is not above it"),
        ("a: 1\n---\nb: .inf\n", 3, 4, 'Write ".inf" if it is meant as text'),
        ("a: 1\n~: 2\n", 2, 1, "null cannot be a key"),
        ("a: !!int x\n", 1, 4, "not what its tag !!int says"),
        ("a: &x [*x]\n", 1, 8, "contains itself"),
        ("a: [x?y]\n", 1, 5, "Put the text into quotes"),
        ("d: {<<: 1}\n", 1, 9, "needs a mapping"),
        ("1: a\n'1': b\n", 2, 1, "'1' is given twice"),
        ("%YAML 1.2\n---\na: 1\n", 2, 1, ""),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_message_names_file_line_and_column(text: str, line: int, column: int, said: str, end: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        reader.documents(text.replace("\n", end).encode(), "dir/x.yaml")
    assert raised.value.reason == "InvalidYAML"
    assert raised.value.message.startswith(f"dir/x.yaml, line {line}, column {column}: "), raised.value.message
    assert said in str(raised.value)


def test_one_document_is_asked_for() -> None:
    assert reader.one(b"", "x") is None
    assert reader.one(b"---\n# nothing\n", "x") is None
    assert reader.one(b"---\na: 1\n---\n", "x") == {"a": 1}
    with pytest.raises(BadConfiguration, match="x holds 2 documents"):
        reader.one(b"a: 1\n---\nb: 2\n", "x")


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5000, "- " * 5000 + "a", '{"a":' * 100_000])
@pytest.mark.parametrize("parser", [yaml.SafeLoader, reader.PARSER])
def test_too_deep_a_text_is_refused_in_words(text: str, parser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PARSER", parser)
    with pytest.raises(BadConfiguration, match="nested"):
        reader.documents(text, "x.yaml")


@pytest.mark.parametrize(
    "line", ["a{0}: &a{0} [*a{1}]", "a{0}: &a{0} {{b: *a{1}}}", "a{0}: &a{0} {{<<: *a{1}}}", "a{0}: &a{0} {{<<: [*a{1}]}}"]
)
def test_too_deep_a_chain_of_aliases_is_refused_in_words(line: str) -> None:
    def chain(length: int) -> str:
        return "\n".join(["a0: &a0 {}", *(line.format(i, i - 1) for i in range(1, length))])

    assert len(reader.one(chain(20), "x.yaml")) == 20
    with pytest.raises(BadConfiguration, match="nested too deeply"):
        reader.one(chain(400), "x.yaml")


def test_as_deep_as_is_allowed() -> None:
    for text in ("[" * 100 + "]" * 100, "{a: " * 100 + "}" * 100, "\n".join(" " * i + "a:" for i in range(100))):
        assert reader.one(text, "x.yaml")


def test_what_stands_for_gigabytes_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(BadConfiguration, match="aliases of aliases"):
        reader.one("\n".join(lines), "x.yaml")


def test_what_an_alias_stands_for_is_nobody_elses() -> None:
    found = reader.one("a: &x {b: [1]}\nc: *x\n", "x.yaml")
    found["a"]["b"].append(2)
    assert found["c"] == {"b": [1]}


_SCALARS = [
    "", "~", "null", "y", "No", "on", "OFF", "true", "1", "-1", "+1", "1_000", "0x1F", "0o17", "017", "08", "0b1", "1e3", "1e-3",
    "1.", ".5", "-.5", "._5", ".1_0", ".inf", "-.INF", ".nan", "12:30", "1:60", "2026-11-28", "2026-11-28T10:00:00Z", "<<", "=",
    "-", "?", ":", "- a", "a: b", "a #b", "#a", "&a", "*a", "!a", "!!int 1", "%a", "@a", "`a", "{a", "[a", "a]", "a?b", "---",
    "...", "--- a", " a", "a ", "a\nb", "a\n", "\n", "\t", "a\tb", "|", ">", "'", '"', "\\", "\x00", "\x85", "\u2028", "\ufeff",
    "ü", "😀", "1e400", "18446744073709551616",
]  # fmt: skip


@pytest.mark.parametrize("parser", [yaml.SafeLoader, reader.PARSER])
@pytest.mark.parametrize("flow", [True, False])
def test_a_text_that_looks_like_something_else_is_written_in_quotes(parser: Any, flow: bool) -> None:
    value = {"values": _SCALARS, "keys": {text: text for text in _SCALARS}}
    text = writer.dumped(value, default_flow_style=flow)
    found = reader.document(text, "x.yaml", parser=parser)
    assert found["values"] == value["values"]
    assert list(found["keys"].items()) == list(value["keys"].items())


def _values() -> st.SearchStrategy[Any]:
    texts = st.text() | st.sampled_from(_SCALARS) | st.from_regex(r"[-+.0-9eExob_:~<yn]{1,8}", fullmatch=True)
    texts = texts.filter(lambda text: not any("\ud800" <= character <= "\udfff" for character in text))
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer() or abs(x) >= 1e21)
        | texts
    )
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(value=_values(), flow=st.sampled_from([True, False, None]))
def test_what_is_written_is_read_back(value: Any, flow: bool | None) -> None:
    text = writer.dumped(value, default_flow_style=flow)
    found = reader.documents(text.encode(), "x.yaml")
    assert found == ([] if value is None else [value]), text
    assert repr(found) == repr([] if value is None else [value])


def refusal(content: bytes | str) -> str:
    """The message by which a file is refused, empty where it is not."""
    try:
        reader.documents(content, "x.yaml")
    except BadConfiguration as fault:
        return fault.message
    return ""


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    assert re.fullmatch(r"(x\.yaml.+)?", refusal(text))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(content=st.binary())
def test_any_bytes_are_read_or_refused_in_words(content: bytes) -> None:
    assert re.fullmatch(r"(x\.yaml.+)?", refusal(content))


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_what_it_is_after_json(value: float) -> None:
    assert float(scalars.json_number(value)) == value


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_json_holds_finite_numbers_only(value: float) -> None:
    with pytest.raises(scalars.Unreadable, match="finite"):
        scalars.json_number(value)
