"""Parts that several kinds share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

from .base import FreeForm, Rule, SpecModel, StatusModel, Time
from .conditions import Condition
from .fields.int_or_string import Quantity
from .fields.names import KubernetesName, LabelValue, Name, QueueName
from .fields.own_keys import QUEUE_LABEL, own_keys
from .fields.uris import StorageSpec
from .placement import DatasetCacheSpec, PodResourceClaim, TopologySpreadConstraint

Rerun = Annotated[str, Field(max_length=64, description="A new value ends a terminal failure and tries again.")]


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


class FailurePolicySpec(SpecModel):
    """When to try again. Disruptions (preemption, drain, node loss) do not count as restarts."""

    max_restarts: Annotated[int, Field(ge=0, le=100, description="Of each fold (step, configuration).")] = 3
    pre_running_deadline_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=604_800,
            description="From being scheduled to running: image, mounts, configuration. Of a training on several nodes also from "
            "its first pod's start until all have a node; after that its nodes are given back.",
        ),
    ] = 1800


class CommonSpec(SpecModel):
    """What every kind has."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(oldSelf.storage) || has(self.storage)", "cannot be taken away: create another object", "storage"),
    )
    storage: StorageSpec | None = None
    template: TemplateSpec | None = None
    failure_policy: FailurePolicySpec = FailurePolicySpec()
    queue_name: Annotated[QueueName | None, Field(description="Kueue's queue, for Jobs from then on.")] = None
    managed_by: Annotated[
        str | None,
        Field(
            max_length=63,
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9:@!$&'()*+,;=._~%/-]+$",
            description="Passed on to Jobs: another controller than Kubernetes' own makes their pods, in this namespace, and "
            "writes their status.",
        ),
    ] = None
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
