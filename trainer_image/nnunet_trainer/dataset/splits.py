"""Cross-validation folds, the same as nnU-Net's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

from nnunet_trainer.contract.command_line import counted
from nnunet_trainer.contract.faults import BadConfiguration, BadData

FILE = "splits_final.json"
NUM_FOLDS = 5
FORM = '[{"train": ["case_1", …], "val": ["case_2", …]}, …]'
MISSING = "Preprocess these cases, or correct the file."
HINT = "Correct it, or delete it: five folds are made then."
SEED = 12345


class Split(TypedDict):
    """One fold of splits_final.json."""

    train: list[str]
    val: list[str]


def make_splits(case_names: Sequence[str], group_by: str | None = None) -> list[Split]:
    """Five folds over the sorted cases, as sklearn's `KFold(5, shuffle=True, random_state=12345)`.

    Args:
        case_names: all training cases.
        group_by: a regular expression; its first group (or the whole match) names the patient, and no patient is in both parts.

    Returns:
        splits_final.json's content; empty when there are fewer cases (or patients) than folds.

    Raises:
        BadConfiguration: an expression that is none, or that a case does not match.
    """
    names = sorted(case_names)
    groups = names if group_by is None else _groups(names, group_by)
    members = sorted(set(groups))
    if len(members) < NUM_FOLDS:
        return []
    order = np.arange(len(members))
    np.random.RandomState(SEED).shuffle(order)
    splits: list[Split] = []
    for part in np.array_split(order, NUM_FOLDS):  # the first (n mod 5) parts are one larger, as in KFold
        held = {members[i] for i in part}
        pairs = list(zip(names, groups, strict=True))
        splits.append({"train": [n for n, g in pairs if g not in held], "val": [n for n, g in pairs if g in held]})
    return splits


def shortage(case_names: Sequence[str], group_by: str | None = None) -> str | None:
    """What there is to say where `make_splits` makes no folds, as there are too few cases (or patients): what then is trained on.

    Args:
        case_names: all training cases; one at least.
        group_by: as for `make_splits`.

    Returns:
        None where it makes them.

    Raises:
        BadConfiguration: an expression that is none, or that a case does not match.
    """
    count = len(set(case_names if group_by is None else _groups(case_names, group_by)))
    if count >= NUM_FOLDS:
        return None
    what = counted(count, "case") if group_by is None else f"{counted(count, 'group')} by splits.groupBy"
    few = f"{what} {'is' if count == 1 else 'are'} too few for {NUM_FOLDS} folds"
    own = "fold all, or with folds of your own (splits_final.json beside dataset.json)"
    if len(case_names) == 1:
        return f"{few}: train with {own}; fold 0 has nothing to train on"
    whatever = "" if group_by is None else ", whatever their group"
    return f"{few}: train with {own}; fold 0, 1 … are trained on a random 80 % of the cases{whatever}"


def faults(content: Any, cases: Sequence[str] | None = None) -> list[str]:
    """All that is wrong with the content of a splits_final.json, one line for each fold; with `cases`, names that are none too."""
    if not isinstance(content, list):
        return [f"the document is no list; expected the folds, as {FORM}"]
    lines = []
    for number, split in enumerate(content):
        parts = [split.get(part) for part in ("train", "val")] if isinstance(split, dict) else [None]
        if not all(isinstance(part, list) and all(isinstance(name, str) for name in part) for part in parts):
            lines.append(f"fold {number} has no lists of cases named train and val; expected {FORM[1:-1]}")
        elif missing := sorted({name for part in parts for name in part} - set(cases)) if cases is not None else []:
            lines.append(f"fold {number} names {_few(missing)}, which the dataset does not have")
    return lines


def warnings(content: Sequence[Split]) -> list[str]:
    """What nnU-Net takes in silence but is hardly meant, one line each: a part without cases, a case twice in a part, or
    in both parts of a fold."""
    lines = []
    for number, split in enumerate(content):
        for part in ("train", "val"):
            names: list[str] = split[part]  # type: ignore[literal-required]
            if not names:
                lines.append(f"fold {number} has no cases in {part}, so that it cannot be trained")
            if twice := sorted(name for name, count in Counter(names).items() if count > 1):
                lines.append(f"fold {number} names {_few(twice)} more than once in {part}")
        if both := sorted(set(split["train"]) & set(split["val"])):
            lines.append(f"fold {number} has {_few(both)} in both train and val, so that it is validated on what it was trained on")
    return lines


def validates_each_case_once(splits: Sequence[Split]) -> bool:
    """Whether the folds' validations together are a cross-validation: every case of any fold is in exactly one `val`."""
    validated = [name for split in splits for name in split["val"]]
    return len(validated) == len(set(validated)) and {name for split in splits for name in split["train"]} <= set(validated)


def fold(splits: Sequence[Split], name: str, cases: Sequence[str]) -> tuple[list[str], list[str]]:
    """The training and validation cases of a fold.

    Args:
        splits: splits_final.json's content.
        name: "0", "1", … or "all" (every case is in both parts). A number beyond the splits is a random 80:20 split.
        cases: the cases there are.

    Raises:
        BadConfiguration: a fold that is neither a number nor "all".
        BadData: a split that names cases which are not there, or leaves one part empty.
    """
    names = sorted(cases)
    if name == "all":
        return names, list(names)
    if not re.fullmatch(r"\d+", str(name)):
        raise BadConfiguration("UnknownFold", f"There is no fold {name!r}: a fold is a number (0, 1, …) or all.")
    if found := faults(splits):
        raise BadData("InvalidSplits", f"splits_final.json: {'; '.join(found)}.", hint=HINT)
    number = int(name)
    if number < len(splits):
        train, val = list(splits[number]["train"]), list(splits[number]["val"])
    else:
        chosen = np.random.RandomState(SEED + number).choice(len(names), int(len(names) * 0.8), replace=False)
        train = [names[i] for i in chosen]
        val = [n for i, n in enumerate(names) if i not in set(chosen.tolist())]
    missing = sorted((set(train) | set(val)) - set(names))
    if missing:
        raise BadData(
            "InvalidSplits", f"Fold {name} of splits_final.json names {_few(missing)}, which the data does not have.", hint=MISSING
        )
    if not train or not val:
        raise BadData("TooFewCases", f"Fold {name} of {len(names)} cases has {len(train)} to train and {len(val)} to validate on.")
    return train, val


def _groups(names: Sequence[str], group_by: str) -> list[str]:
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise BadConfiguration("InvalidGroupBy", f"splits.groupBy {group_by!r} is no regular expression: {error}.") from error
    matches = [pattern.search(name) for name in names]
    unmatched = [name for name, match in zip(names, matches, strict=True) if match is None]
    if unmatched:
        raise BadConfiguration("InvalidGroupBy", f"splits.groupBy {group_by!r} does not match {_few(unmatched)}.")
    return [match.group(1 if pattern.groups else 0) for match in matches if match is not None]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
