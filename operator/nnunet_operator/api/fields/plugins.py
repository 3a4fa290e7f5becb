"""Plug-ins of an object: ConfigMaps with Python modules, for its pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from ..base import SpecModel
from .names import KubernetesName


class PluginSpec(SpecModel):
    """Python modules, mounted and imported in the object's pods."""

    config_map_name: KubernetesName


Plugins = Annotated[
    list[PluginSpec] | None, Field(max_length=16, json_schema_extra={"x-kubernetes-list-map-keys": ["configMapName"]})
]
"""The field `plugins` of every kind that runs code."""


def names(plugins: Iterable[PluginSpec] | None) -> list[str]:
    """The names of the ConfigMaps."""
    return [plugin.config_map_name for plugin in plugins or ()]
