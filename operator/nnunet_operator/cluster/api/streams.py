"""Answers that are read as they come: watches and logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import aiohttp


async def lines(answer: aiohttp.ClientResponse, *, text: bool = False, pause: float = 0.0) -> AsyncIterator[list[bytes]]:
    """The lines of an answer, however long they are, in batches: whatever whole lines have come.

    Args:
        answer: whose head has come.
        text: the empty ones too, and the last one that no end of line ends.
        pause: seconds for which nothing is read after some lines were.
    """
    begun = b""
    async for chunk in answer.content.iter_any():
        *whole, last = chunk.split(b"\n")
        if whole:
            whole[0] = begun + whole[0]
            begun = last
            yield whole if text else [line for line in whole if line]
            if pause:
                await pause_reading(answer, pause)
        else:
            begun += last
    if begun and text:
        yield [begun]


async def pause_reading(answer: aiohttp.ClientResponse, seconds: float) -> None:
    """Read nothing of an answer for a time; what comes meanwhile is read at once then, which costs much less than each alone."""
    # uvloop's transports have no base class in common with asyncio's.
    transport = cast(asyncio.ReadTransport | None, answer.connection.transport if answer.connection is not None else None)
    if transport is None:
        return  # it has ended
    if (limit := getattr(transport, "set_read_buffer_limits", None)) is not None:
        limit(high=1)  # TLS would read on, until its buffer of what it has not decrypted is full
    transport.pause_reading()
    try:
        await asyncio.sleep(seconds)
    finally:
        transport.resume_reading()
