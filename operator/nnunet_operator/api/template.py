"""`spec.template`: what a person may say about the pods, beside where they run (`placement`)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import FreeForm, Rule, SpecModel
from .fields.int_or_string import Quantity
from .fields.names import KubernetesName, LabelValue
from .fields.own_keys import QUEUE_LABEL, own_keys
from .placement import DatasetCacheSpec, PodResourceClaim, TopologySpreadConstraint


class SecretReference(SpecModel):
    """A Secret of the same namespace."""

    name: KubernetesName


class ResourcesSpec(SpecModel):
    """Requests and limits of the trainer's container."""

    requests: Annotated[dict[str, Quantity] | None, Field(max_length=16)] = None
    limits: Annotated[dict[str, Quantity] | None, Field(max_length=16)] = None


class ScratchSpec(SpecModel):
    """The pod's own disk, gone with the pod: an emptyDir, or a volume of a storage class."""

    size: Annotated[Quantity | None, Field(description="Its limit; with a storage class, its size.")] = None
    storage_class_name: KubernetesName | None = None
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.storageClassName) || has(self.size)", "a storageClassName needs a size", "size"),
    )


class SharedMemorySpec(SpecModel):
    """/dev/shm of the pod."""

    size: Quantity


class Toleration(SpecModel):
    """As in a pod."""

    key: Annotated[str | None, Field(max_length=317)] = None
    operator: Literal["Exists", "Equal"] | None = None
    value: Annotated[str | None, Field(max_length=63)] = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class KeySelector(SpecModel):
    """One key of a Secret or a ConfigMap of the same namespace."""

    name: KubernetesName
    key: Annotated[str, Field(min_length=1, max_length=253)]


class EnvSource(SpecModel):
    """Where an environment variable's value comes from."""

    secret_key_ref: KeySelector | None = None
    config_map_key_ref: KeySelector | None = None
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.secretKeyRef) != has(self.configMapKeyRef)", "give exactly one of secretKeyRef and configMapKeyRef"),
    )


OPERATORS_VARIABLES = (
    "JOB_COMPLETION_INDEX",
    *("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MPLCONFIGDIR", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
)
"""Variables of the trainer's container that the operator, the trainer's supervisor and (the first) the Job controller set, beside
`NNUNET_…` and `POD_…`.

The Job controller leaves a JOB_COMPLETION_INDEX that is there as it is: all pods of a Job would do the work of one.
"""


class EnvVar(SpecModel):
    """An environment variable of the trainer's container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: Annotated[str | None, Field(max_length=4096)] = None
    value_from: EnvSource | None = None
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.name.startsWith('NNUNET_') && !self.name.startsWith('POD_')",
            "names that begin with NNUNET_ or POD_ are the operator's",
            "name",
        ),
        Rule(
            f"!(self.name in [{', '.join(repr(name) for name in OPERATORS_VARIABLES)}])",
            f"{', '.join(OPERATORS_VARIABLES)} are the operator's",
            "name",
        ),
        Rule("!(has(self.value) && has(self.valueFrom))", "give value or valueFrom, not both"),
    )


class PodSecurity(SpecModel):
    """Who the trainer runs as; the rest of the security context is the operator's (Pod Security: restricted)."""

    run_as_user: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    run_as_group: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    fs_group: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None


CONFINEMENT = (
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
)
"""Annotations that speak of a pod's confinement begin so (k8s.io/pod-security-admission, policy/check_appArmorProfile.go)."""


class TemplateSpec(SpecModel):
    """What a person may say about the pods. Only these fields; changes count from the next Job on."""

    rules: ClassVar[tuple[Rule, ...]] = (
        own_keys("labels"),
        own_keys("annotations"),
        own_keys("jobLabels", QUEUE_LABEL),
        own_keys("jobAnnotations"),
        Rule(
            "!has(self.annotations) || self.annotations.all(key, "
            + " && ".join(f"!key.startsWith('{prefix}')" for prefix in CONFINEMENT)
            + ")",
            "the pods' AppArmor and seccomp profiles are the operator's (RuntimeDefault)",
            "annotations",
        ),
    )
    image: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: Annotated[
        list[SecretReference] | None, Field(max_length=16, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})
    ] = None
    service_account_name: KubernetesName | None = None
    runtime_class_name: KubernetesName | None = None
    resources: ResourcesSpec | None = None
    scratch: ScratchSpec | None = None
    shared_memory: SharedMemorySpec | None = None
    node_selector: Annotated[dict[str, LabelValue] | None, Field(max_length=64)] = None
    affinity: FreeForm | None = None
    tolerations: Annotated[list[Toleration] | None, Field(max_length=64)] = None
    priority_class_name: KubernetesName | None = None
    security: PodSecurity | None = None
    termination_grace_period_seconds: Annotated[int | None, Field(ge=1, le=86_400)] = None
    labels: Annotated[dict[str, LabelValue] | None, Field(max_length=64)] = None
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]] | None, Field(max_length=64)] = None
    job_labels: Annotated[
        dict[str, LabelValue] | None, Field(max_length=64, description="Of the Job itself, such as kueue.x-k8s.io/priority-class.")
    ] = None
    job_annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]] | None, Field(max_length=64, description="Of the Job itself.")
    ] = None
    topology_spread_constraints: Annotated[
        list[TopologySpreadConstraint] | None,
        Field(max_length=16, json_schema_extra={"x-kubernetes-list-map-keys": ["topologyKey", "whenUnsatisfiable"]}),
    ] = None
    scheduler_name: Annotated[KubernetesName | None, Field(description="Absent: the cluster's default scheduler.")] = None
    resource_claims: Annotated[
        list[PodResourceClaim] | None, Field(max_length=16, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})
    ] = None
    dataset_cache: DatasetCacheSpec | None = None
    env: Annotated[list[EnvVar] | None, Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})] = None
