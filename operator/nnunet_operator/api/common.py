"""Parts that several kinds share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from nnunet_trainer.contract import uri
from nnunet_trainer.contract.work_order import DatasetOrder, default
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

from .base import Rule, SpecModel, StatusModel, Time, fixed
from .conditions import Condition

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""The name of an object of our kinds."""

KubernetesName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of a Secret, a ConfigMap, a ServiceAccount …"""

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
"""The value of a label."""

Configuration = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""A configuration of a plans file, such as `3d_fullres`. It becomes a label's value."""

PlansName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""A plans file's name without `.json`, such as `nnUNetPlans`. It becomes a part of a folder's name."""

DatasetName = Annotated[str, Field(max_length=100, pattern=r"^Dataset[0-9]{3,6}_[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")]
"""nnU-Net's folder name, such as `Dataset004_Hippocampus`."""

Component = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of a planner, an extractor, a trainer."""

Fold = Annotated[str, Field(max_length=3, pattern=r"^(all|0|[1-9][0-9]?)$")]
"""A fold's number, or `all`."""


Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")]
"""An amount of a resource, such as `500m`, `16Gi`."""

Uri = Annotated[str, Field(min_length=1, max_length=1024)]
Endpoint = Annotated[str, Field(max_length=512, pattern=r"^https?://[^\s]+$")]
Rerun = Annotated[str, Field(max_length=64, description="A new value ends a terminal failure and tries again.")]


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


def no_separator(field: str, *, optional: bool = False) -> Rule:
    """A name can be a part of nnU-Net's results folder, `Trainer__Plans__Configuration`."""
    rule = f"!self.{field}.contains('__')"
    return Rule(f"!has(self.{field}) || {rule}" if optional else rule, NO_SEPARATOR, field)


NO_SEPARATOR = "must not contain '__', which separates the parts of nnU-Net's folder names"


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


class Reference(SpecModel):
    """Another object of the same namespace."""

    name: Name


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
    affinity: dict[str, Any] | None = None
    tolerations: Annotated[list[Toleration] | None, Field(max_length=64)] = None
    priority_class_name: KubernetesName | None = None
    security: PodSecurity | None = None
    termination_grace_period_seconds: Annotated[int | None, Field(ge=1, le=86_400)] = None
    labels: Annotated[dict[str, LabelValue] | None, Field(max_length=64)] = None
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]] | None, Field(max_length=64)] = None
    env: Annotated[list[EnvVar] | None, Field(max_length=64, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]})] = None


class FailurePolicySpec(SpecModel):
    """When to try again. Disruptions (preemption, drain, node loss) do not count as restarts."""

    max_restarts: Annotated[int, Field(ge=0, le=100, description="Of each fold (step, configuration).")] = 3
    pre_running_deadline_seconds: Annotated[
        int, Field(ge=1, le=604_800, description="From being scheduled to running: image, mounts, configuration.")
    ] = 1800


class CommonSpec(SpecModel):
    """What every kind has."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(oldSelf.storage) || has(self.storage)", "cannot be taken away: create another object", "storage"),
    )
    storage: StorageSpec | None = None
    template: TemplateSpec | None = None
    failure_policy: FailurePolicySpec = FailurePolicySpec()
    rerun: Rerun | None = None


class State(StrEnum):
    """Where one piece of work (a step, a configuration, a fold) stands."""

    PLANNED = "Planned"  # nobody asked for more
    PENDING = "Pending"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    VALIDATING = "Validating"
    BACKING_OFF = "BackingOff"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @classmethod
    def _missing_(cls, value: object) -> State | None:
        """A state of another version is kept, as a member of its own that equals no other."""
        if not isinstance(value, str):
            return None
        foreign = str.__new__(cls, value)
        foreign._name_ = foreign._value_ = value
        return foreign

    @property
    def known(self) -> bool:
        """Whether this version has it, and so may decide what follows from it."""
        return self._name_ in State.__members__

    @property
    def finished(self) -> bool:
        """Whether it is over, well or not."""
        return self in (State.SUCCEEDED, State.FAILED)


class ArtifactStatus(StatusModel):
    """Something kept in the object store."""

    uri: Annotated[str, Field(max_length=2048)]
    digest: Annotated[str, Field(max_length=128)] = ""


class LocationStatus(StatusModel):
    """A URI and how to reach it, for those who read what lies there (`contract.work_order.Location`)."""

    uri: Annotated[str, Field(max_length=2048)]
    endpoint: Annotated[str | None, Field(max_length=512)] = None
    region: Annotated[str | None, Field(max_length=64)] = None
    path_style: bool | None = None
    secret_name: Annotated[str | None, Field(max_length=253)] = None
    ca_config_map: Annotated[str | None, Field(alias="caConfigMap", max_length=253)] = None


def _no_default(schema: dict[str, Any]) -> None:
    """The API server would fill it in."""
    schema.pop("default", None)


class WorkStatus(StatusModel):
    """One piece of work over all its attempts."""

    state: Annotated[State, Field(description=f"{', '.join(State)}, or a newer version's.")] = State.PENDING
    attempt: Annotated[int | None, Field(ge=0, description="The newest attempt's number; the Job's name ends in it.")] = None
    restarts: Annotated[int, Field(ge=0, description="Restarts that count against maxRestarts.")] = 0
    disruptions: Annotated[int, Field(ge=0, description="Preemptions, drains, lost nodes: not counted as restarts.")] = 0
    disruptions_without_progress: Annotated[int, Field(ge=0, json_schema_extra=_no_default)] = 0
    reports_missed: Annotated[
        int, Field(ge=0, json_schema_extra=_no_default, description="Jobs that succeeded without a readable report.")
    ] = 0
    out_of_memory: Annotated[
        int, Field(ge=0, json_schema_extra=_no_default, description="Kills for memory; one is tried again.")
    ] = 0
    job: Annotated[str | None, Field(max_length=63, description="The newest attempt's Job, once it was seen.")] = None
    order: Annotated[str | None, Field(max_length=253, description="That Job's work order, a ConfigMap.")] = None
    input: Annotated[str | None, Field(max_length=128, description="Digest of what the work was started from.")] = None
    reason: Annotated[str | None, Field(max_length=256)] = None
    message: Annotated[str | None, Field(max_length=8192)] = None
    phase: Annotated[str | None, Field(max_length=64, description="What the step is doing, in its own words.")] = None
    last_heard: Time | None = None
    not_before: Annotated[Time | None, Field(description="The next attempt starts no sooner (back-off).")] = None
    start_time: Time | None = None
    completion_time: Time | None = None

    @model_serializer(mode="wrap")
    def _without_idle_counters(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if value != 0 or key not in IDLE}


_COUNTERS = ("disruptions_without_progress", "reports_missed", "out_of_memory")
IDLE = frozenset((*_COUNTERS, *map(to_camel, _COUNTERS)))
"""Counters of the failure policy that mean nothing to people while they are 0, in both spellings."""


class CommonStatus(StatusModel):
    """What every kind's status has."""

    observed_generation: Annotated[int | None, Field(ge=0)] = None
    rerun_observed: Annotated[str | None, Field(max_length=64, description="The spec.rerun that was acted upon.")] = None
    conditions: Annotated[list[Condition], Field(max_length=32, json_schema_extra={"x-kubernetes-list-map-keys": ["type"]})] = (
        Field(default_factory=list)
    )
