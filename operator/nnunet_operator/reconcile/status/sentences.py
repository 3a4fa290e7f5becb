"""Parts of sentences that stand in several messages, and long texts made short where they are repeated."""

from __future__ import annotations

import re

LONGEST = 240
"""Characters that are repeated of another object's, or another condition's, message."""

KEEP_RESULTS = "To let the object go now and keep its results, set spec.retention to Retain."
"""The way out of a deletion that does not come to its end."""

NEVER_CHANGES = "never changes: create another"
"""In the message of what nothing but another object helps."""

_END = re.compile(r"(?<=[^\W_])[)\]'\"»]?\.\s+(?=[A-Z])")
"""A full stop that ends a sentence: `1.5` and `dataset.json` go on."""


def first_sentence(text: str, longest: int = LONGEST) -> str:
    """What a text begins with, without its last full stop; cut where that is too long."""
    found = _END.search(text)
    sentence = (text[: found.start() + len(found[0].rstrip()) - 1] if found else text).rstrip().rstrip(".")
    return sentence if len(sentence) <= longest else sentence[: longest - 1].rstrip() + "…"
