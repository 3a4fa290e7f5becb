"""Tests of connections run in both event loops that the operator may run in: uvloop's, and asyncio's where there is no uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

OF_CONNECTIONS = ("test_connections.py", "test_early_answers.py", "test_streams.py", "test_watch_in_batches.py")
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Of pytest-asyncio: what makes the event loops of a test, by name."""
    return LOOPS if item.path.name in OF_CONNECTIONS else {"asyncio": asyncio.new_event_loop}
