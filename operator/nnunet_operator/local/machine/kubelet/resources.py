"""What containers ask for, in Kubernetes' quantities."""

from __future__ import annotations

import re
from typing import Any

Manifest = dict[str, Any]

SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1024**power for power, letter in enumerate("KMGTP", start=1)
}


def quantity(text: str | float) -> float:
    """A Kubernetes quantity as a number: `500m` is 0.5, `2Gi` is 2147483648.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"([0-9.]+(?:[eE][-+]?[0-9]+)?)(m|k|[MGTP]|[KMGTP]i)?", str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    number, suffix = match.groups()
    return float(number) / 1000 if suffix == "m" else float(number) * SUFFIXES[suffix or ""]


def requested(container: Manifest, resource: str) -> float:
    """What a container asks for of a resource: its request, or its limit, or nothing."""
    resources = container.get("resources") or {}
    for side in ("requests", "limits"):
        if (amount := (resources.get(side) or {}).get(resource)) is not None:
            return quantity(amount)
    return 0.0
