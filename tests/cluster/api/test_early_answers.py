"""A server that answers before it has read a request to its end: why it does stands in the answer, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nnunet_operator.cluster.api.connection import NoAnswer
from nnunet_operator.cluster.api.connections import Connections

LONG = b"x" * 8_000_000
"""More than two sockets hold: as long as the server does not read it, it cannot be sent."""
TEXT = b'{"kind": "Status", "message": "no"}'
REASONS = {200: "OK", 413: "Request Entity Too Large", 429: "Too Many Requests", 500: "Internal Server Error"}


def answer(status: int, fields: str = "", content: bytes = TEXT) -> bytes:
    return f"HTTP/1.1 {status} {REASONS[status]}\r\n{fields}\r\n".encode() + content


LENGTH = f"Content-Length: {len(TEXT)}\r\n"


@asynccontextmanager
async def refusing(said: bytes, then: str) -> AsyncIterator[Connections]:
    """Reads a request's head alone, and hangs up on the rest, or waits."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        if then == "half closes":
            writer.write_eof()
        if then != "closes":
            await over.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    context: Any = None  # of http
    client = Connections(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", context, at_once=4)
    try:
        yield client
    finally:
        over.set()
        await client.close()
        listening.close()
        await listening.wait_closed()


@pytest.mark.parametrize("status", [200, 413, 429, 500])
@pytest.mark.parametrize("then", ["closes", "half closes", "waits"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_the_status_of_an_early_answer_is_seen(status: int, then: str, method: str) -> None:
    async with refusing(answer(status, LENGTH), then) as client:
        for _ in range(2):
            found = await client.request(method, "/api", {}, LONG, 60)
            assert (found.status, found.content) == (status, TEXT)
            assert not client._idle, "the rest of the request would be taken for the next one"


@pytest.mark.parametrize("fields", ["", "Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_a_refusal_counts_whose_text_is_cut(fields: str) -> None:
    async with refusing(answer(413, fields, b"" if "chunked" in fields else TEXT), "closes") as client:
        assert (await client.request("PATCH", "/api", {}, LONG, 60)).status == 413


@pytest.mark.parametrize("fields", ["", "Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_an_answer_of_success_that_is_cut_is_none(fields: str) -> None:
    async with refusing(answer(200, fields), "closes") as client:
        with pytest.raises(NoAnswer):
            await client.request("PATCH", "/api", {}, LONG, 60)


async def test_a_server_that_hangs_up_without_an_answer_has_said_nothing() -> None:
    async with refusing(b"", "closes") as client:
        with pytest.raises(NoAnswer):
            await client.request("PATCH", "/api", {}, LONG, 60)
