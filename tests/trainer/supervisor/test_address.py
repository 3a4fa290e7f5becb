"""The pod's address, whichever it is."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from nnunet_trainer.contract.pod import ENV_POD_IP
from nnunet_trainer.supervision import server
from nnunet_trainer.supervision.current_progress import CurrentProgress


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1"),
        pytest.param("::1", "http://[::1]", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")),
    ],
)
def test_progress_is_served_there(monkeypatch: pytest.MonkeyPatch, address: str, url: str) -> None:
    monkeypatch.setenv(ENV_POD_IP, address)
    monkeypatch.setenv(server.ENV_PORT, "0")
    with server.serve(CurrentProgress("train")) as bound:
        assert bound is not None
        with urllib.request.urlopen(f"{url}:{bound[1]}/progress") as answer:
            assert answer.status == 200
