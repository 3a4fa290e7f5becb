"""The storage, opened with the caller's own credentials: boto3's usual chain, nothing of the cluster's Secrets."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnunet_trainer.artifacts.store import ObjectStore
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, Fault, StorageFault
from nnunet_trainer.contract.work_order import Location

CREDENTIALS = (
    "Your own credentials are used: AWS_PROFILE (or --profile), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws sso login`."
)
HINTS = {
    "StorageCredentialsMissing": CREDENTIALS,
    "StorageAccessDenied": CREDENTIALS,
    "StorageUnreachable": "An endpoint within the cluster is not reached from here: kubectl port-forward its Service, and name "
    "--endpoint-url http://127.0.0.1:PORT.",
    "StorageCertificateRejected": "Name the CA's certificates by AWS_CA_BUNDLE=FILE.",
}
"""What the caller, who is no pod, can do, by a fault's reason."""


@contextmanager
def opened(location: Location) -> Iterator[ObjectStore]:
    """The store at a location; its faults speak to the caller.

    Raises:
        BadUsage: boto3 is not installed.
    """
    try:
        from nnunet_trainer.artifacts.opening import open_store
        from nnunet_trainer.artifacts.s3 import S3Store  # noqa: F401 — whether boto3 is there
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        raise BadUsage("NoBoto3", "Reading from S3 needs boto3.", hint="pip install 'nnunet-operator[kubectl]'") from error
    try:
        yield open_store(location)
    except (BadConfiguration, StorageFault) as fault:
        raise _to_the_caller(fault) from fault


def use(profile: str | None, certificates: Sequence[Mapping[str, str]]) -> None:
    """Have boto3 use a profile, and trust the storages' own CAs where the caller names none (AWS_CA_BUNDLE).

    Args:
        profile: of ~/.aws/config; None: the usual one.
        certificates: of each storage's ConfigMap, by key: `ca.crt`, or the only one.
    """
    if profile:
        os.environ["AWS_PROFILE"] = profile
    pem = "\n".join(texts.get("ca.crt") or next(iter(texts.values()), "") for texts in certificates)
    if pem.strip() and "AWS_CA_BUNDLE" not in os.environ:
        with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
            file.write(pem)
        atexit.register(Path(file.name).unlink, missing_ok=True)
        os.environ["AWS_CA_BUNDLE"] = file.name


def _to_the_caller(fault: Fault) -> Fault:
    message = fault.message.replace("the pod's own identity", "your own credentials")
    return type(fault)(fault.reason, message, hint=HINTS.get(fault.reason, fault.hint), findings=fault.findings)
