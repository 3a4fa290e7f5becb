"""What the client makes of a stream, and of the environment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from nnunet_operator.cluster.api import client


class Stream:
    """A body that comes in these chunks."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    async def iter_any(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\ntwo\n"], [b"one", b"two"]),
        ([b"o", b"n", b"e\nt", b"wo\n"], [b"one", b"two"]),
        ([b"one", b"\n", b"\n", b"two\n"], [b"one", b"two"]),
        ([b"one\n", b"cut off"], [b"one"]),  # the connection ended within an event
        ([b"x" * 300_000, b"y" * 300_000 + b"\nz\n"], [b"x" * 300_000 + b"y" * 300_000, b"z"]),
        ([], []),
    ],
)
async def test_lines_are_whole_wherever_the_chunks_end(chunks: list[bytes], lines: list[bytes]) -> None:
    stream: Any = Stream(*chunks)
    assert [line async for line in client._lines(stream)] == lines


@pytest.mark.parametrize(
    ("environment", "host", "proxy"),
    [
        ({}, "https://10.0.0.1", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://api.example:6443", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "https://api.example:6443", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "api.example"}, "https://api.example:6443", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1"}, "https://10.0.0.1", None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example"}, "https://api.example", None),
    ],
)
def test_the_proxy_is_that_of_the_environment(
    environment: dict[str, str], host: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert client._proxy(host) == proxy
