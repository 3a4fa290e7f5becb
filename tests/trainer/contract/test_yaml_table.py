"""Our reader against a table that kubectl's own Go modules made (`yaml_table/main.go` makes it again)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.contract.yaml_text import reader

FOLDER = Path(__file__).parent / "yaml_table"
ROWS = [json.loads(line) for line in (FOLDER / "table.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]

REFUSED = "refused"
STRICTER = {"[a:]\n", "[-:]\n", "{a:, b: 1}\n"}
"""PyYAML's grammar knows no plain text here that ends with a colon, and says so."""
LOOSER = ('"\\/"', '\\u00fc\\/"', '{"a": 1}\n{"b": 2}\nc: 3\n')
"""`\\/` is JSON's escape of a slash, which kubectl knows in JSON alone."""


def typed(value: Any) -> Any:
    """1, 1.0 and true are equal in Python; here they differ. Keys have no order."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        value = int(value)  # JSON as it was written, such as 1.0, which Go writes as 1
    return type(value).__name__, repr(value)


def wanted(row: dict[str, Any], text: str) -> Any:
    """What kubectl makes of it; refused where it drops what follows, or one of two equal keys, in silence."""
    if "error" in row or row.get("rest") or ("strict" in row and "<<" not in text):
        return REFUSED
    return typed(row["json"])


def found(row: dict[str, Any], text: str, parser: Any) -> Any:
    try:
        return typed(reader.document(text, "x.yaml", parser=parser) if "document" in row else reader.documents(text, "x.yaml"))
    except BadConfiguration as fault:
        return REFUSED if re.fullmatch(r"x\.yaml, line \d+, column \d+: .+", fault.message) else fault.message


def texts(row: dict[str, Any]) -> str:
    return str(row.get("document", row.get("stream")))


def test_the_table_is_a_large_one() -> None:
    assert len(ROWS) > 5000
    assert sum("error" in row for row in ROWS) > 500


@pytest.mark.parametrize("what", ["document", "stream"])
def test_every_text_is_read_as_kubectl_reads_it(what: str) -> None:
    wrong = []
    for row in ROWS:
        text = texts(row)
        if what not in row or text in STRICTER or any(part in text for part in LOOSER):
            continue
        if text in ('{"a": 1, "a": 2}\n', '{"a": 1e400}\n', '{"a": "\\ud83d"}\n'):
            continue  # JSON, of which the table holds the text and not the value: below
        if (got := found(row, text, None)) != wanted(row, text):
            wrong.append((text, got, wanted(row, text)))
    assert wrong == []


@pytest.mark.parametrize("text", sorted(STRICTER))
def test_where_pyyaml_is_stricter_it_refuses(text: str) -> None:
    with pytest.raises(BadConfiguration):
        reader.documents(text, "x.yaml")


def test_json_is_read_as_json() -> None:
    assert reader.documents('{"a": "\\ud83d", "b": "\\ud83d\\ude00"}', "x.json") == [{"a": "\ufffd", "b": "😀"}]
    for text, said in (('{"a": 1, "a": 2}', "'a' is given twice"), ('{"a": 1e400}', "1e400: JSON")):
        with pytest.raises(BadConfiguration, match=said):
            reader.documents(text, "x.json")


def test_without_libyaml_nothing_is_read_otherwise() -> None:
    """PyYAML's own parser takes fewer texts (no tabs between tokens), and no text for another value."""
    wrong = []
    for row in ROWS:
        text = texts(row)
        if "document" not in row or text in STRICTER or any(part in text for part in LOOSER) or text.startswith("%FOO"):
            continue
        if (got := found(row, text, yaml.SafeLoader)) not in (wanted(row, text), REFUSED if "\t" in text else None):
            wrong.append((text, got))
    assert wrong == []
