"""URIs are read as they are written, or refused; the CRDs refuse what the trainer would."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunet_operator.api.fields.uris import SourceSpec
from nnunet_operator.api.schema.cel_rules import violations
from nnunet_trainer.contract import uri
from nnunet_trainer.contract.faults import BadConfiguration, ExitCode

NAMES = [
    "plain",
    "a#b",
    "#",
    "a?b",
    "?versionId=1",
    "a%20b",
    "100%",
    "%2e%2e",
    "%2F",
    "a b",
    " a",
    "a ",
    "dätä",
    "da\u0308ta\u0308",  # NFD
    "データ",
    "a+b",
    "a&b=c",
    "a;b",
    "a:b",
    "a@b",
    "~a",
    "~",
    'a"b',
    "a'b",
    "a\\b",
    "a$HOME",
    "a*[b]{c}",
    "...",
    "..a",
    "a..",
    "a|b<c>^`",
]
"""Names of a folder that mean nothing but themselves."""

REFUSED = [
    "",
    " s3://b/x",
    "bucket/x",
    "/a/b",
    "http://b/x",
    "S3://b/x",
    "s3:/b/x",
    "s3:b/x",
    "s3://",
    "s3:///x",
    "s3://b?x",
    "s3://b#x/y",
    "s3://b:9000/x",
    "s3://me@b/x",
    "s3://b%20c/x",
    "s3://b c/x",
    "s3://bä/x",
    "s3://../x",
    "s3://b/../c",
    "s3://b/a/..",
    "s3://b//a",
    "s3://b/a//c",
    "s3://b/a//",
    "s3://b//",
    "s3://b/./a",
    "s3://b/a/.",
    "s3://b/a\nb",
    "s3://b/a\tb",
    "pvc://",
    "pvc:///x",
    "pvc://../x",
    "pvc://./x",
    "pvc://Claim/x",
    "pvc://a#b/x",
    "pvc://a?b",
    "pvc://a..b/x",
    "pvc://-a/x",
    "pvc://a/../b",
    "file:x",
    "file:/x",
    "file://",
    "file://host/x",
    "file://localhost",
    "file://localhostess/x",
    "file:///a/../b",
    "file:///..",
    "file:///a\0b",
    "FILE:///a",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_itself(name: str) -> None:
    assert uri.parse(f"s3://b/p/{name}/q") == uri.Uri("s3", "b", f"p/{name}/q")
    assert uri.parse(f"s3://b/{name}") == uri.Uri("s3", "b", name)
    assert uri.parse(f"pvc://c.d/{name}/q") == uri.Uri("pvc", "c.d", f"{name}/q")
    assert uri.parse(f"file:///p/{name}") == uri.Uri("file", "", f"/p/{name}")
    assert uri.parse(uri.of_path(Path("/p") / name)).path == f"/p/{name}"
    assert uri.to_path(f"file:///p/{name}") == Path("/p") / name


def test_slashes_that_say_nothing() -> None:
    assert uri.parse("s3://b") == uri.parse("s3://b/") == uri.Uri("s3", "b", "")
    assert uri.parse("s3://b/p/q/") == uri.parse("s3://b/p/q")
    assert uri.parse("pvc://c/") == uri.parse("pvc://c")
    assert uri.parse("file:////a/") == uri.parse("file://localhost/a") == uri.Uri("file", "", "/a")
    assert uri.parse("file:///").path == "/"


@pytest.mark.parametrize("text", [*REFUSED, "file:///\udcff", "s3://b/\ud800"])
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        uri.parse(text)
    assert (caught.value.reason, caught.value.exit_code) == ("InvalidStorageUri", ExitCode.BAD_CONFIGURATION)
    str(caught.value).encode()  # it can be printed


def _rules(text: str) -> list[str]:
    return violations(SourceSpec.model_json_schema(), {"uri": text})


@pytest.mark.parametrize("text", REFUSED)
def test_the_crds_refuse_what_the_trainer_would(text: str) -> None:
    assert _rules(text)
    assert all(message.startswith("uri: must ") and "evaluated" not in message for message in _rules(text))


@pytest.mark.parametrize("name", NAMES)
def test_the_crds_accept_what_the_trainer_reads(name: str) -> None:
    for text in (
        f"s3://b/p/{name}/q",
        f"s3://b/{name}",
        f"pvc://c.d/{name}/q",
        f"file:///p/{name}",
        "s3://b",
        "s3://b/",
        "pvc://c",
    ):
        assert _rules(text) == []


@pytest.mark.parametrize(("text", "claim"), [("pvc://c/x#y?z", "c"), ("pvc://a.b", "a.b"), ("s3://c/x", None), ("file:///x", None)])
def test_the_claim_to_mount(text: str, claim: str | None) -> None:
    assert uri.claim(text) == claim


@pytest.mark.parametrize(("name", "shown"), [("ä", "ä"), ("a\udcff", "a\\xff"), ("a\ud800", "a\\ud800")])
def test_any_name_can_be_shown(name: str, shown: str) -> None:
    assert uri.printable(name) == shown
    assert uri.is_utf8(name) == (name == shown)
