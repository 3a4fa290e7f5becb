"""All kinds of components that a recipe names, found by kind and name."""

from __future__ import annotations

from nnunet_trainer.contract.catalogue.shapes import Shape
from nnunet_trainer.extensions import schema
from nnunet_trainer.extensions.kinds import find as find
from nnunet_trainer.extensions.kinds import registry as registry

KINDS = ("loss", "optimizer", "schedule", "augmentation", "network")


def parameters(kind: str, name: str) -> dict[str, Shape]:
    """The parameters of a component (`contract.catalogue.shapes.Find`).

    Raises:
        BadConfiguration: there is no such component.
    """
    return schema.parameters(find(kind, name))
