"""The part of a kubelet that serves containers' logs, for pods that no process runs: what a test says that they have written."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .apiclient import Manifest
from .controlplane import ControlPlane

Logs = Callable[[str, dict[str, list[str]]], Iterable[str]]
"""From a pod's name, and the query of the request, to its lines, as they come."""


class LogServer:
    """A Node whose kubelet answers the API server's questions for logs. Use it as a context manager.

    Args:
        plane: the control plane; the API server does not check a kubelet's certificate, so its own serves.
        node: the Node's name.
        logs: what the pods have written.
    """

    def __init__(self, plane: ControlPlane, node: str, logs: Logs) -> None:
        self._plane, self.node = plane, node
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                pod = parts.path.split("/")[3]  # /containerLogs/NAMESPACE/POD/CONTAINER
                server.asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                for line in logs(pod, parse_qs(parts.query)):
                    self.wfile.write(f"{line}\n".encode())
                    self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = plane.folder / "pki" / "apiserver"
        context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def __enter__(self) -> LogServer:
        threading.Thread(target=self._http.serve_forever, name="logs", daemon=True).start()
        api = self._plane.admin
        node: Manifest = api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}})
        port = self._http.server_address[1]
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        api.patch(node, {"status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}}, sub="status")
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._plane.admin.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}})
