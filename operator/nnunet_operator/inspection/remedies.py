"""What to do about a condition's reason: the tables of docs/troubleshooting.md, which `remedies.json` holds for programs.

`make remedies` writes it anew from the document.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("remedies.json")
_ROW = re.compile(r"^\| `(?P<reason>[A-Za-z]+)` \| (?P<means>.*?) \| (?P<do>.*?) \|$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#]*)[^)]*\)")
SAME = "The same."
"""In the document: as the row above says."""


class Remedy(NamedTuple):
    """What a reason means, and what a person does about it."""

    means: str
    do: str

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is to be done."""
        return self.do.startswith("Nothing")


@cache
def all_of_them() -> dict[str, Remedy]:
    """By reason."""
    return {reason: Remedy(*row) for reason, row in json.loads(FILE.read_text(encoding="utf-8")).items()}


def of(reason: str) -> Remedy | None:
    """What to do about a reason; None for one of another version."""
    return all_of_them().get(reason)


def advice(reason: str) -> str:
    """What to do about a reason; empty where nothing is to be done, or it is not known."""
    found = of(reason)
    return "" if found is None or found.is_nothing else found.do


def from_document(text: str) -> dict[str, Remedy]:
    """Read the tables of docs/troubleshooting.md; links become the names of what they lead to."""
    found: dict[str, Remedy] = {}
    above = ""
    for row in _ROW.finditer(text):
        do = above if row["do"] == SAME else _plain(row["do"])
        found[row["reason"]] = Remedy(_plain(row["means"]), do)
        above = do
    return found


def _plain(text: str) -> str:
    return _LINK.sub(r"\1 (docs/\2)", text).replace("\\|", "|")


def write(document: Path, file: Path = FILE) -> None:
    """Write the document's tables for programs."""
    found = from_document(document.read_text(encoding="utf-8"))
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
