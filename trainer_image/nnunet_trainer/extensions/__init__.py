"""What can be extended by name: registries of components, the data that their parameters are, and plug-ins that add to them.

A plug-in imports from here.
"""

from nnunet_trainer.contract.catalogue import ENTRY_POINTS
from nnunet_trainer.contract.catalogue.shapes import Range

from .kinds import KINDS, PLANNER_STEPS, call_built_in, find, register
from .plugins import digest_of, load_again, load_plugins, loaded_places, plugin_files, plugin_folders
from .registry import Component, Parameter, Plugin, Registry
from .schema import Choice, FromFingerprint

__all__ = [
    "ENTRY_POINTS",
    "KINDS",
    "PLANNER_STEPS",
    "Choice",
    "Component",
    "FromFingerprint",
    "Parameter",
    "Plugin",
    "Range",
    "Registry",
    "call_built_in",
    "digest_of",
    "find",
    "load_again",
    "load_plugins",
    "loaded_places",
    "plugin_files",
    "plugin_folders",
    "register",
]
