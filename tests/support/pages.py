"""Code blocks of the documentation's pages, which tests run."""

from __future__ import annotations

import re

from .controlplane import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def all_blocks(page: str) -> list[tuple[str, str]]:
    """Language and content of each block of a page of docs/, in order."""
    return FENCE.findall((ROOT / "docs" / page).read_text())


def blocks(page: str, language: str) -> list[str]:
    """The content of those in one language."""
    return [body for found, body in all_blocks(page) if found == language]
