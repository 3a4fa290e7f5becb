"""`/progress` and `/metrics` of a pod."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ..contract import pod
from .current_progress import CurrentProgress

ENV_PORT = "NNUNET_PROGRESS_PORT"
log = logging.getLogger(__name__)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], state: CurrentProgress) -> None:
        self.state = state
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The base class looks the host's name up, which can take seconds where no name server answers.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/progress":
            self._answer(200, "application/json", self.server.state.as_json())
        elif self.path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4", self.server.state.as_metrics())
        else:
            self._answer(404, "text/plain", "Here are /progress and /metrics.\n")

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve(state: CurrentProgress) -> Iterator[tuple[str, int] | None]:
    """Answer on the pod's address while the block runs. A port that cannot be had is said, and does not stop the step."""
    host, port = pod.progress_address(), int(os.environ.get(ENV_PORT, pod.PROGRESS_PORT))
    try:
        server = _Server((host, port), state)
    except OSError as error:
        log.warning("progress is not served: %s:%s cannot be bound: %s", host, port, error.strerror)
        yield None
        return
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="progress", daemon=True)
    thread.start()
    try:
        yield server.server_name, server.server_port
    finally:
        server.shutdown()
        server.server_close()
