"""Pods are asked how far they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.json_text import codec
from nnunet_trainer.contract.progress import Progress
from support.apiclient import wait_until
from support.controlplane import ControlPlane
from support.pretend import PretendKubelet, succeed

from ..conftest import API_VERSION, StartOperator, dataset, plans, training_run

pytestmark = pytest.mark.controlplane


@contextmanager
def progress_server(address: str, answer: bytes) -> Iterator[list[str]]:
    """A pod's `/progress`; yields the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, pod.PROGRESS_PORT), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_progress_is_heard_and_a_lying_pod_does_no_harm(
    control_plane: ControlPlane, namespace: str, start_operator: StartOperator
) -> None:
    api, operator = control_plane.admin, start_operator()
    told = Progress(step="train", phase="training", done=37, total=250, epoch=37, epochs=250, ema_pseudo_dice=0.871)
    address = "127.1.77.1"
    with PretendKubelet(api, namespace, lambda order, pod: None if order["step"] == "train" else succeed(order, pod), ip=address):
        for manifest in (training_run(namespace), plans(namespace), dataset(namespace)):
            api.apply(manifest)

        def fold() -> dict[str, object]:
            found = api.get(API_VERSION, "TrainingRun", namespace, "run") or {}
            return next(iter((found.get("status") or {}).get("folds") or []), {})

        def unreadable() -> float:
            return operator.metric("nnunet_operator_progress_requests_total", outcome="unreadable")

        with progress_server(address, codec.dumps(told).encode()) as asked:
            wait_until(lambda: fold().get("epoch") == 37, what=lambda: f"epoch 37 in the status: {fold()}")
        assert set(asked) == {"/progress"}
        before = unreadable()
        with progress_server(address, json.dumps({"step": "train", "epoch": "x" * 100_000}).encode()):
            wait_until(lambda: unreadable() > before, what="the lie to be seen")
        assert fold()["epoch"] == 37
