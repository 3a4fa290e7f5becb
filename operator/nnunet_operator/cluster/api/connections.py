"""HTTP/1.1 requests, each with its whole answer, over connections that stay open.

Much of what an operator costs are its requests, and through aiohttp each takes several times as much CPU. Streams, and servers
behind a proxy, are left to that.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from .connection import LONGEST_HEAD, Answer, ClosedUnanswered, Connection, Protocol, Reader, exchange

CONNECT = 10.0
"""Seconds for a connection to be made."""
HAPPY_EYEBALLS = 0.25
"""Seconds after which the server's next address is tried beside one that does not answer (RFC 8305)."""
IDLE = 15.0
"""Seconds after which a connection that nobody has used is closed: servers and what is between close them sooner or later."""
SAFE_AGAIN = frozenset({"GET", "PUT", "DELETE"})
"""Sent again when an open connection turns out to have been closed (RFC 9110, idempotent methods)."""

_BREAKS = frozenset("\r\n\0")


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
        self._idle: deque[Connection] = deque()  # used last: last
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
                    answer, keep = await exchange(connection, message)
                except ClosedUnanswered:
                    if not connection.used or method not in SAFE_AGAIN:
                        raise
                else:
                    return answer
                finally:
                    self._put(connection) if keep else connection.close()

    def _put(self, connection: Connection) -> None:
        connection.used = True
        connection.reader.rest()
        if self._closed or not connection.is_open():
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _take(self) -> Connection | None:
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

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        reader = Reader(limit=LONGEST_HEAD)
        protocol = Protocol(reader)
        async with asyncio.timeout(CONNECT):
            addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            connected = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS)
            transport, _ = await loop.create_connection(
                lambda: protocol,
                sock=connected,
                ssl=self._context,
                server_hostname=self._server_name if self._context else None,
            )
        return Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def close(self) -> None:
        """Close those that nobody uses, and each other one once its answer is there."""
        self._closed = True
        while self._idle:
            connection = self._idle.pop()
            connection.close()
            await asyncio.gather(connection.writer.wait_closed(), return_exceptions=True)
