from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract import report
from nnunet_trainer.contract.report import MAX_BYTES, Artifact, Error, Report

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200)  # what else there is comes back escaped
uris = st.text("abc/:-.", max_size=300)
long_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=500, max_size=3000) | st.text(
    '×\n"\\\U0001f9e0é', min_size=400, max_size=2500
)
artifacts = st.lists(
    st.builds(
        Artifact,
        kind=st.sampled_from(["dataset", "plans", "run"]),
        uri=uris,
        digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    ),
    max_size=2,
)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
summaries = st.dictionaries(st.text(min_size=1, max_size=30), leaves | st.lists(leaves, max_size=60) | long_texts, max_size=40)
errors = st.none() | st.builds(
    Error,
    code=st.integers(1, 255),
    reason=st.from_regex(r"\A[A-Z][A-Za-z]{2,40}\Z"),
    message=texts | long_texts,
    hint=texts | long_texts,
)
reports = st.builds(
    Report,
    step=st.sampled_from(["dataset", "train"]),
    artifacts=artifacts,
    summary=summaries,
    error=errors,
    detail=st.none() | uris,
)


@given(reports)
def test_a_report_always_fits_and_keeps_what_the_operator_needs(value: Report) -> None:
    text = report.encode(value)
    assert len(text.encode()) <= MAX_BYTES
    found = report.decode(text)
    assert found is not None
    assert found.artifacts == value.artifacts
    assert found.detail == value.detail
    assert (found.error is None) == (value.error is None)
    if value.error and found.error:
        assert (found.error.code, found.error.reason) == (value.error.code, value.error.reason)
        assert found.error.message[:50] == value.error.message[:50]


@given(reports)
def test_a_short_report_is_not_cut(value: Report) -> None:
    short = replace(value, summary={}, error=None)
    assert report.decode(report.encode(short)) == short


def test_a_cut_says_so() -> None:
    many: dict[str, Any] = {"cases": 5, "names": [f"case_{i}" for i in range(1000)]}
    found = report.decode(report.encode(Report(step="dataset", summary=many)))
    assert found is not None
    assert found.summary == {"cases": 5, "cut": True}
    error = Error(code=65, reason="InvalidCases", message="x" * 10_000, hint="Repair them.")
    found = report.decode(report.encode(Report(step="dataset", error=error)))
    assert found is not None
    assert found.error is not None
    assert found.error.message.endswith("(cut)")
    assert found.error.hint == "Repair them."
    assert len(found.error.message) > 3000


@pytest.mark.parametrize(
    "text", ["", "Killed", "Traceback (most recent call last):\n", "{}", "[]", "null", '{"step": 1}', "[" * 50_000]
)
def test_what_is_no_report_is_none(text: str) -> None:
    assert report.decode(text) is None


def test_a_report_of_another_version_is_none() -> None:
    document = json.loads(report.encode(Report(step="train")))
    assert report.decode(json.dumps(document)) is not None
    assert report.decode(json.dumps({**document, "version": 99})) is None


@given(st.text(max_size=300))
def test_garbage_is_none(text: str) -> None:
    assert report.decode(text) is None


@given(reports, st.data())
def test_the_tail_of_a_report_is_none(value: Report, data: st.DataObject) -> None:
    text = report.encode(value)
    assert report.decode(text[data.draw(st.integers(1, len(text) - 1)) :]) is None


def test_the_first_artifact_of_a_kind() -> None:
    a, b = Artifact(kind="plans", uri="a", digest="1"), Artifact(kind="plans", uri="b", digest="2")
    assert Report(step="plan", artifacts=[a, b]).artifact("plans") == a
    assert Report(step="plan", artifacts=[a]).artifact("run") is None
