"""Where a Job's pods may run, and what they are given there, beside a node's labels: parts of `spec.template`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import FreeForm, Rule, SpecModel
from .fields.names import KubernetesName

LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""A DNS label: the name of a claim within a pod."""

LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
"""The key of a label, such as `topology.kubernetes.io/zone`."""


class TopologySpreadConstraint(SpecModel):
    """As in a pod."""

    max_skew: Annotated[int, Field(ge=1, le=10_000)]
    topology_key: LabelKey
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: Annotated[FreeForm | None, Field(description="Absent: the pods of the same Job.")] = None
    match_label_keys: Annotated[list[LabelKey] | None, Field(max_length=16)] = None
    min_domains: Annotated[int | None, Field(ge=1, le=10_000)] = None
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
            "goes with whenUnsatisfiable: DoNotSchedule",
            "minDomains",
        ),
    )


class PodResourceClaim(SpecModel):
    """A claim of Dynamic Resource Allocation, for the pod and for the trainer's container in it."""

    name: LabelName
    resource_claim_name: Annotated[KubernetesName | None, Field(description="A ResourceClaim, which all pods share.")] = None
    resource_claim_template_name: Annotated[
        KubernetesName | None, Field(description="A ResourceClaimTemplate, of which each pod gets a claim of its own.")
    ] = None
    request: Annotated[LabelName | None, Field(description="One request of the claim; absent: all of it.")] = None
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",
            "give exactly one of resourceClaimName and resourceClaimTemplateName",
        ),
    )


class DatasetCacheSpec(SpecModel):
    """A claim with copies of preprocessed data: `s3://bucket/prefix/…` lies in it as `bucket/prefix/…`.

    It is mounted read-only; people or a job of theirs fill it (`aws s3 sync`, `rclone sync`). A training takes from it the files,
    each of the right size, of artifacts whose manifest.json is there and is the store's; all else comes from the store.
    """

    claim_name: Annotated[KubernetesName, Field(description="A PersistentVolumeClaim that many nodes can read.")]
