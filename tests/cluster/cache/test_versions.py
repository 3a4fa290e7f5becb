"""Which of two resourceVersions takes the place of the other: numbers grow, and what is no number never freezes an object."""

from __future__ import annotations

import pytest
from nnunet_operator.cluster.cache.versions import is_newer, number


@pytest.mark.parametrize(
    ("version", "than", "newer"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("9", "9", False),
        ("99999999999999999999", "9", True),  # more than 64 bits
        ("b", "a", True),
        ("a", "b", True),
        ("a", "a", False),
        ("7", "a", True),
        ("a", "7", True),
        ("", "7", True),
        ("", "", False),
        ("-1", "7", True),
        ("1.5", "7", True),
        ("٣", "7", True),  # a digit, and none of etcd's
    ],
)
def test_the_newer_of_two(version: str, than: str, newer: bool) -> None:
    assert is_newer(version, than) is newer


@pytest.mark.parametrize("text", ["", "a", "-1", "+1", "1.5", " 1", "1\n", "٣", "1" * 41])
def test_no_number(text: str) -> None:
    assert number(text) is None
