"""What a Job needs to be made: the input of this package's functions."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnunet_trainer.contract.work_order import WorkOrder

from ..api.resources import Resource
from ..api.template import ResourcesSpec, TemplateSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class JobParameters:
    """One attempt at one piece of work, as data.

    `pods` > 1 makes an Indexed Job; with `rendezvous` its pods find each other by a headless Service, and with `gang` they are
    placed all at once.
    """

    owner: Resource
    name: str
    order: WorkOrder
    labels: dict[str, str]
    image: str
    image_pull_policy: str = "IfNotPresent"
    priority_class: str | None = None
    template: TemplateSpec = field(default_factory=TemplateSpec)
    resources: ResourcesSpec | None = None
    default_resources: ResourcesSpec | None = None
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    pods: int = 1
    rendezvous: bool = False
    gpu_claim: str | None = None  # of the template's resourceClaims: the GPUs come by it, not by `gpu_resource`
    gang: bool = False
    queue_name: str | None = None
    managed_by: str | None = None
    plugins: tuple[str, ...] = ()
    shared_memory: str | None = None
