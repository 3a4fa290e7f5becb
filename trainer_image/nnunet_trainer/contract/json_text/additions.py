"""What a later version may add to the contract, so that an earlier one reads it still.

A dataclass of the contract grows by fields with a default and by values of a `Literal`. What is added says since when it is there:

    label_smoothing: float = added("0.2.0", default=0.0)
    normalization: Literal["Transfer", "Recompute", "Keep"] = extended("Transfer", {"Keep": "0.3.0"})

A work order leaves out what is at its default, so an earlier trainer never meets what is not asked for. What is asked for stands in
the order's `requires`, by its path, with the version that knows it: a trainer that would skip it refuses the order instead. That
holds for every addition unless it says `skippable=True`: then it decides nothing of the result. A default never changes: what an
order leaves out is filled in by the trainer that reads it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .codec import SINCE, at_default, camel

_SKIPPABLE = "skippable"
_VALUES = "values"


def added(
    version: str, *, default: Any = dataclasses.MISSING, default_factory: Any = dataclasses.MISSING, skippable: bool = False
) -> Any:
    """A field of a dataclass that a version added.

    Args:
        version: the first one that knows it.
        default: what its absence means; or `default_factory`, which makes that.
        skippable: whether an order is carried out well by a trainer that does not know it.
    """
    about = {SINCE: version, _SKIPPABLE: skippable}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=about)
    return dataclasses.field(default=default, metadata=about)


def extended(default: Any, values: Mapping[Any, str]) -> Any:
    """A field to whose values some were added: each of those, and the first version that knows it."""
    return dataclasses.field(default=default, metadata={_VALUES: dict(values)})


def requirements(value: Any) -> dict[str, str]:
    """What in a dataclass an earlier version would not know and must not skip: by its path in JSON, the version that added it."""
    return dict(_requirements(value, ""))


def unmet(required: Mapping[str, str], skipped: Iterable[str]) -> dict[str, str]:
    """Those requirements that were skipped, or stand in something that was."""
    gone = list(skipped)
    return {path: version for path, version in required.items() if any(_within(path, other) for other in gone)}


def newest(versions: Iterable[str]) -> str:
    """The highest of some versions (`1.2.3`)."""
    return max(versions, key=lambda version: [int(part) if part.isdigit() else -1 for part in version.split(".")])


_LEAVES = (str, int, float, type(None))
"""Most of what an order holds: nothing is below it."""


def _requirements(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            item, below = getattr(value, field.name), f"{path}.{camel(field.name)}" if path else camel(field.name)
            about = field.metadata
            if SINCE in about and not about[_SKIPPABLE] and not at_default(value, field):
                yield below, about[SINCE]
            if isinstance(item, str) and item in about.get(_VALUES, {}):
                yield below, about[_VALUES][item]
            if not isinstance(item, _LEAVES):
                yield from _requirements(item, below)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(item, _LEAVES):
                yield from _requirements(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            if not isinstance(item, _LEAVES):
                yield from _requirements(item, f"{path}[{i}]")


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith((f"{other}.", f"{other}["))
