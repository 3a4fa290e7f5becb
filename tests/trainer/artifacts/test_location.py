from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_trainer.artifacts import open_store
from nnunet_trainer.artifacts.location import Address, certificate, child, credential, join, parse, split_file
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.faults import BadConfiguration, ExitCode
from nnunet_trainer.contract.work_order import Location


def test_parts_become_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_PVC", "/mnt")
    assert parse("s3://b/p/q#r/") == Address("s3", bucket="b", prefix="p/q#r")
    assert parse("s3://b") == Address("s3", bucket="b")
    assert parse("file:///a/b%20c").folder == Path("/a/b%20c")
    assert parse("pvc://claim/x/y?").folder == Path("/mnt/claim/x/y?")
    assert parse("pvc://claim").folder == Path("/mnt/claim")


def test_a_file_is_parted_from_its_folder() -> None:
    folder, name = split_file(Location(uri="s3://b/p/checkpoint_final.pth", endpoint="e", secret_name="s"))
    assert (folder.uri, folder.secret_name, name) == ("s3://b/p", "s", "checkpoint_final.pth")
    assert child(folder, name).uri == "s3://b/p/checkpoint_final.pth"


@pytest.mark.parametrize(
    ("uri", "folder", "name"),
    [
        ("s3://b/c.pth", "s3://b", "c.pth"),
        ("s3://b/p#1/c?.pth", "s3://b/p#1", "c?.pth"),
        ("pvc://c/c.pth", "pvc://c", "c.pth"),
        ("file:///a b/c%20.pth", "file:///a b", "c%20.pth"),
        ("file:///c.pth", "file:///", "c.pth"),
    ],
)
def test_a_files_name_is_as_it_is_written(uri: str, folder: str, name: str) -> None:
    found, key = split_file(Location(uri=uri))
    assert (found.uri, key) == (folder, name)
    assert join(found.uri, key) == uri
    assert parse(found.uri)


@pytest.mark.parametrize(
    "uri", ["s3://bucket", "s3://bucket/", "s3://b/p/", "s3://b/a//c.pth", "file:///", "file:///a/", "pvc://c"]
)
def test_what_names_no_file_is_refused(uri: str) -> None:
    with pytest.raises(BadConfiguration):
        split_file(Location(uri=uri))


def test_an_unmounted_volume_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NNUNET_PVC", str(tmp_path))
    with pytest.raises(BadConfiguration, match="pvc://data/x is not mounted") as caught:
        open_store(Location(uri="pvc://data/x"))
    assert caught.value.reason == "VolumeNotMounted"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(pod.ENV_SECRETS, str(tmp_path))
    return tmp_path


def test_a_secret_is_read_from_files_without_the_newline(secrets: Path) -> None:
    (secrets / "mine").mkdir()
    (secrets / "mine/AWS_ACCESS_KEY_ID").write_text("me\n")
    location = Location(uri="s3://b", secret_name="mine")
    assert credential(location, "AWS_ACCESS_KEY_ID") == "me"
    assert credential(location, "AWS_SESSION_TOKEN", optional=True) is None


def test_a_missing_key_of_a_secret_is_named_with_those_it_has(secrets: Path) -> None:
    (secrets / "mine/..data").mkdir(parents=True)
    (secrets / "mine/AWS_ACCESS_KEY_ID").write_text("me")
    (secrets / "mine/secret").write_text("x")
    with pytest.raises(BadConfiguration) as caught:
        open_store(Location(uri="s3://b", endpoint="http://127.0.0.1:1", secret_name="mine"))
    assert caught.value.reason == "SecretKeyMissing"
    assert "no key AWS_SECRET_ACCESS_KEY; it holds: AWS_ACCESS_KEY_ID, secret" in caught.value.message
    assert caught.value.exit_code == ExitCode.BAD_CONFIGURATION


def test_a_secret_that_is_not_there(secrets: Path) -> None:
    with pytest.raises(BadConfiguration, match="'other'") as caught:
        open_store(Location(uri="s3://b", secret_name="other"))
    assert caught.value.reason == "SecretNotFound"


@pytest.mark.parametrize(("files", "expected"), [(["ca.crt", "x.pem"], "ca.crt"), (["only.pem"], "only.pem")])
def test_the_certificate_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], expected: str) -> None:
    monkeypatch.setenv(pod.ENV_CA, str(tmp_path))
    (tmp_path / "trust").mkdir()
    for name in files:
        (tmp_path / "trust" / name).write_text("")
    assert certificate(Location(uri="s3://b", ca_config_map="trust")) == tmp_path / "trust" / expected


@pytest.mark.parametrize("files", [[], ["a.pem", "b.pem"]])
def test_an_unclear_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str]) -> None:
    monkeypatch.setenv(pod.ENV_CA, str(tmp_path))
    (tmp_path / "trust").mkdir()
    for name in files:
        (tmp_path / "trust" / name).write_text("")
    with pytest.raises(BadConfiguration, match=r"no key ca\.crt"):
        certificate(Location(uri="s3://b", ca_config_map="trust"))
