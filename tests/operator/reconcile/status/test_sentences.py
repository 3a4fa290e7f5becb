"""The first sentence of a text."""

from __future__ import annotations

import pytest
from nnunet_operator.reconcile.status.sentences import first_sentence


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("One. Two.", "One"),
        ("One", "One"),
        ("dataset.json names 0 to 1.5. Repair it.", "dataset.json names 0 to 1.5"),
        ('it is "x". Then.', 'it is "x"'),
        ("fold 0 (attempt 1): gone (node a). It goes on.", "fold 0 (attempt 1): gone (node a)"),
        ("see https://example.org. more", "see https://example.org. more"),
        ("a" * 300, "a" * 239 + "…"),
        ("", ""),
    ],
)
def test_the_first_sentence(text: str, begins: str) -> None:
    assert first_sentence(text) == begins
