"""What can be extended by name: registries of components, the data that their parameters are, and plug-ins that add to them.

A plug-in imports from here.
"""

from nnunet_trainer.contract.catalogue import ENTRY_POINTS
from nnunet_trainer.contract.catalogue.shapes import Range

from .plugins import load_plugins, plugin_files
from .registry import Component, Parameter, Registry

__all__ = ["ENTRY_POINTS", "Component", "Parameter", "Range", "Registry", "load_plugins", "plugin_files"]
