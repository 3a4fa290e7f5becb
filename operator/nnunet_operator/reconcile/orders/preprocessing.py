"""The order of a preprocessing: a dataset for one configuration of its plans."""

from __future__ import annotations

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import PreprocessOrder

from ...api import reasons
from ...api.fields import plugins
from ...api.plans import PlansStatus
from .. import locations
from ..blocker import Blocker
from ..references.resolved import PlansReferences
from ..spec_to_order import build
from ..work import Startable, Work
from .planning import fingerprinted
from .startable import SHARED_MEMORY, startable


def preprocess(references: PlansReferences, status: PlansStatus, work: Work, name: str) -> Startable | Blocker:
    """Preprocess for one configuration, by the plans as far as this pass knows them; or what is missing for that."""
    spec, store, read = references.plans.spec, references.storage, fingerprinted(references)
    if isinstance(store, Blocker):
        return store
    if isinstance(read, Blocker):
        return read
    if status.artifact is None:
        return Blocker(reasons.WAITING_FOR_PLANS, "waits for the plans")
    order = build(
        PreprocessOrder,
        spec.preprocessing,
        read.dataset.spec.source,
        dataset_name=read.dataset.spec.name,
        dataset=read.input,
        source=read.source,
        plans=locations.artifact(status.artifact, store),
        configuration=name,
        storage=store,
        plugins=plugins.names(spec.plugins),
    )
    return startable(
        references.plans,
        references.settings,
        work,
        order,
        keys.digest("preprocess", read.input.digest, status.artifact.digest),
        pods=spec.preprocessing.shards,
        resources=spec.preprocessing.resources,
        shared_memory=SHARED_MEMORY,
    )
