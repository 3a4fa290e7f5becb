"""S3 and what calls itself compatible. boto3 is imported here and nowhere else."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from ..contract.faults import BadConfiguration, Fault, StorageFault
from ..contract.work_order import Location
from . import location as locations
from .s3_faults import refuses_checksums, translate
from .store import ObjectInfo, ObjectNotFound

T = TypeVar("T")
log = logging.getLogger(__name__)

PART = 16 * 2**20
ATTEMPTS = 5
CUT = (HTTPClientError, IncompleteReadError)
PROBE = ".nnunet/conditional-writes"
TRANSFER = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
COPY = TransferConfig(multipart_threshold=2**30, multipart_chunksize=2**28, max_concurrency=4)
"""One request copies 5 GB at most, and its answer must come within the read timeout."""

_session_lock = threading.Lock()  # making clients is the one thing in boto3 that threads must not do at once
_counter = itertools.count()


class S3Store:
    """Objects below `s3://bucket/prefix`.

    Files above 16 MiB go up and down in parts. Requests are tried five times, with growing pauses, and once more with the keys
    that the Secret holds now where the old ones are refused. A store that refuses boto3's
    default checksums is asked without them from then on; one that ignores `If-None-Match` is found out by a probe before the first
    conditional write. Both are logged once. A CA's file is read for each new connection.
    """

    def __init__(self, location: Location, address: locations.Address | None = None, attempts: int | None = None) -> None:
        address = address or locations.parse(location.uri)
        self.location = location
        self.root = locations.join(location.uri, "")
        self.bucket = address.bucket
        self.prefix = f"{address.prefix}/" if address.prefix else ""
        self._attempts = attempts or ATTEMPTS
        self._checksums = "when_supported"
        self._renewing = threading.Lock()
        self._client = self._connect()

    def uri(self, key: str = "") -> str:
        return locations.join(self.root, key)

    def stat(self, key: str) -> ObjectInfo | None:
        try:
            head = self._ask(key, lambda c: c.head_object(Bucket=self.bucket, Key=self.prefix + key))
        except ObjectNotFound:
            return None
        return ObjectInfo(key, head["ContentLength"], head["ETag"].strip('"'))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        while True:
            page = self._ask(prefix, lambda c: c.list_objects_v2(**arguments))
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(self.prefix)
                if not key.endswith("/"):  # "folders" that consoles make
                    yield ObjectInfo(key, item["Size"], item["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def get(self, key: str) -> bytes:
        def read(client: Any) -> bytes:
            left = self._attempts
            while True:
                left -= 1
                body = client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"]
                try:
                    return bytes(body.read())
                except CUT as error:  # in the middle of the content, which boto does not ask for again
                    if left <= 0:
                        raise
                    log.info("%s was cut off, asking again: %s", self.uri(key), error)

        return self._ask(key, read)

    def put(self, key: str, data: bytes) -> None:
        self._ask(key, lambda c: c.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.conditional_writes:
            return self._put_conditionally(key, data)
        if self.stat(key) is not None:
            return False
        self.put(key, data)
        return True

    def get_file(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".partial-{path.name}-{os.getpid()}-{next(_counter)}")
        try:
            self._ask(key, lambda c: c.download_file(self.bucket, self.prefix + key, str(temporary), Config=TRANSFER))
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def put_file(self, path: Path, key: str) -> None:
        self._ask(key, lambda c: c.upload_file(str(path), self.bucket, self.prefix + key, Config=TRANSFER))

    def copy(self, key: str, target: str, size: int) -> bool:
        try:
            head = self._ask(key, lambda c: c.head_object(Bucket=self.bucket, Key=self.prefix + key))
            if head["ContentLength"] != size:
                return False
            source, same = {"Bucket": self.bucket, "Key": self.prefix + key}, {"CopySourceIfMatch": head["ETag"]}
            self._ask(target, lambda c: c.copy(source, self.bucket, self.prefix + target, ExtraArgs=same, Config=COPY))
            made = self.stat(target)
        except Fault as fault:
            log.info("%s is not copied from %s within the store, but uploaded: %s", self.uri(target), key, fault.message)
            return False
        return made is not None and made.size == size

    def delete(self, key: str) -> None:
        self._ask(key, lambda c: c.delete_object(Bucket=self.bucket, Key=self.prefix + key))

    def discard_unfinished(self, prefix: str, part: str = "") -> int:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self.prefix + prefix}
        found = 0
        while True:
            page = self._ask(prefix, lambda c: c.list_multipart_uploads(**arguments))
            for each in [upload for upload in page.get("Uploads", []) if part in upload["Key"]]:
                target = {"Bucket": self.bucket, "Key": each["Key"], "UploadId": each["UploadId"]}
                with contextlib.suppress(StorageFault):  # NoSuchUpload: it was finished meanwhile
                    self._ask(prefix, lambda c, target=target: c.abort_multipart_upload(**target))
                    found += 1
            if not page.get("IsTruncated"):
                return found
            arguments["KeyMarker"], arguments["UploadIdMarker"] = page["NextKeyMarker"], page["NextUploadIdMarker"]

    def local_path(self, key: str) -> Path | None:
        return None

    @cached_property
    def conditional_writes(self) -> bool:
        """Whether `If-None-Match: *` is honoured. Where it is not, two writers of one key may both think they were first."""
        try:
            honoured = not self._put_conditionally(PROBE, b"") or not self._put_conditionally(PROBE, b"")
        except BadConfiguration:
            raise
        except NotImplementedError:
            honoured = False
        if not honoured:
            log.warning("%s ignores If-None-Match: what two Jobs write at the same moment, the later one keeps", self.uri())
        return honoured

    def _put_conditionally(self, key: str, data: bytes) -> bool:
        def write(client: Any) -> bool:
            try:
                client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in ("PreconditionFailed", "412"):
                    # boto asked again when an answer was lost: then what is there may be of this call.
                    repeated = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
                    return bool(repeated) and self.get(key) == data
                if code == "ConditionalRequestConflict":  # another write of this key is under way: who wins is seen by asking
                    return False if self.stat(key) is not None else write(client)
                if code in ("NotImplemented", "501") and self._checksums == "when_required":
                    raise NotImplementedError from error
                raise
            return True

        return self._ask(key, write)

    def _ask(self, key: str, request: Callable[[Any], T]) -> T:
        client = self._client
        try:
            return request(client)
        except NotImplementedError:
            raise
        except Exception as error:
            if not (self._checksums == "when_supported" and refuses_checksums(error)):
                fault = translate(error, self.location, self.uri(key))
                if fault.reason != "StorageAccessDenied" or not self._has_new_keys(client):
                    raise fault from error
                return self._ask(key, request)
        self._checksums = "when_required"
        self._client = self._connect()
        log.warning("%s refuses boto3's default checksums; going on without them", self.uri())
        return self._ask(key, request)

    def _has_new_keys(self, client: Any) -> bool:
        """Whether the Secret holds other keys than this client's, or did when another thread asked; from now on they are in use.

        The kubelet brings them. Threads that are refused at once share the client that the first of them makes.
        """
        with self._renewing:
            if self._client is client:
                if self._keys == self._secret():
                    return False
                self._client = self._connect()
            return True

    def _secret(self) -> dict[str, str | None]:
        if not self.location.secret_name:
            return {}
        return {
            "aws_access_key_id": locations.credential(self.location, "AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": locations.credential(self.location, "AWS_SECRET_ACCESS_KEY"),
            "aws_session_token": locations.credential(self.location, "AWS_SESSION_TOKEN", optional=True),
        }

    def _connect(self) -> Any:
        location = self.location
        style = "path" if location.path_style or (location.path_style is None and location.endpoint) else "auto"
        config = Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": self._attempts},
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=32,
            s3={"addressing_style": style if location.path_style is not False else "virtual"},
            request_checksum_calculation=self._checksums,
            response_checksum_validation=self._checksums,
        )
        self._keys = self._secret()
        certificate = locations.certificate(location)
        with _session_lock:
            try:
                session = _session()
                region = location.region or session.region_name or "us-east-1"
                return session.client(
                    "s3",
                    endpoint_url=location.endpoint,
                    region_name=region,
                    config=config,
                    verify=str(certificate) if certificate else None,
                    **self._keys,
                )
            except Exception as error:
                raise translate(error, self.location, self.uri()) from error


@cache
def _session() -> boto3.Session:
    # One for all: it reads boto3's service descriptions, which takes longer than most requests.
    return boto3.Session()
