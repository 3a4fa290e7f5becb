"""What is no answer of an API server is an error like its own, to be tried again."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from kubernetes.aio import client as kubernetes_client
from nnunet_operator.cluster.api import errors
from nnunet_operator.cluster.api.client import Api
from nnunet_operator.cluster.api.errors import ApiError

BODIES = [
    b"<html>Please log in</html>",
    b"{",
    b"null",
    b"[]",
    b'"yes"',
    b"7",
    b"\x1f\x8b\x00",
    gzip.compress(b"{}", mtime=0),
    b"\xff\xfe{}",
]


@pytest.fixture
async def answers() -> AsyncIterator[tuple[Api, list[tuple[int, bytes]]]]:
    """A client, and the answers that it gets, in order."""
    coming: list[tuple[int, bytes]] = []

    async def answer(_: web.Request) -> web.Response:
        status, body = coming.pop(0)
        return web.Response(status=status, body=body)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api = Api(kubernetes_client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    yield api, coming
    await api.close()
    await runner.cleanup()


@pytest.mark.parametrize("body", BODIES)
async def test_a_success_that_is_no_object(answers: tuple[Api, list[tuple[int, bytes]]], body: bytes) -> None:
    api, coming = answers
    coming += [(200, body), (200, b'{"kind": "Namespace"}')]
    with pytest.raises(ApiError, match="GET /here was answered, but not by the API server") as refused:
        await api.request("GET", "/here")
    assert refused.value.code == 502
    assert await api.request("GET", "/here") == {"kind": "Namespace"}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", [400, 429, 500, 502])
async def test_an_error_that_is_no_status(answers: tuple[Api, list[tuple[int, bytes]]], status: int, body: bytes) -> None:
    api, coming = answers
    coming += [(status, body)]
    with pytest.raises(ApiError) as refused:
        await api.request("POST", "/here", body={})
    assert refused.value.code == status


@pytest.mark.parametrize("size", [10, errors.LONGEST_MESSAGE, errors.LONGEST_MESSAGE + 1, 2_000_000])
def test_an_error_that_repeats_what_was_refused_is_no_longer_than_can_be_read(size: int) -> None:
    """It goes into a condition, and with each try into the log."""
    body = {"kind": "Status", "reason": "Invalid", "message": f"spec.affinity: Invalid value: {'x' * size}"[:size]}
    error = errors.of_answer(422, json.dumps(body).encode())
    assert (len(error.message), error.reason) == (min(size, errors.LONGEST_MESSAGE), "Invalid")
    assert error.message.startswith("spec.affin")
    assert error.message.endswith("…") == (size > errors.LONGEST_MESSAGE)
    assert len(str(errors.of_answer(502, b"x" * size))) < 600
