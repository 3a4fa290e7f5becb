"""What the URIs of a work order mean: `s3://bucket/prefix`, `file:///folder`, `pvc://claim/folder`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..contract import pod, uri
from ..contract.faults import BadConfiguration
from ..contract.work_order import Location


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URI: for s3 a bucket and a prefix without slashes at its ends, else an absolute folder."""

    scheme: Literal["s3", "file", "pvc"]
    bucket: str = ""
    prefix: str = ""
    folder: Path = Path("/")


def parse(text: str) -> Address:
    """Read a URI.

    Raises:
        BadConfiguration: as `contract.uri.parse`.
    """
    found = uri.parse(text)
    if found.scheme == "file":
        return Address("file", folder=Path(found.path))
    if found.scheme == "pvc":
        return Address("pvc", folder=pod.claims() / found.authority / found.path)
    return Address("s3", bucket=found.authority, prefix=found.path)


def join(place: str, key: str) -> str:
    """`s3://b/p`, `k` → `s3://b/p/k`."""
    base = place.rstrip("/")
    if base.endswith(":"):  # file:///, the root of this machine
        return f"{base}///{key}"
    return f"{base}/{key}" if key else base


def child(location: Location, key: str) -> Location:
    """A place below a location, reached in the same way."""
    return replace(location, uri=join(location.uri, key))


def split_file(location: Location) -> tuple[Location, str]:
    """A location that names one file, as its folder's location and the file's name.

    Raises:
        BadConfiguration: an unusable URI, or one that names no file.
    """
    found = uri.parse(location.uri)
    folder, _, name = location.uri.rpartition("/")
    if not name or not found.path.strip("/"):
        raise BadConfiguration("InvalidStorageUri", f"{location.uri!r} names no file.")
    return replace(location, uri=join(f"{folder}/", "")), name


def credential(location: Location, key: str, *, optional: bool = False) -> str | None:
    """One value of the location's mounted Secret.

    Raises:
        BadConfiguration: the Secret is not mounted, or lacks the key.
    """
    assert location.secret_name
    folder = pod.secrets() / location.secret_name
    file = folder / key
    if file.is_file():
        return file.read_text().strip()
    if optional:
        return None
    needed = "It needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and may have AWS_SESSION_TOKEN."
    if not folder.is_dir():
        message = f"The Secret {location.secret_name!r} for {location.uri} is not mounted."
        raise BadConfiguration("SecretNotFound", message, hint=f"Create it in the object's namespace. {needed}")
    held = ", ".join(_keys(folder)) or "no key"
    message = f"The Secret {location.secret_name!r} for {location.uri} has no key {key}; it holds: {held}."
    raise BadConfiguration("SecretKeyMissing", message, hint=needed)


def certificate(location: Location) -> Path | None:
    """The CA file to trust, or None for the system's own: `ca.crt` of the ConfigMap, or its only key.

    Raises:
        BadConfiguration: the ConfigMap is not mounted, or it is unclear which of its keys is meant.
    """
    if not location.ca_config_map:
        return None
    folder = pod.certificates() / location.ca_config_map
    names = _keys(folder) if folder.is_dir() else []
    if "ca.crt" in names:
        return folder / "ca.crt"
    if len(names) == 1:
        return folder / names[0]
    found = f"it holds: {', '.join(names)}" if names else "it is empty or not mounted"
    message = f"The ConfigMap {location.ca_config_map!r} for {location.uri} has no key ca.crt; {found}."
    raise BadConfiguration("CertificateMissing", message, hint="Put the CA's certificates (PEM) under the key ca.crt.")


def _keys(folder: Path) -> list[str]:
    # The kubelet's own links begin with two dots.
    return sorted(f.name for f in folder.iterdir() if not f.name.startswith(".."))
