"""What may be wrong with a request: the server refuses it, does not answer, or must not be asked."""

from __future__ import annotations

import asyncio
import json

import aiohttp
from nnunet_trainer.contract.faults import Temporary

LONGEST_MESSAGE = 8192
"""Characters of a message that are kept. What is refused may be repeated in it, and a megabyte is for no log."""

CONNECTION_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""There was no answer, or not a whole one."""


def text_of(error: BaseException) -> str:
    """What an error says; its type, where it says nothing, as a `TimeoutError` does."""
    return str(error) or type(error).__name__


class ApiError(Exception):
    """An answer of the API server that is no success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


class NotLeading(Temporary):
    """A write was about to happen after the lease was lost."""

    def __init__(self) -> None:
        super().__init__("NotLeading", "This replica does not lead any more; it writes nothing.")


def of_answer(code: int, data: bytes) -> ApiError:
    """The error that an answer is: a `Status`, or any text of what stands between us and the server."""
    text = data.decode(errors="replace")
    try:
        status = json.loads(text)
        message = str(status.get("message", text))
        if len(message) > LONGEST_MESSAGE:
            message = message[: LONGEST_MESSAGE - 1] + "…"
        return ApiError(code, str(status.get("reason", "")), message)
    except (ValueError, AttributeError):
        return ApiError(code, "", text[:500])
