from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract import progress
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.progress import Progress

finite = st.none() | st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 10**7)
printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10)


@given(
    st.builds(
        Progress,
        step=printable,
        phase=printable,
        done=counts,
        total=counts,
        epoch=st.none() | counts,
        train_loss=finite,
        val_loss=finite,
    )
)
def test_what_is_said_is_heard(said: Progress) -> None:
    assert progress.decode(codec.dumps(said)) == said


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_garbage_is_not_heard(text: bytes | str) -> None:
    assert progress.decode(text) is None


@pytest.mark.parametrize(
    "document",
    [
        {"step": "train", "trainLoss": float("nan")},
        {"step": "train", "etaSeconds": float("inf")},
        {"step": "train", "done": -1},
        {"step": "train", "epoch": 10**9},
        {"step": "train", "epochs": "5"},
        {"step": "train", "done": True},
        {"step": 1},
        {},
        [],
        "train",
    ],
)
def test_nonsense_is_not_heard(document: object) -> None:
    assert progress.decode(json.dumps(document)) is None


def test_what_is_too_long_or_too_deep_is_not_heard() -> None:
    assert progress.decode(json.dumps({"step": "x" * progress.MAX_BYTES})) is None
    assert progress.decode("[" * (progress.MAX_BYTES - 1)) is None


def test_a_diverged_loss_is_left_out_not_hidden() -> None:
    """NaN is not JSON: whoever reports must leave it out, and then the rest is heard."""
    assert progress.decode('{"step": "train", "epoch": 3, "warnings": ["the loss is NaN"]}') == Progress(
        step="train", epoch=3, warnings=["the loss is NaN"]
    )
