"""The order of a Dataset: verify the data and take its fingerprint."""

from __future__ import annotations

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import DatasetOrder

from ...api.fields import plugins
from .. import locations
from ..blocker import Blocker
from ..references.resolved import DatasetReferences
from ..spec_to_order import build
from ..work import Startable, Work
from .startable import startable


def read(references: DatasetReferences, work: Work) -> Startable | Blocker:
    """Verify a dataset and take its fingerprint; or what is missing for that."""
    dataset, spec, store = references.dataset, references.dataset.spec, references.storage
    if references.blocker:
        return references.blocker
    if isinstance(store, Blocker):
        return store
    order = build(
        DatasetOrder,
        spec,
        spec.source,
        spec.fingerprint,
        spec.splits,
        source=locations.source(dataset, store),
        storage=store,
        plugins=plugins.names(spec.plugins),
        extractor_parameters=spec.fingerprint.parameters or {},
    )
    return startable(dataset, references.settings, work, order, keys.digest("dataset", spec.source.uri))
