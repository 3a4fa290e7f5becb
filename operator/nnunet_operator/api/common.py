"""Parts that several kinds share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.alias_generators import to_camel

from .base import Rule, SpecModel, StatusModel, Time
from .conditions import Condition
from .fields.names import Name, QueueName
from .fields.uris import StorageSpec
from .template import TemplateSpec

Rerun = Annotated[str, Field(max_length=64, description="A new value ends a terminal failure and tries again.")]


class Reference(SpecModel):
    """Another object of the same namespace."""

    name: Name


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
