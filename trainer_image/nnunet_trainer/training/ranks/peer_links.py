"""Connections between ranks that say who has failed, and that end within seconds when a process or its node does.

They are apart from the process group: a collective may hang, and the kernel closes the connections of a process that is killed.
Each rank is connected to the first one, over which all hear of all.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch.distributed as dist

KEEPALIVE_SECONDS = 5
UNANSWERED = 3
"""Probes of a node that may stay without an answer, one each `KEEPALIVE_SECONDS`."""
SEND_SECONDS = 5.0
LAST_WORDS_SECONDS = 2.0
CONNECT_SECONDS = 60.0
TRY_SECONDS = 5.0
"""Of one attempt to connect: one that is not answered at all hears of SIGTERM after it."""
MAX_BYTES = 65_536
"""Of one message."""

KEY = "peers"
"""Where the first rank leaves its address in the store."""
Message = dict[str, Any]


class Link:
    """Lines of JSON to and from one other rank."""

    def __init__(self, connection: socket.socket, rank: int | None = None) -> None:
        self.rank = rank
        """Of the other side; None until it has said so."""
        self._socket, self._received = connection, b""
        connection.settimeout(SEND_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_SECONDS),
            ("TCP_KEEPINTVL", KEEPALIVE_SECONDS),
            ("TCP_KEEPCNT", UNANSWERED),
            ("TCP_USER_TIMEOUT", 1000 * KEEPALIVE_SECONDS * (UNANSWERED + 1)),
        ):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Whether it could be sent; that the other side is gone is seen by reading."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """What has come; None when the other side is gone, or sends what is no message."""
        try:
            part = self._socket.recv(MAX_BYTES)
        except TimeoutError:
            return []
        except OSError:
            return None
        *lines, self._received = (self._received + part).split(b"\n")
        if not part or len(self._received) > MAX_BYTES:
            return None
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(message, dict) for message in messages) else None

    def finish(self) -> None:
        """Send no more."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self, until: float) -> None:
        """Let the other side read all that was sent, at most until then. What it has sent must be read, or the kernel resets."""
        self.finish()
        with contextlib.suppress(OSError):
            while (left := until - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(MAX_BYTES):
                    break
        self.abandon()

    def abandon(self) -> None:
        """Close at once."""
        self._socket.close()


_open: weakref.WeakSet[Links] = weakref.WeakSet()


def _abandon_in_child() -> None:
    # A child that holds a connection would keep it open when this process is killed.
    for links in list(_open):
        links.abandon()
        with contextlib.suppress(ValueError):
            signal.set_wakeup_fd(-1)  # the descriptor's number may be another's soon


os.register_at_fork(after_in_child=_abandon_in_child)


class Links:
    """All links of this rank: the first rank's to each other one, another's to the first one.

    Args:
        rank: of this process.
        store: the process group's, where the first rank leaves its address.
        address: of the first rank, as the others reach it.
        check: called between attempts to connect; what it raises ends them.

    Raises:
        OSError: the first rank cannot be reached.
    """

    def __init__(self, rank: int, store: dist.Store, address: str, check: Callable[[], None] = lambda: None) -> None:
        self.first = rank == 0
        self._selector = selectors.DefaultSelector()
        self._links: dict[int, Link] = {}
        self._unnamed: set[Link] = set()
        self._listener: socket.socket | None = None
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        _open.add(self)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        if self.first:
            self._listener = _listen(address)
            self._token = secrets.token_hex(16)
            store.set(KEY, json.dumps([self._listener.getsockname()[1], self._token]))
            self._selector.register(self._listener, selectors.EVENT_READ)
        else:
            port, token = json.loads(store.get(KEY))
            link = Link(_connected(address, port, check), 0)
            link.send({"token": token, "rank": rank})
            self._links[0] = link
            self._selector.register(link, selectors.EVENT_READ)

    @property
    def wake_descriptor(self) -> int:
        """What is written to it ends a `wait`, and comes back from it."""
        return self._wake_in.fileno()

    def wait(self, seconds: float) -> Iterator[tuple[int | None, Message | bytes | None]]:
        """What comes within that time: (rank, message); (rank, None) when it is gone; (None, bytes) from the wake descriptor."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._wake_out:
                with contextlib.suppress(BlockingIOError):
                    yield None, self._wake_out.recv(4096)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                yield from self._from(key.fileobj)  # type: ignore[arg-type]

    def send(self, message: Message, to: int | None = None) -> None:
        """To one rank, or to all that this one is connected to."""
        for rank, link in self._links.items():
            if to in (None, rank):
                link.send(message)

    def missing(self, world_size: int) -> list[int]:
        """Ranks that the first one is not connected with, or no more."""
        return [rank for rank in range(1, world_size) if rank not in self._links] if self.first else []

    def wake(self) -> None:
        """End a `wait`, from another thread."""
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def drop(self, rank: int) -> None:
        """No longer listen to a rank."""
        if link := self._links.pop(rank, None):
            self._selector.unregister(link)
            link.close(time.monotonic() + LAST_WORDS_SECONDS)

    def close(self) -> None:
        """End all, when the others have read what was sent."""
        for link in self._links.values():
            link.finish()
        until = time.monotonic() + LAST_WORDS_SECONDS
        for link in self._links.values():
            link.close(until)
        self._selector.close()
        self.abandon()

    def abandon(self) -> None:
        """Close everything at once."""
        for link in (*self._links.values(), *self._unnamed):
            link.abandon()
        for end in (self._listener, self._wake_in, self._wake_out):
            if end is not None:
                end.close()

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            link = Link(self._listener.accept()[0])
            self._unnamed.add(link)
            self._selector.register(link, selectors.EVENT_READ)

    def _from(self, link: Link) -> Iterator[tuple[int, Message | None]]:
        messages = link.receive()
        if link.rank is None:
            # Whoever finds the port must not be able to end a training.
            hello: Mapping[str, Any] = messages.pop(0) if messages else {}
            if messages is None or (hello and hello.get("token") != self._token):
                self._unnamed.discard(link)
                self._selector.unregister(link)
                link.abandon()
                return
            if hello:
                self._unnamed.discard(link)
                link.rank = int(hello["rank"])
                self._links[link.rank] = link
        for message in messages or ():
            yield link.rank, message  # type: ignore[misc]
        if messages is None and link.rank in self._links:
            rank = link.rank
            self.drop(rank)
            yield rank, None


def _connected(address: str, port: int, check: Callable[[], None]) -> socket.socket:
    until = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return socket.create_connection((address, port), timeout=TRY_SECONDS)
        except TimeoutError:
            if time.monotonic() > until:
                raise
        check()


def _listen(address: str) -> socket.socket:
    """At the address that the others reach, where it is one of this machine's; else at all of them."""
    try:
        family, _, _, _, place = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        return socket.create_server((place[0], 0), family=family)  # type: ignore[arg-type]
    except OSError:
        return socket.create_server(("", 0))
