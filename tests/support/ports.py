"""Ports for servers that are started later, by another process: nobody else is given one meanwhile."""

from __future__ import annotations

import socket

_reserved: list[socket.socket] = []


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on, and that the kernel gives to no other process as long as this one lives.

    The socket that is bound to it here does not listen. As it has SO_REUSEADDR, a server may listen there that sets this too, as
    those of Go, libuv, asyncio and `http.server` do.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind((host, 0))
    _reserved.append(reservation)
    return int(reservation.getsockname()[1])
