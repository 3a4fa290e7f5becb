"""Answers that are read as they come, from a server that sends them piece by piece."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nnunet_operator.cluster.api import streams
from support.certificates import self_signed

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Pieces:
    """An answer whose content comes in these pieces, over no connection."""

    connection = None

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    @property
    def content(self) -> Pieces:
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@pytest.mark.parametrize(
    ("pieces", "lines", "text"),
    [
        ([b"one\ntwo\n"], [b"one", b"two"], []),
        ([b"o", b"n", b"e\nt", b"wo\n"], [b"one", b"two"], []),
        ([b"one", b"\n", b"\n", b"two\n"], [b"one", b"two"], [b"one", b"", b"two"]),
        ([b"one\n", b"cut off"], [b"one"], [b"one", b"cut off"]),  # the connection ended within an event
        ([b"x" * 300_000, b"y" * 300_000 + b"\nz\n"], [b"x" * 300_000 + b"y" * 300_000, b"z"], []),
        ([], [], []),
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.001])
async def test_lines_are_whole_wherever_the_pieces_end(
    pieces: list[bytes], lines: list[bytes], text: list[bytes], pause: float
) -> None:
    answer: Any = Pieces(*pieces)
    assert [line async for found in streams.lines(answer, pause=pause) for line in found] == lines
    assert [line async for found in streams.lines(answer, text=True, pause=pause) for line in found] == (text or lines)


@asynccontextmanager
async def sending(go_on: asyncio.Event, *pieces: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer of a server that sends the first piece, then the others one by one once it may, then ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await go_on.wait()
        writer.write(b"0\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        yield answer
    listening.close()
    await listening.wait_closed()


async def test_what_comes_while_nothing_is_read_is_read_at_once_and_none_of_it_is_lost() -> None:
    go_on = asyncio.Event()
    async with sending(go_on, b"one\n", b"two\n", b"thr", b"ee\n", b"x" * 3_000_000 + b"\n") as answer:
        batches: list[list[bytes]] = []
        async for lines in streams.lines(answer, pause=0.2):
            batches.append(lines)
            go_on.set()
        assert [line for lines in batches for line in lines] == [b"one", b"two", b"three", b"x" * 3_000_000]
        assert batches[0] == [b"one"], "what comes first is told at once"


async def test_a_reader_that_is_stopped_while_it_pauses_leaves_nothing_behind() -> None:
    go_on = asyncio.Event()
    async with sending(go_on, b"one\n", b"two\n") as answer:
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in streams.lines(answer, pause=60):
                begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        go_on.set()
        assert await answer.content.read() == b"two\n"


async def test_an_answer_that_is_closed_meanwhile_is_an_interrupted_one() -> None:
    go_on = asyncio.Event()
    async with sending(go_on, b"one\n", b"two\n") as answer:
        batches = streams.lines(answer, pause=0.05)
        assert await anext(batches) == [b"one"]
        answer.close()
        with pytest.raises(aiohttp.ClientConnectionError):
            await anext(batches)
        go_on.set()


async def test_parts_of_tls_records_that_come_while_nothing_is_read_are_read_with_the_rest(tmp_path: Path) -> None:
    """As a network cuts them, within a record's head too; without end, as the last event before a silence comes."""
    certificate = self_signed(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    events = [b"%d:" % number + b"x" * length for number, length in enumerate((3, 3, 900, 3, 40_000, 3))]
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for event in events:
            writer.write(b"%x\r\n%s\n\r\n" % (len(event) + 1, event))
        await ended.wait()
        writer.close()

    async def cut(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int) -> None:
        with suppress(ConnectionError):
            while part := await source.read(most):
                sink.write(part)
                await sink.drain()
                await asyncio.sleep(0.0005)
        sink.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.gather(cut(reader, back, 2**16), cut(there, writer, 700))

    listening = await asyncio.start_server(relay, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    trusted = ssl.create_default_context(cafile=certificate)
    async with aiohttp.ClientSession() as session, session.get(url, ssl=trusted) as answer:
        found: list[bytes] = []
        async with asyncio.timeout(60):
            async for lines in streams.lines(answer, pause=0.003):
                found += lines
                if len(found) == len(events):
                    break
        assert found == events
        ended.set()
    for each in (listening, server):
        each.close()
