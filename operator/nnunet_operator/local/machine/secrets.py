"""Secrets of one machine: a folder of the user's, or the user's own AWS credentials. The store never holds one."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def find(name: str, folder: Path | None, environment: Mapping[str, str]) -> dict[str, bytes] | None:
    """The keys and values of a Secret.

    `folder/name/KEY`, one file a key; where that is not, the AWS variables of the environment, else the profile in
    ~/.aws/credentials (AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE). None when there is nothing of all this.
    """
    own = folder / name if folder else None
    if own and own.is_dir():
        return {file.name: file.read_bytes() for file in own.iterdir() if file.is_file() and not file.name.startswith(".")}
    if all(environment.get(key) for key in KEYS[:2]):
        return {key: environment[key].encode() for key in KEYS if environment.get(key)}
    home = Path(environment.get("HOME", "~")).expanduser()
    path = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials")
    parser = configparser.RawConfigParser()
    parser.read(path)
    profile = environment.get("AWS_PROFILE", "default")
    held = {key: parser.get(profile, key.lower(), fallback="") for key in KEYS}
    return {key: value.encode() for key, value in held.items() if value} if all(held[key] for key in KEYS[:2]) else None
