"""What only S3 does: refusals, odd stores, and that another attempt is made only where it may help."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import SSLError
from nnunet_trainer.artifacts import ObjectStore, open_store
from nnunet_trainer.artifacts.s3 import S3Store
from nnunet_trainer.artifacts.s3_faults import translate
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import ExitCode, Fault, StorageFault
from nnunet_trainer.contract.work_order import Location
from support.certificates import self_signed
from support.s3 import S3Server

from .odd_store import OddStore

REQUESTS: dict[str, Callable[[ObjectStore, Path], Any]] = {
    "get": lambda s, p: s.get("x"),
    "put": lambda s, p: s.put("x", b"1"),
    "put_if_absent": lambda s, p: s.put_if_absent("x", b"1"),
    "stat": lambda s, p: s.stat("x"),
    "list": lambda s, p: list(s.list()),
    "put_file": lambda s, p: s.put_file(p, "x"),
    "get_file": lambda s, p: s.get_file("x", p),
    "delete": lambda s, p: s.delete("x"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"1" * 100)
    return tmp_path / "file"


def fault(store: ObjectStore, request: str, file: Path) -> Fault:
    with pytest.raises(Fault) as caught:
        REQUESTS[request](store, file)
    return caught.value


@pytest.mark.s3
@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("wrong", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials(s3_server: S3Server, s3: Location, tmp_path: Path, file: Path, wrong: str, request_name: str) -> None:
    s3_server.mount(tmp_path / "secrets", "bad", **{wrong: "wrong"})
    found = fault(open_store(replace(s3, secret_name="bad")), request_name, file)
    assert (found.reason, found.exit_code) == ("StorageAccessDenied", ExitCode.BAD_CONFIGURATION)
    assert "the Secret 'bad'" in found.message
    assert s3.uri in found.message


@pytest.mark.s3
@pytest.mark.parametrize("request_name", ["get", "put", "put_if_absent", "list", "put_file"])
def test_missing_bucket(s3: Location, file: Path, request_name: str) -> None:
    found = fault(open_store(replace(s3, uri="s3://nobody-made-this/x")), request_name, file)
    assert (found.reason, found.exit_code) == ("BucketNotFound", ExitCode.BAD_CONFIGURATION)
    assert "'nobody-made-this'" in found.message
    assert s3.endpoint is not None
    assert s3.endpoint in found.message


@pytest.mark.s3
@pytest.mark.parametrize("request_name", REQUESTS)
def test_unreachable(s3: Location, file: Path, request_name: str) -> None:
    store = S3Store(replace(s3, endpoint="http://127.0.0.1:1"), attempts=1)
    found = fault(store, request_name, file)
    assert (found.reason, found.exit_code) == ("StorageUnreachable", ExitCode.IO_ERROR)
    assert not found.exit_code.permanent
    assert "http://127.0.0.1:1" in found.message


@pytest.mark.s3
def test_more_than_one_page_is_listed(s3: Location) -> None:
    store = S3Store(s3)
    for i in range(5):
        store.put(f"many/{i}", b"")
    wanted = store._client.list_objects_v2
    store._client.list_objects_v2 = lambda **kw: wanted(MaxKeys=2, **kw)
    assert [i.key for i in store.list("many/")] == [f"many/{i}" for i in range(5)]


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pod.ENV_SECRETS, str(tmp_path))
    (tmp_path / "s").mkdir()
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (tmp_path / "s" / key).write_text("x")


def odd(server: OddStore) -> S3Store:
    return S3Store(Location(uri="s3://b/p", endpoint=server.endpoint, secret_name="s"), attempts=1)


@pytest.mark.usefixtures("mounted")
def test_a_store_that_refuses_checksums_is_asked_without(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"file")
    with OddStore(refuses_checksums=True) as server, caplog.at_level(logging.WARNING):
        store = odd(server)
        store.put("a", b"1")
        store.put("b", b"2")
        store.put_file(tmp_path / "f", "c")
        assert (store.get("a"), store.get("b"), store.get("c")) == (b"1", b"2", b"file")
    assert sum("refuses boto3's default checksums" in r.message for r in caplog.records) == 1


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize("refuses", [False, True])
def test_a_store_without_conditional_writes_is_found_out_and_told(caplog: pytest.LogCaptureFixture, refuses: bool) -> None:
    with OddStore(refuses_conditions=refuses) as server, caplog.at_level(logging.WARNING):
        store = odd(server)
        assert store.put_if_absent("m", b"first")
        assert not store.put_if_absent("m", b"second")
        assert store.get("m") == b"first"
        assert not store.conditional_writes
    assert sum("If-None-Match" in r.message for r in caplog.records) == 1


@pytest.mark.usefixtures("mounted")
def test_a_full_store_may_have_room_later(tmp_path: Path) -> None:
    with OddStore(full=True) as server:
        found = fault(odd(server), "put", tmp_path)
    assert (found.reason, found.exit_code) == ("StorageFull", ExitCode.IO_ERROR)


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize("endpoint", ["nowhere", "127.0.0.1:8333", "ftp//x"])
def test_an_endpoint_that_is_no_url(endpoint: str) -> None:
    with pytest.raises(Fault) as caught:
        S3Store(Location(uri="s3://b/p", endpoint=endpoint, secret_name="s")).get("x")
    assert (caught.value.reason, caught.value.exit_code) == ("InvalidStorageUri", ExitCode.BAD_CONFIGURATION)


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Fault) as caught:
        S3Store(Location(uri="s3://b/p", endpoint="http://127.0.0.1:1")).get("x")
    assert (caught.value.reason, caught.value.exit_code) == ("StorageCredentialsMissing", ExitCode.BAD_CONFIGURATION)
    assert "serviceAccountName" in caught.value.hint


def test_boto3_is_imported_only_for_s3(tmp_path: Path) -> None:
    code = (
        "import sys; from nnunet_trainer.artifacts import open_store; from nnunet_trainer.contract.work_order import Location;"
        f"open_store(Location(uri='file://{tmp_path}')).put('x', b'');"
        "assert not {'boto3', 'numpy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("named_by", ["caConfigMap", "AWS_CA_BUNDLE"])
@pytest.mark.usefixtures("mounted")
def test_certificates_that_are_brought_later_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str) -> None:
    """A CA that is replaced under a training that lasts for days."""
    old, new = self_signed(tmp_path, "old"), self_signed(tmp_path, "new")
    bundle = tmp_path / "ca" / "ours" / "ca.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(old.read_bytes())
    if named_by == "caConfigMap":
        monkeypatch.setenv(pod.ENV_CA, str(tmp_path / "ca"))
    else:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    location = Location(uri="s3://b/p", secret_name="s", ca_config_map="ours" if named_by == "caConfigMap" else None)
    with OddStore(certificate=new) as server:
        server.objects = {"/b/p/0": b"0"}
        store = S3Store(replace(location, endpoint=server.endpoint), attempts=1)
        with pytest.raises(Fault) as refused:
            store.get("0")
        assert refused.value.reason == "StorageCertificateRejected"
        bundle.write_bytes(old.read_bytes() + new.read_bytes())
        assert store.get("0") == b"0"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer", "StorageCertificateRejected"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "StorageCertificateRejected"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "StorageCertificateRejected"),
        ("EOF occurred in violation of protocol (_ssl.c:2427)", "StorageUnreachable"),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol", "StorageUnreachable"),
        ("The handshake operation timed out", "StorageUnreachable"),
        ("[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac", "StorageUnreachable"),
    ],
)
def test_a_connection_that_is_cut_is_no_certificate_that_is_wrong(said: str, reason: str) -> None:
    """The one passes, and is waited for; the other ends a training."""
    location = Location(uri="s3://b/p", endpoint="https://store")
    found = translate(SSLError(endpoint_url="https://store", error=said), location, "s3://b/p/x")
    assert (found.reason, isinstance(found, StorageFault)) == (reason, reason == "StorageUnreachable")
