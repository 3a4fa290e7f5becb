"""`local apply`: manifests into the store, all or none, and then what `local run` does."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration, ExitCode, Fault

from ...api.resources import KINDS, parse
from ...api.schema import metadata
from ...controller.object_client import key_of
from ...inspection import object_names
from ...reconcile.references import component_names
from ...reconcile.view import Settings
from ..object_store import manifest_files
from ..object_store.store import Conflict, Store
from ..session import installed_trainer
from . import ignored_fields, store_argument
from .run import work

Manifest = dict[str, Any]

USER = "local"


def apply(arguments: argparse.Namespace) -> int:
    """Put manifests into the store, all or none, and work."""
    manifests = manifest_files.read(arguments.filename, arguments.namespace)
    store = store_argument.open_store(arguments, make=True)
    _admit_all(manifests, store)
    for manifest in manifests:
        try:
            done, what = store.apply(manifest, USER, _admit)
        except Conflict as error:
            raise BadConfiguration("Immutable", str(error), hint="Give it another name.") from error
        print(f"{object_names.label(done)} {what}", flush=True)
        if ignored := ignored_fields.of(done):
            print(f"  ignored on one machine: {', '.join(ignored)}", flush=True)
    if arguments.no_wait:
        return ExitCode.DONE
    return work(arguments, store, {key_of(manifest) for manifest in manifests})


def _admit(manifest: Manifest, old: Manifest | None) -> Manifest:
    if manifest["kind"] not in KINDS:
        return metadata.admitted_config_map(manifest)
    from ...api.schema.validation import admit  # slow to import, and not needed where nothing has changed

    return admit(manifest, old)


def _admit_all(manifests: list[Manifest], store: Store) -> None:
    """Refuse all when one is to be refused: half a pipeline helps nobody."""
    findings: list[str] = []
    for manifest in manifests:
        try:
            admitted = store.preview(manifest, USER, _admit)
        except Fault as fault:
            findings += [f"{object_names.label(manifest)}: {line}" for line in fault.findings or (fault.message,)]
        else:
            meta = manifest["metadata"]
            stored = store.get(manifest["kind"], meta["namespace"], meta["name"])
            new = manifest["kind"] in KINDS and (stored is None or stored["spec"] != admitted["spec"])
            wrong = _names(admitted) if new else None
            findings += [f"{object_names.label(manifest)}: {wrong}"] if wrong else []
    if findings:
        raise BadConfiguration("Invalid", "Nothing was applied:", findings=findings)


def _names(manifest: Manifest) -> str | None:
    """What a manifest names and the trainer does not know: in a cluster a condition, here said before anything is begun."""
    fault = component_names.faults(parse(manifest), Settings(names_pass=installed_trainer.knows_more()))
    return " ".join(filter(None, (fault.message, fault.hint))) if fault else None
