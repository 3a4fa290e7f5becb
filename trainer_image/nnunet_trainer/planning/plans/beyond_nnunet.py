"""What plans use that nnU-Net v2 has not: it can work neither with such plans nor with models that are trained by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnunet_trainer.extensions import provenance

from . import plugins, preprocessing_steps
from .names import NORMALIZATION, STEPWISE

NETWORKS = ("dynamic_network_architectures.", "nnunetv2.")
"""How the networks that nnU-Net builds are named."""


def lines(plans: Mapping[str, Any]) -> list[str]:
    """One for each thing of that kind, with the configurations that use it; none for plans that are interchangeable."""
    found: dict[str, list[str]] = {}
    for name, configuration in plans["configurations"].items():
        for used in dict.fromkeys(_used(plans, configuration)):
            found.setdefault(used, []).append(name)
    return [f"nnU-Net v2 cannot use {', '.join(where)} of these plans: it has no {what}" for what, where in found.items()]


def _used(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> Iterator[str]:
    if configuration.get("preprocessor_name") == STEPWISE:
        yield f"{STEPWISE} ({', '.join(preprocessing_steps.shown(configuration))})"
    for kind, name in (("reader", str(plans.get("image_reader_writer"))), *plugins.used_by(configuration)):
        if kind == preprocessing_steps.KIND:
            continue
        if (plugin := provenance.plugin_of(kind, name)) is not None:
            yield f"{kind} {name} (of the plug-in {plugin.name})"
        elif kind == "normalization" and name not in NORMALIZATION.values():
            yield f"{kind} {name}"
    architecture = configuration.get("architecture")
    network = str(architecture.get("network_class_name")) if isinstance(architecture, Mapping) else NETWORKS[0]
    of_plugin = provenance.plugin_of("network", network.rpartition(".")[2]) is not None  # said above
    if not of_plugin and not network.startswith(NETWORKS):
        yield f"network {network}"
