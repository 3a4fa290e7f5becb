"""A real S3 server (SeaweedFS) on loopback, for tests.

`S3Server` starts and ends one; the fixture `s3` shares one among a session's tests, `secret` mounts its keys as a pod sees them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import Fault
from nnunet_trainer.contract.work_order import Location

from .ports import free_port

ACCESS_KEY = "nnunet-test"
SECRET_KEY = "nnunet-test-secret"
BUCKET = "nnunet"
SECRET_NAME = "s3"


class S3Server:
    """SeaweedFS with one user and one bucket, its data in `folder`.

    Attributes:
        endpoint: `http://127.0.0.1:PORT`.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self, seconds: float = 120) -> S3Server:
        """Start, and wait until the bucket answers."""
        weed = shutil.which("weed") or str(Path(sys.executable).with_name("weed"))
        kinds = ["master", "filer", "volume", "admin", "s3"]
        ports = [free_port(self.host) for _ in range(2 * len(kinds))]
        flags: list[str] = []
        for kind, port, grpc in zip(kinds, ports[::2], ports[1::2], strict=True):
            flags += [f"-{kind}.port={port}", f"-{kind}.port.grpc={grpc}"]
        self._ports = ports
        self.port = ports[2 * kinds.index("s3")]
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [weed, "mini", f"-dir={self.folder}", f"-ip={self.host}", f"-ip.bind={self.host}", *flags]
        command += ["-master.telemetry=false", "-admin.ui=false", "-webdav=false", "-s3.autoCreateBucket=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "S3_BUCKET": BUCKET}
        with open(self.folder / "weed.log", "ab") as log:
            self._process = subprocess.Popen(command, env={**os.environ, **keys}, stdout=log, stderr=log, cwd=self.folder)
        self._wait(time.monotonic() + seconds)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            for port in self._ports:  # it listens there as well, and leaves them behind
                for beside in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    beside.unlink(missing_ok=True)

    def mount(self, secrets: Path, name: str = SECRET_NAME, **changed: str) -> Location:
        """Write the keys below `secrets` as the kubelet mounts a Secret. Returns the bucket's location."""
        folder = secrets / name
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, **changed}.items():
            (folder / key).write_text(value + "\n")
        return Location(uri=f"s3://{BUCKET}", endpoint=self.endpoint, region="us-east-1", secret_name=name)

    def _wait(self, deadline: float) -> None:
        secrets = self.folder / "ready"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(pod.ENV_SECRETS, str(secrets))
            location = self.mount(secrets)
            while True:
                assert self._process is not None
                assert self._process.poll() is None, f"weed ended: {(self.folder / 'weed.log').read_text()[-3000:]}"
                try:
                    open_store(location).put("ready", b"")
                    return
                except Fault:
                    assert time.monotonic() < deadline, f"no answer: {(self.folder / 'weed.log').read_text()[-3000:]}"
                    # Waiting for a condition: another process answers on its port.
                    time.sleep(0.1)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests of a session."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A prefix of its own in the bucket, with the Secret mounted."""
    monkeypatch.setenv(pod.ENV_SECRETS, str(tmp_path / "secrets"))
    location = s3_server.mount(tmp_path / "secrets")
    return Location(
        uri=f"s3://{BUCKET}/{uuid.uuid4().hex}",
        endpoint=location.endpoint,
        region=location.region,
        secret_name=location.secret_name,
    )


@pytest.fixture
def s3_store(s3: Location) -> ObjectStore:
    return open_store(s3)
