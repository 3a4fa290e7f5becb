"""What is asked of an API server, and what is not."""

from __future__ import annotations

import asyncio

import pytest
from kubectl_nnunet.api_reader import ApiReader


class Unasked:
    """An API that nothing may be asked of."""

    def get(self, *_: object) -> object:
        raise AssertionError


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "run/log"])
def test_what_is_no_name_is_not_there(name: str) -> None:
    loop = asyncio.new_event_loop()
    try:
        assert ApiReader(Unasked(), loop).get("TrainingRun", "ns", name) is None  # type: ignore[arg-type]
    finally:
        loop.close()
