"""A real S3 server behind a proxy that does harm: what one attempt more mends is mended, the rest is named, nothing is half."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.retries.standard import ExponentialBackoff
from nnunet_trainer.artifacts import artifact, s3
from nnunet_trainer.artifacts.s3 import PART, S3Store
from nnunet_trainer.artifacts.writer import ArtifactWriter
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import ExitCode, Fault, StorageFault
from nnunet_trainer.contract.work_order import Location
from support.faults import s3_proxy
from support.faults.s3_proxy import S3Proxy
from support.s3 import SECRET_KEY, S3Server

pytestmark = pytest.mark.s3


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.0)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3_server.port, slow=0.05) as proxy:
        yield proxy


@pytest.fixture
def location(s3: Location, proxy: S3Proxy) -> Location:
    return replace(s3, endpoint=proxy.endpoint)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of several parts."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(PART) + b"x" * (PART + 5))
    return path


def test_an_artifact_is_whole_though_every_fifth_request_fails(
    location: Location, s3: Location, proxy: S3Proxy, large: Path, tmp_path: Path
) -> None:
    proxy.choose = s3_proxy.every(5)
    store = S3Store(location)
    contents = {f"parts/{i:02d}": os.urandom(2000) for i in range(25)}
    writer = ArtifactWriter(store, "a", "test", "0" * 64)
    for name, content in contents.items():
        writer.put_bytes(name, content)
    writer.put_file("large", large)
    assert writer.finish({}), "whoever's answer was lost was the first one all the same"
    found = artifact.find_whole(store, "a")
    assert found is not None
    for name, content in contents.items():
        assert found.read(name) == content
    found.fetch(found.files, tmp_path / "back")
    assert (tmp_path / "back/large").read_bytes() == large.read_bytes()
    assert set(proxy.done) == set(s3_proxy.PASSING), "each kind was met"
    assert artifact.damaged(artifact.require(S3Store(s3), "test", prefix="a")) == []


@pytest.mark.parametrize("fault", ["507", "quota", "no space"])
def test_a_full_store_is_named_and_may_have_room_later(location: Location, proxy: S3Proxy, large: Path, fault: str) -> None:
    store = S3Store(location, attempts=2)
    proxy.choose = s3_proxy.writes(fault)
    for write in (lambda: store.put("x", b"1"), lambda: store.put_file(large, "y"), lambda: store.put_if_absent("z", b"1")):
        with pytest.raises(Fault) as caught:
            write()
        assert (caught.value.reason, caught.value.exit_code) == ("StorageFull", ExitCode.IO_ERROR)
        assert "Free some space or raise the quota" in caught.value.hint
    proxy.choose = s3_proxy.never
    store.put_file(large, "y")
    info = store.stat("y")
    assert info is not None
    assert info.size == large.stat().st_size


@pytest.mark.parametrize(("fault", "reason"), [("no bucket", "BucketNotFound"), ("denied", "StorageAccessDenied")])
def test_a_bucket_that_goes_in_the_middle_is_named(
    location: Location, proxy: S3Proxy, large: Path, fault: str, reason: str
) -> None:
    store = S3Store(location)
    store.put("before", b"1")
    proxy.choose = lambda number, method, path: fault if "partNumber=2" in path else None
    with pytest.raises(Fault) as caught:
        store.put_file(large, "y")
    assert (caught.value.reason, caught.value.exit_code) == (reason, ExitCode.BAD_CONFIGURATION)
    assert store.stat("y") is None


def test_parts_of_uploads_that_nobody_finished_are_removed(location: Location, s3: Location, proxy: S3Proxy, large: Path) -> None:
    store = S3Store(location, attempts=1)
    # As a process that was killed leaves them: the second part never comes, and nothing tells the store.
    proxy.choose = lambda number, method, path: s3_proxy.DROPPED if "partNumber=2" in path or method == "DELETE" else None
    for key in ("attempts/0/fold_0/a.pth", "attempts/0/fold_1/a.pth"):
        with pytest.raises(StorageFault):
            store.put_file(large, key)
    proxy.choose = s3_proxy.never
    direct = S3Store(s3)

    def unfinished() -> list[str]:
        page = direct._client.list_multipart_uploads(Bucket=direct.bucket, Prefix=direct.prefix)
        return [each["Key"].removeprefix(direct.prefix) for each in page.get("Uploads", [])]

    assert len(unfinished()) == 2
    assert store.discard_unfinished("elsewhere/") == store.discard_unfinished("attempts/", "/fold_2/") == 0
    assert store.discard_unfinished("attempts/", "/fold_0/") == 1
    assert unfinished() == ["attempts/0/fold_1/a.pth"]
    assert store.discard_unfinished("attempts/") == 1
    assert store.discard_unfinished("attempts/") == 0


def test_keys_that_expire_are_read_anew_from_the_secret(s3_server: S3Server, s3: Location, tmp_path: Path) -> None:
    store = S3Store(s3)
    store.put("x", b"1")
    assert s3.secret_name is not None
    s3_server.mount(tmp_path / "secrets", s3.secret_name, AWS_SECRET_ACCESS_KEY="expired")
    store = S3Store(s3)
    with pytest.raises(Fault, match="refuses access"):
        store.get("x")
    s3_server.mount(tmp_path / "secrets", s3.secret_name, AWS_SECRET_ACCESS_KEY=SECRET_KEY)  # as the kubelet brings a change
    assert store.get("x") == b"1"


def test_threads_that_are_refused_at_once_all_go_on_with_the_new_keys(s3_server: S3Server, s3: Location, tmp_path: Path) -> None:
    S3Store(s3).put("x", b"1")
    assert s3.secret_name is not None
    s3_server.mount(tmp_path / "secrets", s3.secret_name, AWS_SECRET_ACCESS_KEY="expired")
    store, together = S3Store(s3), threading.Barrier(4)
    expired = store._client.get_object

    def refused_together(**arguments: object) -> object:
        try:
            return expired(**arguments)
        finally:
            together.wait(60)

    store._client.get_object = refused_together
    s3_server.mount(tmp_path / "secrets", s3.secret_name, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(store.get, ["x"] * 4)) == [b"1"] * 4


def test_a_conditional_write_whose_answer_is_lost_was_this_ones(location: Location, proxy: S3Proxy) -> None:
    store = S3Store(location)
    assert store.conditional_writes
    lost = iter([s3_proxy.LOST])
    proxy.choose = lambda number, method, path: next(lost, None)
    assert store.put_if_absent("manifest", b"mine")
    lost = iter([s3_proxy.DROPPED])
    assert not store.put_if_absent("manifest", b"another's")
    assert store.get("manifest") == b"mine"


def test_a_server_that_is_killed_in_the_middle_of_an_upload_has_the_file_whole_or_not_at_all(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pod.ENV_SECRETS, str(tmp_path / "secrets"))
    server = S3Server(tmp_path / "server").start()
    try:
        location = server.mount(tmp_path / "secrets")
        with S3Proxy(server.port) as proxy:
            store = S3Store(replace(location, endpoint=proxy.endpoint), attempts=1)
            store.put("before", b"1")
            killed: list[str] = []

            def kill(number: int, method: str, path: str) -> None:
                if "partNumber=2" in path and not killed:
                    killed.append(path)
                    server.stop()  # SIGKILL

            proxy.choose = kill
            with pytest.raises(StorageFault) as caught:
                store.put_file(large, "file")
            assert not caught.value.exit_code.permanent
            assert killed
            proxy.upstream = server.start().port
            assert store.stat("file") is None
            assert store.get("before") == b"1"
            store.put_file(large, "file")
            store.get_file("file", tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == large.read_bytes()
            store.discard_unfinished("")
            assert store.discard_unfinished("") == 0
    finally:
        server.stop()


def test_a_large_object_is_copied_in_parts(
    location: Location, proxy: S3Proxy, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "COPY", TransferConfig(multipart_threshold=PART, multipart_chunksize=PART))
    store = S3Store(location)
    store.put_file(large, "a/source")
    before = proxy.passed["PUT"]
    assert store.copy("a/source", "b/target", large.stat().st_size)
    assert proxy.passed["PUT"] == before + 3
    assert store.get("b/target") == large.read_bytes()


@pytest.mark.parametrize("fault", ["denied", "500", s3_proxy.DROPPED, "507"])
def test_a_store_that_refuses_copies_is_given_the_file(
    location: Location, proxy: S3Proxy, large: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("nnunet_trainer.artifacts.s3.ATTEMPTS", 1)
    store = S3Store(location)
    store.put_file(large, "attempts/0/checkpoint.pth")
    refused = iter([fault])
    proxy.choose = lambda number, method, path: next(refused, None) if method == "PUT" and "large" in path else None
    writer = ArtifactWriter(store, "a", "test", "0" * 64)
    entry = writer.put_file("large", large, lambda entry: "attempts/0/checkpoint.pth")
    assert next(refused, None) is None, "it was tried"
    assert store.get("a/large") == large.read_bytes()
    assert entry.size == large.stat().st_size
