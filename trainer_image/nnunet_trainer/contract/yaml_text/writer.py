"""YAML that kubectl and this package read back as the same value: `1e-3` and `12:30` as text are quoted."""

from __future__ import annotations

import re
from typing import Any

import yaml

from . import scalars

_ESCAPED = re.compile("[\r\x85\u2028\u2029\ufeff]")


class Dumper(yaml.SafeDumper):
    """Quotes every text that kubectl, or a reader of YAML 1.1 by the letter, would take for something else. No anchors."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag that a reader gives a node; a text is written without quotes where that is !!str."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is yaml.ScalarNode and implicit[0] and tag == f"{scalars.TAG}str":
            return f"{scalars.TAG}{scalars.implicit(value)[0]}"
        return tag

    def ignore_aliases(self, data: Any) -> bool:
        """What stands twice is written twice."""
        return True

    def text(self, value: str) -> Any:
        """A text with characters that single quotes do not keep stands in double quotes, where they are escaped."""
        style = '"' if _ESCAPED.search(value) else None
        return self.represent_scalar(f"{scalars.TAG}str", value, style=style)


Dumper.add_representer(str, Dumper.text)


def dumped(value: Any, **layout: Any) -> str:
    """A JSON value as YAML, keys in their order.

    Args:
        value: dict, list, str, int, float, bool or None.
        layout: PyYAML's options, such as `width`.
    """
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, **layout)
    return text
