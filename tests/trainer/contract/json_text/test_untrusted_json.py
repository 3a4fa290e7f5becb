"""What a pod says is read into data that can be written down anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract import progress, report
from nnunet_trainer.contract.json_text import untrusted_json

TEXTS = st.text(st.characters(codec=None) | st.characters(categories=["Cs", "Cc"]), max_size=20)
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**18, 10**40) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ('"case\\udcff.nii.gz"', "case\\xff.nii.gz"),
        ('"\\ud800"', "\\ud800"),
        ('"\\u001b[31mred\\u0007"', "\\x1b[31mred\\x07"),
        ('"\\u0000\\r"', "\\x00\\x0d"),
        ('"two\\nlines,\\tä ☃ \\ud83d\\ude00"', "two\nlines,\tä ☃ 😀"),
        ('{"\\udcff": ["\\udcff"]}', {"\\xff": ["\\xff"]}),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63) + 1), -(2**63) + 1),
        (str(2**63), None),
        (f"[{'9' * 5000}, -{'9' * 5000}]", [None, None]),
        ("[" * 16 + "]" * 16, None),
    ],
)
def test_what_is_read(said: str, read: Any) -> None:
    found = untrusted_json.parse(said, 20_000)
    if said.startswith("[["):
        assert json.dumps(found) == said
    else:
        assert found == read


@pytest.mark.parametrize("said", ["[" * 17 + "]" * 17, "[" * 9000 + "]" * 9000, "{", "", '"' + "x" * 20_000 + '"', b"\xff\xfe\xfd"])
def test_what_is_not_read(said: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"longer|nested|Expecting|decode"):
        untrusted_json.parse(said, 20_000)


@given(HOSTILE)
def test_all_that_is_read_can_be_encoded(value: Any) -> None:
    text = json.dumps(value)
    try:
        found = untrusted_json.parse(text, 100_000)
    except ValueError:
        return
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("decode", [report.decode, progress.decode])
@pytest.mark.parametrize(
    "said",
    [
        f'{{"step": "train", "version": {"9" * 5000}, "epoch": {"9" * 5000}}}'.replace('"epoch"', '"done"'),
        '{"step": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"step": 5}',
        "null",
        "[]",
        "NaN",
        '{"step": "train", "x": "' + "x" * 20_000 + '"}',
    ],
)
def test_hostile_documents_are_neither_reports_nor_progress(decode: Any, said: str) -> None:
    assert decode(said) is None


@pytest.mark.parametrize("field", ["resumedFromEpoch", "checkpointEpoch", "epoch", "epochs", "done", "total"])
@pytest.mark.parametrize("value", [-1, 10**8, 2**62])
def test_progress_that_counts_beyond_all_sense_is_none(field: str, value: int) -> None:
    assert progress.decode(json.dumps({"step": "train", field: value})) is None


@given(st.dictionaries(st.sampled_from(sorted(progress.Progress.__slots__)), HOSTILE))
def test_any_progress_is_readable_or_none(said: dict[str, Any]) -> None:
    progress.decode(json.dumps({"step": "train", **said}))
