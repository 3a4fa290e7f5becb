"""One HTTP/1.1 connection: a request over it, and its whole answer."""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

LONGEST_HEAD = 2**20
"""Bytes of an answer's status line and headers."""


class Answer(NamedTuple):
    """Status, the Date that it bears, if any, and the content."""

    status: int
    date: str | None
    content: bytes


class NoAnswer(ConnectionError):
    """The connection ended before an answer, or within it; or what came is no HTTP."""


class ClosedUnanswered(NoAnswer):
    """It ended before the first byte of an answer."""


class Reader(asyncio.StreamReader):
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


class Protocol(asyncio.StreamReaderProtocol):
    """Where writing fails, what the server has sent may not have been read yet: it is, before the socket is closed."""

    def __init__(self, reader: Reader) -> None:
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
class Connection:
    """Both ends of what is open. `used`: it has had an answer before; `idle_since`: the event loop's time of the last one."""

    reader: Reader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0
    used: bool = False

    def is_open(self) -> bool:
        """Whether another request may go over it."""
        return not (self.reader.unasked or self.reader.at_eof() or self.writer.is_closing())

    def close(self) -> None:
        """At once, whatever is under way."""
        self.writer.transport.abort()


async def exchange(connection: Connection, message: bytes) -> tuple[Answer, bool]:
    """The answer to a request, and whether another one may follow it.

    It may come before the request is sent: who refuses a body does not read it to its end. So nobody waits here until it is.

    Raises:
        ClosedUnanswered: the connection was closed before the first byte of an answer.
        NoAnswer: it ended within one, or what came is no HTTP.
        OSError: what TLS or the socket says.
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
    return ClosedUnanswered(str(broken or "") or "the server closed the connection")


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
