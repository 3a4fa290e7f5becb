"""Requests over connections that stay open, before a server that answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nnunet_operator.cluster.api import connections
from nnunet_operator.cluster.api.connection import Answer, NoAnswer
from nnunet_operator.cluster.api.connections import Connections

DATE = "Sat, 28 Nov 2026 16:00:00 GMT"
OK = b"HTTP/1.1 200 OK\r\nDate: " + DATE.encode() + b"\r\nContent-Length: 2\r\n\r\n{}"
END = None
"""In a script: the server hangs up."""

Script = list[bytes | None]


class Server:
    """Answers each connection by a script of its own: one entry a request; what follows `END` is another connection's."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.heard: list[list[bytes]] = []  # by connection, its requests
        self.ended = asyncio.Event()  # a connection was hung up

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: list[bytes] = []
        self.heard.append(mine)
        try:
            for answer in self._scripts.pop(0):
                if answer is END:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or b"0")
                mine.append(head + await reader.readexactly(length))
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()  # until the client hangs up
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.set()


@asynccontextmanager
async def serving(*scripts: Script, path: str = "") -> AsyncIterator[tuple[Server, Connections]]:
    server = Server(*scripts)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    context: Any = None  # of http
    client = Connections(f"http://127.0.0.1:{port}{path}", context, at_once=4)
    try:
        yield server, client
    finally:
        await client.close()
        listening.close()
        await listening.wait_closed()


async def get(client: Connections, method: str = "GET", data: bytes | None = None, timeout: float = 20) -> Answer:
    return await client.request(method, "/api?a=b%20c", {"Accept": "application/json"}, data, timeout)


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


LONG = b"x" * 3_000_000


@pytest.mark.parametrize(
    ("sent", "status", "content"),
    [
        (OK, 200, b"{}"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length:3\r\n\r\nno!", 404, b"no!"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(LONG), LONG), 200, LONG),
        (chunked(b"one", b"two\r\n"), 200, b"onetwo\r\n"),
        (chunked(LONG, b"!", trailers=b"Checked: yes\r\nTwice: yes\r\n"), 200, LONG + b"!"),
        (chunked(), 200, b""),
    ],
    ids=["length", "error", "empty", "no content", "after 1xx", "long", "chunks", "long chunks", "no chunks"],
)
async def test_an_answer_is_read_to_its_end_and_the_next_request_goes_over_the_same_connection(
    sent: bytes, status: int, content: bytes
) -> None:
    async with serving([sent, sent, OK]) as (server, client):
        for _ in range(2):
            answer = await get(client)
            assert (answer.status, answer.content) == (status, content)
        assert await get(client, "PATCH", b'{"a": 1}') == Answer(200, DATE, b"{}")
    [heard] = server.heard
    assert heard[0].startswith(b"GET /api?a=b%20c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Content-Length" not in heard[0]
    assert heard[2].startswith(b"PATCH ")
    assert heard[2].endswith(b'Accept: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}')


async def test_the_path_of_the_server_comes_first() -> None:
    async with serving([OK], path="/k8s/clusters/c-1/") as (server, client):
        await get(client)
    assert server.heard[0][0].startswith(b"GET /k8s/clusters/c-1/api?a=b%20c HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "last",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nConnection: TE, Close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
    ],
    ids=["it says so", "among others", "HTTP/1.0", "its end is that of the connection"],
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_connection_that_ends_with_an_answer_is_not_used_again(last: bytes, method: str) -> None:
    async with serving([last, END], [OK]) as (server, client):
        assert (await get(client)).content == b"{}"
        assert (await get(client, method)).content == b"{}"
    assert [len(heard) for heard in server.heard] == [1, 1]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "POST"])
async def test_a_connection_that_was_closed_meanwhile_is_not_used_again(method: str) -> None:
    async with serving([OK, END], [OK]) as (server, client):
        await get(client)
        await server.ended.wait()
        while client._idle[0].is_open():
            await asyncio.sleep(0)
        assert (await get(client, method)).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "POST"])
async def test_one_that_is_closed_over_a_request_is_asked_again_where_twice_is_as_good_as_once(method: str) -> None:
    async with serving([OK, b"", END], [OK]) as (server, client):
        await get(client)
        if method in ("PATCH", "POST"):
            with pytest.raises(NoAnswer, match="closed the connection"):
                await get(client, method)
            assert len(server.heard) == 1
        else:
            assert (await get(client, method)).status == 200


async def test_a_new_connection_that_ends_without_an_answer_is_an_error() -> None:
    async with serving([b"", END], [OK]) as (server, client):
        with pytest.raises(NoAnswer, match="closed the connection"):
            await get(client)
        assert len(server.heard) == 1


async def test_what_comes_unasked_is_no_answer() -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    async with serving([OK], [OK]) as (server, client):
        await get(client)
        client._idle[0].reader.feed_data(late)
        assert (await get(client, "POST")).status == 200
        assert len(server.heard) == 2


@pytest.mark.parametrize("more", [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\r\n"], ids=["an answer", "a line"])
async def test_what_comes_with_an_answer_and_is_not_of_it_is_no_answer(more: bytes) -> None:
    async with serving([OK + more], [OK]) as (server, client):
        await get(client)
        assert (await get(client, "POST")).status == 200
        assert len(server.heard) == 2


@pytest.mark.parametrize("broken", ["a\n", "a\r\nX: b", "a\0"])
async def test_a_line_break_in_a_header_or_target_is_refused(broken: str) -> None:
    async with serving() as (server, client):
        with pytest.raises(ValueError, match="line break"):
            await client.request("GET", "/api", {"Authorization": broken}, None, 20)
        with pytest.raises(ValueError, match="line break"):
            await client.request("GET", f"/{broken}", {}, None, 20)
        assert not server.heard


async def test_a_request_that_is_answered_after_the_end_leaves_no_connection() -> None:
    async with serving([OK]) as (server, client):
        asked = asyncio.create_task(get(client))
        while not server.heard:
            await asyncio.sleep(0)
        await client.close()
        assert (await asked).status == 200
        assert not client._idle
        await server.ended.wait()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", "within an answer"),
        (OK[:-1], "within an answer"),
        (chunked(b"one")[:-9], "within an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no HTTP: 'SSH-2.0"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: some\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000_000, "no HTTP"),
    ],
    ids=["cut head", "cut content", "cut chunk", "another protocol", "no status", "no length", "no chunk", "endless head"],
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_half_an_answer_and_none_are_errors_of_the_connection(sent: bytes, said: str, method: str) -> None:
    async with serving([OK, sent, END], [OK]) as (server, client):
        await get(client)
        with pytest.raises(NoAnswer, match=said):
            await get(client, method)
        assert not client._idle
        assert len(server.heard) == 1, "it may have been done"


async def test_a_server_that_does_not_answer_is_given_up_and_its_late_answer_goes_to_nobody() -> None:
    async with serving([b""], [OK]) as (server, client):
        with pytest.raises(TimeoutError):
            await get(client, timeout=0.05)
        assert (await get(client)).status == 200
        assert len(server.heard) == 2


async def test_a_server_is_found_by_the_one_of_its_addresses_that_answers() -> None:
    server = Server([OK])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)  # and not on ::1, where hosts have that
    context: Any = None
    client = Connections(f"http://localhost:{listening.sockets[0].getsockname()[1]}", context, at_once=4)
    assert (await get(client)).status == 200
    await client.close()
    listening.close()
    await listening.wait_closed()


async def test_no_server_is_an_error_of_the_connection() -> None:
    async with serving() as (_, client):
        pass
    with pytest.raises(ConnectionError):
        await get(client)


async def test_a_connection_that_was_idle_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving([OK], [OK]) as (server, client):
        await get(client)
        monkeypatch.setattr(connections, "IDLE", -1.0)
        await get(client)
        await server.ended.wait()
        assert len(server.heard) == 2


async def test_only_so_many_requests_go_at_once() -> None:
    # One connection may answer all: the others may come about late.
    async with serving(*([OK] * 12 for _ in range(12))) as (server, client):
        answers = await asyncio.gather(*(get(client) for _ in range(12)))
        assert {answer.status for answer in answers} == {200}
        assert len(server.heard) <= 4
