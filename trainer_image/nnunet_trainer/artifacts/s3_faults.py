"""What boto3 raises, as messages for people, parted into what another attempt may not meet and what it will."""

from __future__ import annotations

import errno

from boto3.exceptions import S3UploadFailedError
from botocore import exceptions as boto

from ..contract.faults import BadConfiguration, Fault, StorageFault
from ..contract.work_order import Location
from . import location as locations
from .store import ObjectNotFound

DENIED = {
    "InvalidAccessKeyId": "the store does not know this access key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "AccessDenied": "these credentials may not do this",
    "AllAccessDisabled": "all access is disabled",
    "AccountProblem": "the account is disabled",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "InvalidSecurity": "the credentials are not valid",
    "UnauthorizedAccess": "these credentials may not do this",
    "403": "these credentials are wrong, or may not do this",  # a HEAD is refused without a reason
    "401": "credentials are needed",
    "Forbidden": "these credentials may not do this",
}
FULL = {"QuotaExceeded", "QuotaExceededException", "XMinioStorageFull", "InsufficientStorage", "507", "EntityTooLarge"}
FULL_WORDS = ("quota", "no space left", "disk full", "storage full", "insufficient storage", "not enough space", "cap exceeded")
"""How stores say it in the message of a 403 (Ceph, Backblaze B2) or 500: they have no code for it."""
WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
CHECKSUM_REFUSALS = {
    "NotImplemented",
    "501",
    "XAmzContentSHA256Mismatch",
    "MissingContentLength",
    "InvalidRequest",
    "InvalidArgument",
    "BadDigest",
    "InvalidDigest",
    "XAmzContentChecksumMismatch",
}


def _cause(error: BaseException) -> BaseException:
    # upload_file wraps the client's error and keeps it as the context.
    return error.__context__ if isinstance(error, S3UploadFailedError) and error.__context__ else error


def _code(error: BaseException) -> tuple[str, int]:
    if not isinstance(error, boto.ClientError):
        return "", 0
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code, int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def refuses_checksums(error: BaseException) -> bool:
    """Whether this may be a store's answer to the checksums that boto3 sends by default (since 1.36)."""
    cause = _cause(error)
    return _code(cause)[0] in CHECKSUM_REFUSALS and getattr(cause, "operation_name", "") in (
        "PutObject",
        "UploadPart",
        "CreateMultipartUpload",
        "CompleteMultipartUpload",
    )


def translate(error: BaseException, location: Location, uri: str) -> Fault:
    """Any error of boto3 as a Fault that names the URI, the endpoint and the Secret.

    Args:
        error: what was raised.
        location: of the store.
        uri: what was asked for.
    """
    cause = _cause(error)
    if isinstance(cause, Fault):
        return cause
    endpoint = location.endpoint or "AWS"
    whose = f"the Secret {location.secret_name!r}" if location.secret_name else "the pod's own identity"
    code, status = _code(cause)

    if code == "NoSuchBucket":
        message = f"There is no bucket {locations.parse(location.uri).bucket!r} at {endpoint} ({uri})."
        return BadConfiguration("BucketNotFound", message, hint="Create the bucket, or correct the URI or the endpoint.")
    said = str(cause.response.get("Error", {}).get("Message", "")) if isinstance(cause, boto.ClientError) else ""
    if code in FULL or status == 507 or any(words in f"{code} {said}".lower() for words in FULL_WORDS):
        return StorageFault(
            "StorageFull", f"{endpoint} has no room for {uri} ({code}).", hint="Free some space or raise the quota."
        )
    if code in DENIED or (status in (401, 403) and code != "RequestTimeTooSkewed"):
        why = DENIED.get(code, code)
        return BadConfiguration(
            "StorageAccessDenied", f"{endpoint} refuses access to {uri}: {why} ({whose}).", hint="Correct the keys or their rights."
        )
    if code in ("NoSuchKey", "404", "NotFound"):
        return ObjectNotFound(uri)
    if code in WRONG_REGION or status == 301:
        where = location.region or "the default region"
        message = f"The bucket {locations.parse(location.uri).bucket!r} is not served in {where} ({code})."
        return BadConfiguration("WrongRegion", message, hint="Set the storage's region.")
    if code == "RequestTimeTooSkewed":
        return StorageFault(
            "ClockSkew", f"{endpoint} refuses requests: this machine's clock is wrong.", hint="Set the node's clock."
        )
    if code:
        text = f"{endpoint} failed on {uri}: {code}, {said or 'no message'}."
        return StorageFault("StorageFailing", text)
    return _without_answer(cause, uri, endpoint, whose)


def _without_answer(cause: BaseException, uri: str, endpoint: str, whose: str) -> Fault:
    if isinstance(cause, (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)):
        hint = "Name a Secret (secretName), or a service account with an identity (template.serviceAccountName)."
        return BadConfiguration("StorageCredentialsMissing", f"There are no credentials for {uri}: {whose} has none.", hint=hint)
    if isinstance(cause, boto.SSLError) and "WRONG_VERSION_NUMBER" in str(cause):
        message = f"{endpoint} does not answer with TLS ({uri})."
        return BadConfiguration("StorageCertificateRejected", message, hint="Is it an endpoint for http://?")
    if isinstance(cause, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(cause):  # others are of a connection that was cut
        message = f"The certificate of {endpoint} is not trusted: {cause}."
        return BadConfiguration("StorageCertificateRejected", message, hint="Name the CA's ConfigMap (caConfigMap).")
    if isinstance(cause, (boto.ParamValidationError, boto.InvalidRegionError, boto.InvalidS3AddressingStyleError, ValueError)):
        text = " ".join(str(cause).split())
        return BadConfiguration(
            "InvalidStorageUri",
            f"{uri} at {endpoint} cannot be asked for: {text.removesuffix('.')}.",
            hint="Write s3://bucket/prefix, and the endpoint with http:// or https://.",
        )
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Give the pod more scratch space (template.scratch)."
        return StorageFault("ScratchFull", f"No space is left on this pod's disk for {uri}.", hint=hint)
    if isinstance(cause, (boto.HTTPClientError, boto.ConnectionError, boto.BotoCoreError)):
        return StorageFault(
            "StorageUnreachable",
            f"{endpoint} cannot be reached for {uri}: {cause}",
            hint="Is the endpoint right, and does a network policy allow it?",
        )
    return StorageFault("StorageFailing", f"{uri} at {endpoint}: {type(cause).__name__}: {cause}.")
