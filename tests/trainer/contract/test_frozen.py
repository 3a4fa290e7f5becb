"""What earlier versions wrote is read, and means what it meant (`freeze.py` writes the folders)."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from typing import Any, Literal

import pytest
from nnunet_trainer.contract import progress, report, work_order
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.json_text.codec import SINCE

from . import freeze

VERSIONS = sorted(path.name for path in freeze.FROZEN.iterdir())


def frozen(version: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((freeze.FROZEN / version / f"{name}.json").read_text())
    return content


def each(name: str) -> Any:
    cases = [(version, key) for version in VERSIONS for key in frozen(version, name)]
    return pytest.mark.parametrize(("version", "key"), cases, ids=["-".join(case) for case in cases])


def test_the_first_version_is_there() -> None:
    assert "0.1.0" in VERSIONS


def contains(whole: Any, part: Any) -> bool:
    """Whether all that `part` says stands in `whole`."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


@each("orders")
def test_an_order_is_read_and_nothing_of_it_is_lost(version: str, key: str) -> None:
    written = frozen(version, "orders")[key]
    order = work_order.decode(json.dumps(written))
    assert contains(codec.to_plain(order), {name: value for name, value in written.items() if name != work_order.REQUIRES})
    assert work_order.decode(work_order.encode(order)) == order


@each("digests")
def test_the_digest_of_what_an_order_makes_is_what_it_was(version: str, key: str) -> None:
    order = work_order.decode(json.dumps(frozen(version, "orders")[key]))
    assert freeze.digest_of(order) == frozen(version, "digests")[key]


@each("reports")
def test_a_report_is_read_and_nothing_of_it_is_lost(version: str, key: str) -> None:
    written = frozen(version, "reports")[key]
    found = report.decode(json.dumps(written))
    assert found is not None
    assert contains(codec.to_plain(found), written)


@each("progress")
def test_progress_is_heard_and_nothing_of_it_is_lost(version: str, key: str) -> None:
    written = frozen(version, "progress")[key]
    found = progress.decode(json.dumps(written))
    assert found is not None
    assert contains(codec.to_plain(found), written)


def values(text: str) -> set[Any]:
    """The values of a `Literal`, from its text."""
    return set(typing.get_args(eval(text, {"Literal": Literal}))) if text.startswith("Literal[") else set()


def number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


@each("fields")
def test_the_contract_only_grows(version: str, key: str) -> None:
    """No field goes, none gets another type or default; what was added says since when (`contract.json_text.additions`)."""
    before, kind = frozen(version, "fields")[key], freeze.contract()[key]
    now, metadata = freeze.fields_of(kind), {codec.camel(item.name): item.metadata for item in dataclasses.fields(kind)}
    for name, field in before.items():
        assert now[name].get("default", ...) == field.get("default", ...), f"{key}.{name} has another default"
        if more := values(now[name]["type"]):
            assert more >= values(field["type"]), f"{key}.{name} has lost a value"
            declared = metadata[name].get("values", {})
            assert more - values(field["type"]) == {v for v, since in declared.items() if number(since) > number(version)}
        else:
            assert now[name]["type"] == field["type"], f"{key}.{name} has another type"
    for name in now.keys() - before.keys():
        assert number(metadata[name].get(SINCE, "0")) > number(version), f"{key}.{name} does not say since when it is there"
        assert "default" in now[name]
