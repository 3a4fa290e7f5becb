"""All that a reconciler may look at.

A View is made by a shell (cluster or local) from what it has in memory. Reconcilers get nothing else: no client, no
clock but `now`, no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from nnunet_trainer.contract import catalogue
from nnunet_trainer.contract.catalogue import Catalogue
from nnunet_trainer.contract.progress import Progress

from ..api.fields.uris import StorageSpec
from ..api.resources import Resource
from ..api.template import ResourcesSpec

R = TypeVar("R", bound=Resource)

Manifest = dict[str, Any]
"""A Kubernetes object as plain data, as the API server (or the local store) has it."""


class Key(NamedTuple):
    """An object's identity."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """The last answer of a pod's `/progress`, and when it came."""

    progress: Progress
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What whoever installs the operator decides."""

    storage: StorageSpec | None = None  # for objects that name none
    namespace_storage: Mapping[str, StorageSpec] = field(default_factory=dict, hash=False)  # instead of it, by namespace
    trainer_image: str = "nnunet-trainer:latest"
    image_pull_policy: str = "IfNotPresent"
    pod_priority_class: str | None = None
    pod_resources: ResourcesSpec | None = None  # what pods get of which neither requests nor limits are asked for
    catalogue: Catalogue = field(default_factory=catalogue.packaged, compare=False)  # what the trainer knows by name
    local_files: bool = False  # file:// URIs name folders of the one machine on which everything runs
    names_pass: bool = False  # the trainer may know more: plug-ins are installed beside it
    gang_scheduling: bool = False  # all pods of a training on several nodes are placed at once: the cluster offers PodGroups
    one_machine: bool = False  # what queues and schedulers read means nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class View(Generic[R]):
    """One object and what it depends on, at one moment.

    `references` holds every object that `dependencies.needed_by(object)` names and that exists. `children` and `jobs` hold what
    the object controls by owner reference: objects of our four kinds, and Jobs. `pods` holds what its Jobs control, `deleted_pods`
    what of that is gone while its Job is still there, `deleted_jobs` the Jobs that somebody else was seen to delete.
    `predecessors` holds Jobs and pods of earlier objects of this kind and name. `name_conflicts` holds objects that bear the name
    of a wanted child but are not the object's own. An object that is being deleted is seen only while a finalizer of ours holds
    it.
    """

    object: R
    now: datetime
    settings: Settings = field(default_factory=Settings)
    references: Mapping[Key, Resource] = field(default_factory=dict)
    children: tuple[Resource, ...] = ()
    name_conflicts: tuple[Key, ...] = ()
    namespace_terminating: bool = False  # looked up then too: nothing can be made there any more
    jobs: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    deleted_pods: tuple[Manifest, ...] = ()  # as they were last seen
    deleted_jobs: tuple[Manifest, ...] = ()  # likewise
    predecessors: tuple[Manifest, ...] = ()
    dependents: tuple[Resource, ...] = ()  # who refers to the object; looked up when it is being deleted, or may be
    heard: Mapping[str, Heard] = field(default_factory=dict)  # by the pod's uid: names come again, and are in each namespace
    listening_since: datetime | None = None  # before, nobody asked the pods
    workloads: Mapping[str, Manifest] = field(default_factory=dict)  # what Kueue says of Jobs that wait in a queue, by their uids

    plugins: Mapping[str, str | None] = field(default_factory=dict)  # digests of its plug-ins' ConfigMaps; None: there is none

    def reference(self, kind: str, name: str) -> Resource | None:
        """A referenced object of the same namespace, or None when there is none."""
        return self.references.get(Key(kind, self.object.metadata.namespace, name))
