"""URIs of stores, and how they are reached: where raw data lies, and where artifacts go."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from nnunet_trainer.contract import uri
from nnunet_trainer.contract.work_order import DatasetOrder, default
from pydantic import Field

from ..base import Rule, SpecModel, fixed
from .names import KubernetesName

Uri = Annotated[str, Field(min_length=1, max_length=1024)]
Endpoint = Annotated[str, Field(max_length=512, pattern=r"^https?://[^\s]+$")]


def uri_rules(*, optional: bool = False) -> tuple[Rule, ...]:
    """A `uri` is one that the trainer can read, in the words of `contract.uri.parse`."""

    def rule(held: str, message: str) -> Rule:
        return Rule(f"!has(self.uri) || {held}" if optional else held, message, "uri")

    def matches(pattern: str) -> str:
        return f"self.uri.matches('{pattern}')".replace("\\", "\\\\")

    known = " || ".join(f"self.uri.startsWith('{scheme}://')" for scheme in uri.SCHEMES)
    claim, bucket = matches(f"^pvc://{uri.CLAIM}(/|$)"), matches(f"^s3://{uri.BUCKET}(/|$)")
    return (
        rule(known, "must begin with s3://, pvc:// or, in the local shell, file://"),
        rule(f"!self.uri.startsWith('s3://') || {bucket}", "must name a bucket after s3://, as s3://bucket/prefix"),
        rule(f"!self.uri.startsWith('pvc://') || {claim}", "must name a claim after pvc://, as pvc://claim/path"),
        rule(
            f"!self.uri.startsWith('file://') || {matches('^file://(localhost)?/')}",
            "must name an absolute folder after file://, as file:///path",
        ),
        rule(f"!{matches('/[.][.](/|$)')}", "must not leave its root by '..'"),
        rule(
            f"!{matches('^s3://.*(//|/[.](/|$))')}",
            "must have no '//' and no '/./' in its path, which an object store takes for names of their own",
        ),
        rule(f"!{matches('[[:cntrl:]]')}", "must hold no control characters"),
    )


class Access(SpecModel):
    """How to reach a URI of an object store."""

    endpoint: Annotated[Endpoint | None, Field(description="The S3 server's URL; absent: AWS.")] = None
    region: Annotated[str | None, Field(max_length=64)] = None
    path_style: Annotated[bool | None, Field(description="Bucket in the path instead of the host name.")] = None
    secret_name: Annotated[
        KubernetesName | None,
        Field(description="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; absent: the pod's own identity."),
    ] = None
    ca_config_map: Annotated[
        KubernetesName | None, Field(alias="caConfigMap", description="ConfigMap with the certificates to trust (ca.crt).")
    ] = None


class StorageSpec(Access):
    """Where artifacts go."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *uri_rules(),
        fixed("uri", "create another object"),
    )
    uri: Annotated[Uri, Field(description="s3://bucket/prefix")]


class SourceSpec(Access):
    """Where raw data lies, and in which layout."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *uri_rules(),
        fixed("uri", "create another Dataset (to read the same place again, set spec.rerun)"),
        fixed("layout", "create another Dataset"),
    )
    uri: Annotated[Uri, Field(description="s3://bucket/…/DatasetXXX_Name, pvc://claim/path; file:// in the local shell.")]
    layout: Annotated[
        Literal["nnUNetV2", "MSD"], Field(description="nnU-Net v2's raw layout, or the Medical Segmentation Decathlon's.")
    ] = default(DatasetOrder, "layout")
