"""A log line says what it is about in fields of their own."""

from __future__ import annotations

import json
import logging

import pytest
from nnunet_operator.cluster.monitoring.logs import JsonFormatter, PlainFormatter
from nnunet_operator.reconcile.view import Key


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """A line about an object, one about none, one with an error."""
    log = logging.getLogger("nnunet_operator.tests")
    with caplog.at_level(logging.INFO):
        log.info("created Job %s", "run-0", extra={"object": Key("TrainingRun", "team-a", "run")})
        log.info("working")
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("a bug", extra={"object": Key("Dataset", "team-b", "brain\n")})
    return list(caplog.records)


def test_json_has_kind_namespace_and_name(records: list[logging.LogRecord]) -> None:
    about, nothing, error = (json.loads(JsonFormatter().format(record)) for record in records)
    assert {k: about[k] for k in ("kind", "namespace", "name")} == {"kind": "TrainingRun", "namespace": "team-a", "name": "run"}
    assert (about["message"], about["level"], about["logger"]) == ("created Job run-0", "info", "nnunet_operator.tests")
    assert set(nothing) == {"time", "level", "logger", "message"}
    assert "ValueError: no" in error["error"]
    assert error["name"] == "brain\n"


def test_a_line_of_json_is_one_line(records: list[logging.LogRecord]) -> None:
    assert all("\n" not in JsonFormatter().format(record) for record in records)


def test_plain_text_names_the_object_first(records: list[logging.LogRecord]) -> None:
    about, nothing, _ = (PlainFormatter().format(record) for record in records)
    assert about.endswith(" TrainingRun team-a/run: created Job run-0")
    assert nothing.endswith(" working")
