"""A store that calls itself S3 compatible and is not: it ignores `If-None-Match`, or refuses boto3's default checksums.

It may speak TLS with a certificate of its own.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class OddStore(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(
        self,
        *,
        refuses_checksums: bool = False,
        refuses_conditions: bool = False,
        full: bool = False,
        certificate: Path | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.refuses_checksums, self.refuses_conditions, self.full = refuses_checksums, refuses_conditions, full
        self.objects: dict[str, bytes] = {}
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> OddStore:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, *about: object) -> None:
        """A client that does not trust the certificate hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: OddStore
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        checksummed = any(
            name.lower().startswith(("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer")) for name in self.headers
        )
        if self.server.full:
            return self.answer(507, error="XMinioStorageFull")
        if self.server.refuses_checksums and checksummed:
            return self.answer(501, error="NotImplemented")
        if self.server.refuses_conditions and "If-None-Match" in self.headers:
            return self.answer(501, error="NotImplemented")
        self.server.objects[self.path] = body
        return self.answer(200, etag=body)

    def do_GET(self) -> None:
        if self.path not in self.server.objects:
            return self.answer(404, error="NoSuchKey")
        return self.answer(200, self.server.objects[self.path], etag=self.server.objects[self.path])

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes = b"", *, etag: bytes | None = None, error: str = "") -> None:
        if error:
            body = f"<Error><Code>{error}</Code><Message>no</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if etag is not None:
            self.send_header("ETag", f'"{hashlib.md5(etag).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass
