"""Folds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunet_trainer.contract.faults import BadConfiguration, BadData
from nnunet_trainer.dataset.splits import fold, make_splits, shortage, validates_each_case_once


def names(count: int) -> list[str]:
    return [f"case_{i:03}" for i in range(count)]


@pytest.mark.reference
@pytest.mark.parametrize("count", [5, 6, 7, 9, 12, 104, 260])
def test_as_the_wheel(count: int) -> None:
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    assert make_splits(names(count)[::-1]) == generate_crossval_split(names(count))


@settings(max_examples=50, deadline=None)
@given(count=st.integers(5, 60), patients=st.integers(5, 12))
def test_no_patient_is_on_both_sides(count: int, patients: int) -> None:
    cases = [f"p{i % patients:02}_{i}" for i in range(max(count, patients))]
    splits = make_splits(cases, group_by=r"^(p\d+)_")
    assert len(splits) == 5
    assert sorted(case for split in splits for case in split["val"]) == sorted(cases)
    for split in splits:
        assert sorted(split["train"] + split["val"]) == sorted(cases)
        assert not {c[:3] for c in split["train"]} & {c[:3] for c in split["val"]}


def test_a_group_expression_that_does_not_fit() -> None:
    with pytest.raises(BadConfiguration, match="no regular expression"):
        make_splits(names(9), group_by="(")
    with pytest.raises(BadConfiguration, match="does not match case_000"):
        make_splits(names(9), group_by="^p")


def test_folds_by_name() -> None:
    splits = make_splits(names(10))
    assert fold(splits, "0", names(10)) == (splits[0]["train"], splits[0]["val"])
    train, val = fold(splits, "all", names(10))
    assert train == val == names(10)
    with pytest.raises(BadConfiguration, match="no fold 'five'"):
        fold(splits, "five", names(10))


def test_a_fold_beyond_the_splits_is_random_as_in_nnunet() -> None:
    import numpy as np

    train, val = fold(make_splits(names(10)), "7", names(10))
    chosen = np.random.RandomState(12345 + 7).choice(10, 8, replace=False)
    assert train == [names(10)[i] for i in chosen]
    assert sorted(train + val) == names(10)


def test_too_few_cases() -> None:
    assert make_splits(names(4)) == []
    train, val = fold([], "0", names(4))  # 80:20
    assert (len(train), len(val)) == (3, 1)
    with pytest.raises(BadData, match="0 to train"):
        fold([], "0", names(1))


def test_a_split_that_names_what_is_not_there() -> None:
    with pytest.raises(BadData, match="names case_009"):
        fold(make_splits(names(10)), "0", names(9))


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ([("bc", "a"), ("ac", "b"), ("ab", "c")], True),
        ([("bc", "a"), ("a", "bc")], True),
        ([("bc", "a"), ("ac", "b")], False),  # c is never validated
        ([("bc", "a"), ("a", "bc"), ("bc", "a")], False),  # a second cross-validation
        ([("bc", "ab"), ("a", "bc")], False),
        ([("abc", "abc")], True),
    ],
)
def test_whether_each_case_is_validated_once(folds: list[tuple[str, str]], expected: bool) -> None:
    made = [{"train": [*train], "val": [*val]} for train, val in folds]
    assert validates_each_case_once(made) is expected


@pytest.mark.parametrize(
    ("cases", "group_by", "said"),
    [
        (5, None, None),
        (4, None, r"4 cases are too few for 5 folds: .*fold all.*splits_final.json.* random 80 % of the cases$"),
        (2, None, r"2 cases are too few for 5 folds: .* random 80 % of the cases$"),
        (1, None, r"1 case is too few for 5 folds: .*; fold 0 has nothing to train on$"),
        (20, r"\d$", None),
        (20, r"^(case_\d\d)", r"2 groups by splits.groupBy are too few for 5 folds: .*, whatever their group$"),
        (4, r"^(case)", r"1 group by splits.groupBy is too few for 5 folds: .*, whatever their group$"),
    ],
)
def test_too_few_for_five_folds(cases, group_by, said):
    found = shortage(names(cases), group_by)
    assert (found is None) == bool(make_splits(names(cases), group_by))
    assert found is None if said is None else re.search(said, found)
