"""A proxy between the trainer and an S3 server that refuses, fails, cuts connections, loses answers, is slow, full, or away."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFUSALS = {
    "500": (500, "InternalError", "a test's fault"),
    "503": (503, "SlowDown", "Please reduce your request rate"),
    "507": (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold"),
    "quota": (403, "QuotaExceeded", "The quota of this bucket is reached"),
    "no space": (500, "InternalError", "write /data: no space left on device"),
    "no bucket": (404, "NoSuchBucket", "The specified bucket does not exist"),
    "denied": (403, "AccessDenied", "Access Denied."),
}
"""Nothing is done."""
DROPPED = "dropped"
"""Nothing is done, and nothing is answered."""
LOST = "answer lost"
"""It is done, and the answer is lost."""
CUT = "cut"
"""Half of the answer's content, or of the request's, then nothing."""
SLOW = "slow"
PASSING = ("500", "503", DROPPED, LOST, CUT, SLOW)
"""What another attempt may not meet."""
Choice = Callable[[int, str, str], str | None]
"""Which fault a request meets: from its number, its method and its path."""


def every(nth: int, faults: Sequence[str] = PASSING) -> Choice:
    """Each `nth` request meets the next one of these faults."""
    return lambda number, method, path: faults[number // nth % len(faults)] if number % nth == nth - 1 else None


def always(fault: str) -> Choice:
    """All requests meet this fault."""
    return lambda number, method, path: fault


def writes(fault: str) -> Choice:
    """All that would write meet this fault."""
    return lambda number, method, path: fault if method in ("PUT", "POST") else None


def never(number: int, method: str, path: str) -> None:
    """No fault."""


class S3Proxy(ThreadingHTTPServer):
    """Passes requests on to an S3 server, and does harm to those that `choose` names. Use it as a context manager.

    Args:
        port: of the server on loopback; it may change when that is started anew.
        choose: the fault of each request.
        slow: seconds that a slow answer takes.
    """

    daemon_threads = True

    def __init__(self, port: int, choose: Choice = never, *, slow: float = 0.2) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.choose, self.slow = port, choose, slow
        self.done: Counter[str] = Counter()
        """How often each fault was caused."""
        self.passed: Counter[str] = Counter()
        """How often each method was passed on."""
        self.stored: set[str] = set()
        """Paths that were written."""
        self.numbers = itertools.count()
        self.stopped = threading.Event()
        self.seen = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait_for(self, fault: str, times: int = 1, seconds: float = 60) -> None:
        """Wait until a fault was met so often."""
        with self.seen:
            assert self.seen.wait_for(lambda: self.done[fault] >= times, seconds), (fault, self.done)

    def __enter__(self) -> S3Proxy:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # whoever asked has hung up


class _Handler(BaseHTTPRequestHandler):
    server: S3Proxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        server = self.server
        fault = server.choose(next(server.numbers), self.command, self.path)
        if fault is not None:
            with server.seen:
                server.done[fault] += 1
                server.seen.notify_all()
        length = int(self.headers.get("Content-Length") or 0)
        if fault == DROPPED:
            return self._hang_up()
        if fault == CUT and self.command in ("PUT", "POST"):
            self.rfile.read(length // 2)
            return self._hang_up()
        body = self.rfile.read(length)
        if fault in REFUSALS:
            return self._refuse(*REFUSALS[fault])
        if fault == SLOW:
            server.stopped.wait(server.slow)
        server.passed[self.command] += 1
        try:
            status, headers, content = self._pass_on(body)
        except OSError:  # the server is not there, or was killed in the middle
            return self._hang_up()
        if self.command == "PUT" and status < 300:
            with server.seen:
                server.stored.add(self.path)
                server.seen.notify_all()
        if fault == LOST:
            return self._hang_up()
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        given = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        self.send_header("Content-Length", given if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if fault == CUT:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self._hang_up()
        self.wfile.write(content)
        return None

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            # The signature covers the host that was asked for.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        content = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *arguments: object) -> None:
        pass
