"""The event loop that the operator runs in."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop
from nnunet_operator.cluster import command


@pytest.mark.parametrize("installed", [True, False])
def test_it_is_uvloops_where_that_is_installed(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = command._event_loop()
    try:
        assert isinstance(loop, uvloop.Loop) == installed
        assert loop.run_until_complete(asyncio.sleep(0, "done")) == "done"
    finally:
        loop.close()
