"""Logs of a step's processes: one JSON object a line in a pod, plain lines elsewhere."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

ENV_POD = "POD_NAME"
"""Set in pods, by the operator."""
OWN = "nnunet_trainer"


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", "rank"?, "error"?}`, as the operator's own log has them."""

    def __init__(self, rank: str | None) -> None:
        super().__init__()
        self._rank = rank

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._rank is not None:
            entry["rank"] = int(self._rank)
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure(environment: Mapping[str, str] = os.environ) -> None:
    """Log to stderr. Libraries speak only of trouble, and their warnings are lines of the log too."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter(environment.get("RANK")) if environment.get(ENV_POD) else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(OWN).setLevel(logging.INFO)
    logging.captureWarnings(True)
