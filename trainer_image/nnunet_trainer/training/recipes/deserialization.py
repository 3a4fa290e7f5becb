"""Recipes from camelCase data: `extensions.schema` says what a field may hold, `contract.catalogue.shapes` checks it."""

from __future__ import annotations

from typing import Any, TypeVar

from nnunet_trainer.contract.catalogue.shapes import Checker
from nnunet_trainer.extensions import schema

from ..components import lookup

T = TypeVar("T")


def changed(base: T, changes: Any, where: str) -> T:
    """A copy of a dataclass with some fields changed; nested objects merge, lists replace.

    Raises:
        BadConfiguration: a field is unknown, of the wrong type or out of its range.
    """
    merged = Checker(find=lookup.parameters).check(schema.shape_of(type(base)), changes, where, schema.plain(base))
    return build(type(base), merged)


def build(hint: Any, value: Any) -> Any:
    """The value of a type hint from checked data (`schema.build`), with the components that are known here."""
    return schema.build(hint, value, lookup.find)
