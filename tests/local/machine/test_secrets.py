"""Where Secrets of one machine come from."""

from __future__ import annotations

from pathlib import Path

from nnunet_operator.local.machine import secrets


def test_secrets_come_from_a_folder_the_environment_or_the_profile(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert secrets.find("s3", None, home) is None
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[lab]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert secrets.find("s3", None, home) is None
    assert secrets.find("s3", None, {**home, "AWS_PROFILE": "lab"}) == {"AWS_ACCESS_KEY_ID": b"a", "AWS_SECRET_ACCESS_KEY": b"b"}
    own = {"AWS_ACCESS_KEY_ID": "c", "AWS_SECRET_ACCESS_KEY": "d", "AWS_SESSION_TOKEN": "e"}
    assert secrets.find("s3", None, home | own) == {key: value.encode() for key, value in own.items()}
    (tmp_path / "secrets" / "s3").mkdir(parents=True)
    (tmp_path / "secrets" / "s3" / "AWS_ACCESS_KEY_ID").write_text("f")
    assert secrets.find("s3", tmp_path / "secrets", home | own) == {"AWS_ACCESS_KEY_ID": b"f"}
