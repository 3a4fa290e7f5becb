"""HTTP/1.1 requests, each with its whole answer, over connections that stay open.

Much of what an operator costs are its requests, and through aiohttp each takes several times as much CPU. Streams, and servers
behind a proxy, are left to that.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

CONNECT = 10.0
"""Seconds for a connection to be made."""
HAPPY_EYEBALLS = 0.25
"""Seconds after which the server's next address is tried beside one that does not answer (RFC 8305)."""
IDLE = 15.0
"""Seconds after which a connection that nobody has used is closed: servers and what is between close them sooner or later."""
LONGEST_HEAD = 2**20
"""Bytes of an answer's status line and headers."""
SAFE_AGAIN = frozenset({"GET", "PUT", "DELETE"})
"""Sent again when an open connection turns out to have been closed (RFC 9110, idempotent methods)."""


_BREAKS = frozenset("\r\n\0")


class Answer(NamedTuple):
    """Status, the Date that it bears, if any, and the content."""

    status: int
    date: str | None
    content: bytes


class NoAnswer(ConnectionError):
    """The connection ended before an answer, or within it; or what came is no HTTP."""


class _Closed(NoAnswer):
    """It ended before the first byte of an answer."""


class _Reader(asyncio.StreamReader):
    """Gives all that came before an end; notices what comes between answers, which would be taken for that to the next request."""

    idle = False
    unasked = False
    broken: Exception | None = None

    def feed_data(self, data: Any) -> None:
        self.unasked |= self.idle
        super().feed_data(data)

    def set_exception(self, exc: Exception) -> None:
        """The connection has broken. What the server said before, such as why it reads no further, still counts."""
        self.broken = exc
        self.feed_eof()

    def rest(self) -> None:
        """From now on nothing is to come; what came with the answer, and was not of it, is unasked for too."""
        self.idle = True
        self.unasked |= bool(self._buffer)  # type: ignore[attr-defined]  # nothing else tells without taking it


class _Protocol(asyncio.StreamReaderProtocol):
    """Where writing fails, what the server has sent may not have been read yet: it is, before the socket is closed."""

    def __init__(self, reader: _Reader) -> None:
        super().__init__(reader)
        self._reader, self._socket = reader, None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if transport.get_extra_info("ssl_object") is None:  # else the event loop alone can tell what was said
            self._socket = transport.get_extra_info("socket")

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._socket is not None:
            with suppress(OSError):
                while said := os.read(self._socket.fileno(), LONGEST_HEAD):
                    self._reader.feed_data(said)
        super().connection_lost(exc)


@dataclass(slots=True)
class _Connection:
    reader: _Reader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0
    used: bool = False

    def is_open(self) -> bool:
        return not (self.reader.unasked or self.reader.at_eof() or self.writer.is_closing())

    def close(self) -> None:
        self.writer.transport.abort()


class Connections:
    """Connections to one server.

    Args:
        server: its URL; a path in it comes before that of each request.
        context: of TLS, for https.
        server_name: which its certificate is to name, where that is another than the URL's.
        at_once: requests at one time; more wait.
    """

    def __init__(self, server: str, context: ssl.SSLContext, server_name: str | None = None, *, at_once: int) -> None:
        parts = urlsplit(server)
        self._host, self._prefix = parts.hostname or "", parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._context = context if parts.scheme == "https" else None
        self._server_name = server_name or self._host
        self._head = f"Host: {parts.netloc.rpartition('@')[2]}\r\n"
        self._idle: deque[_Connection] = deque()  # used last: last
        self._limit = asyncio.Semaphore(at_once)
        self._closed = False

    async def request(self, method: str, target: str, headers: Mapping[str, str], data: bytes | None, timeout: float) -> Answer:
        """One request; its answer, whatever its status.

        Args:
            target: path and query, percent-encoded.
            headers: beside Host and Content-Length.
            timeout: seconds for all of it.

        Raises:
            OSError: there is no connection, or no (whole) answer; `NoAnswer` and TimeoutError among them.
            ValueError: a line break in the target or in a header would begin another header, or another request.
        """
        for written in (method, target, *headers, *headers.values()):
            if not _BREAKS.isdisjoint(written):
                raise ValueError(f"a request cannot hold a line break: {method} {target} {', '.join(headers)}")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(data)}\r\n" if data is not None else ""
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._head}{lines}{length}\r\n"
        message = head.encode("latin-1") + (data or b"")
        async with asyncio.timeout(timeout), self._limit:
            while True:
                connection = self._take() or await self._connect()
                keep = False
                try:
                    answer, keep = await _exchange(connection, message)
                except _Closed:
                    if not connection.used or method not in SAFE_AGAIN:
                        raise
                else:
                    return answer
                finally:
                    self._put(connection) if keep else connection.close()

    def _put(self, connection: _Connection) -> None:
        connection.used = True
        connection.reader.rest()
        if self._closed or not connection.is_open():
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _take(self) -> _Connection | None:
        """An open connection that nobody uses."""
        oldest = asyncio.get_running_loop().time() - IDLE
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                connection.reader.idle = False
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        reader = _Reader(limit=LONGEST_HEAD)
        protocol = _Protocol(reader)
        async with asyncio.timeout(CONNECT):
            addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            connected = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS)
            transport, _ = await loop.create_connection(
                lambda: protocol,
                sock=connected,
                ssl=self._context,
                server_hostname=self._server_name if self._context else None,
            )
        return _Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def close(self) -> None:
        """Close those that nobody uses, and each other one once its answer is there."""
        self._closed = True
        while self._idle:
            connection = self._idle.pop()
            connection.close()
            await asyncio.gather(connection.writer.wait_closed(), return_exceptions=True)


async def _exchange(connection: _Connection, message: bytes) -> tuple[Answer, bool]:
    """The answer to a request, and whether another one may follow it.

    It may come before the request is sent: who refuses a body does not read it to its end. So nobody waits here until it is.
    """
    reader, status = connection.reader, 0
    fields: dict[str, str] = {}
    try:
        connection.writer.write(message)
        while status < 200:  # 1xx: the answer is yet to come
            head = await reader.readuntil(b"\r\n\r\n")
            status, fields = _read_head(head)
        keep = "close" not in re.split(r"[ ,]+", fields.get("connection", "").lower()) and head.startswith(b"HTTP/1.1")
        if status in (204, 304):
            content = b""
        elif "chunked" in fields.get("transfer-encoding", "").lower():
            content = await _read_chunks(reader)
        elif (length := fields.get("content-length")) is not None:
            content = await reader.readexactly(int(length))
        else:
            content, keep = await reader.read(), False
            if reader.broken is not None:
                raise asyncio.IncompleteReadError(content, None)
    except asyncio.IncompleteReadError as error:
        if status >= 400:
            return Answer(status, fields.get("date"), error.partial), False
        raise _unanswered(reader.broken, begun=bool(status or error.partial)) from error
    except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
        raise NoAnswer(f"the answer is no HTTP: {error}") from error
    return Answer(status, fields.get("date"), content), keep and not connection.writer.transport.get_write_buffer_size()


def _unanswered(broken: Exception | None, *, begun: bool) -> OSError:
    """What to say of a connection that ended before an answer was whole, or had begun."""
    if isinstance(broken, OSError) and not isinstance(broken, ConnectionError):
        return broken  # such as TLS's, which says why
    if begun:
        return NoAnswer(str(broken or "") or "the connection was closed within an answer")
    return _Closed(str(broken or "") or "the server closed the connection")


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    """The status, and the headers by their names in small letters."""
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1."):
        raise ValueError(repr(first[:100]))
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(first[9:12]), fields


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return b"".join(chunks)
