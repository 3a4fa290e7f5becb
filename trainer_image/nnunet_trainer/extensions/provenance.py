"""Which plug-ins something was made with: written into it, and checked when it is used again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration

from . import kinds
from .registry import Plugin

log = logging.getLogger(__name__)

Used = tuple[str, str]
"""Kind and name of a component."""
Record = dict[str, Any]
"""A plug-in and what was used of it: `{"name", "version", "digest", "components": ["normalization Mine", …]}`."""


def records(used: Iterable[Used], *, installed: bool = False) -> list[Record]:
    """The plug-ins that components are of, by name; nothing for this package's own. `installed`: of installed packages alone."""
    found: dict[Plugin, set[str]] = {}
    for kind, name in used:
        if (plugin := plugin_of(kind, name)) and (plugin.installed or not installed):
            found.setdefault(plugin, set()).add(f"{kind} {name}")
    return [
        {"name": plugin.name, "version": plugin.version, "digest": plugin.digest, "components": sorted(components)}
        for plugin, components in sorted(found.items(), key=lambda item: item[0].name)
    ]


def digests(recorded: Iterable[Record]) -> dict[str, str]:
    """The digest of each plug-in by name: what tells artifacts apart that were made with another one."""
    return {record["name"]: record["digest"] for record in recorded}


def plugin_of(kind: str, name: str) -> Plugin | None:
    """The plug-in that a component is of; None for a built-in one, and for one that there is not."""
    return next((registry[name].plugin for other, registry in kinds.imported() if other == kind and name in registry), None)


def names(kind: str) -> list[str]:
    """The components of a kind that plug-ins have registered."""
    return [name for other, registry in kinds.imported() if other == kind for name in registry if registry[name].plugin]


def needed(recorded: Any, needs: Collection[str]) -> Iterator[Record]:
    """Those records, each with the components of some kinds alone."""
    for record in recorded if isinstance(recorded, list) else []:
        if isinstance(record, Mapping) and isinstance(record.get("components"), list):
            used = [each for each in record["components"] if str(each).partition(" ")[0] in needs]
            if used:
                yield {"version": "", **record, "components": used}


def require(recorded: Any, needs: Collection[str], what: str, anew: str = "") -> None:
    """That the plug-ins which something was made with are here, and the same.

    Args:
        recorded: `records` as they were written; None and what is no list pass (nothing was recorded).
        needs: the kinds whose components are needed now. Of others a warning is logged where they are others.
        what: was made with them, for the message.
        anew: how that is made anew, a clause for the hint.

    Raises:
        BadConfiguration: one is missing, or is another.
    """
    harmless = []
    for record in needed(recorded, kinds.KINDS):
        was = f"{record.get('name')} ({_version(record)}digest {str(record.get('digest'))[:12]})"
        for component in record["components"]:
            kind, _, name = component.partition(" ")
            now = plugin_of(kind, name)
            if now is not None and now.digest == record.get("digest"):
                continue
            said = f"{what} was made with the plug-in {was}, which brings the {component}"
            if kind not in needs:
                if now is not None:
                    harmless.append(f"{said}; the one that is here is another: {now}. That component is not used here.")
                continue
            if now is None:
                raise BadConfiguration(
                    "MissingPlugin", f"{said}; it is not here.", hint="Name it in spec.plugins, or with --plugins DIR."
                )
            raise BadConfiguration(
                "PluginChanged",
                f"{said}; the one that is here is another: {now}.",
                hint=f"Use that which it was made with, or make it anew with this one{anew}.",
            )
    for warning in harmless:  # behind the faults: of the same plug-in they say nothing new
        log.warning("%s", warning)


def _version(record: Record) -> str:
    return f"version {record['version']}, " if record.get("version") else ""
