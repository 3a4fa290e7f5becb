"""Logs: one JSON object a line in a pod, plain lines for a person.

What a line is about is passed to the logger as `extra={"object": key}`, a `reconcile.view.Key`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from ...reconcile.view import Key


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", "kind"?, "namespace"?, "name"?, "error"?}`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, str] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(about := getattr(record, "object", None), Key):
            entry |= about._asdict()
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """`12:34:56 message (object)`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        name = getattr(record, "object", None)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{moment} {level}{f'{name}: ' if name else ''}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(*, as_json: bool, verbose: bool) -> None:
    """Log to stderr. kopf and the clients speak only of trouble."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("nnunet_operator").setLevel(logging.DEBUG if verbose else logging.INFO)
    for noisy in ("kopf", "aiohttp", "kubernetes", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
