"""`local apply` and `local run`: the calls that work until all is done."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nnunet_trainer.contract.faults import BadConfiguration, BadUsage, ExitCode, Fault, Temporary

from ...api import metadata
from ...api.resources import KINDS, parse
from ...reconcile.references import component_names
from ...reconcile.view import Settings
from .. import installed_trainer, kstatus
from ..kstatus import Standing
from ..machine.launch import quantity
from ..machine.scheduler import Machine
from ..object_store import manifest_files
from ..object_store.store import Conflict, Store
from . import closing_table, object_names
from .live_table import Display, Quiet, display

if TYPE_CHECKING:
    from ..session import Session

Manifest = dict[str, Any]

USER = "local"


def apply(arguments: argparse.Namespace) -> int:
    """Put manifests into the store, all or none, and work."""
    manifests = manifest_files.read(arguments.filename, arguments.namespace)
    store = object_names.open_store(arguments, make=True)
    _admit_all(manifests, store)
    for manifest in manifests:
        try:
            done, what = store.apply(manifest, USER, _admit)
        except Conflict as error:
            raise BadConfiguration("Immutable", str(error), hint="Give it another name.") from error
        print(f"{object_names.label(done)} {what}", flush=True)
    if arguments.no_wait:
        return ExitCode.DONE
    keys = {(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]) for manifest in manifests}
    return _work(arguments, store, keys)


def _admit(manifest: Manifest, old: Manifest | None) -> Manifest:
    if manifest["kind"] not in KINDS:
        return metadata.admitted_config_map(manifest)
    from ...api.validation import admit  # slow to import, and not needed where nothing has changed

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


def run(arguments: argparse.Namespace) -> int:
    """Go on with what is in the store."""
    return _work(arguments, object_names.open_store(arguments), None)


def _work(arguments: argparse.Namespace, store: Store, keys: set[tuple[str, str, str]] | None) -> int:
    """Work until all is done; the exit code is that of the objects in `keys`, or of all."""
    session = _session(arguments, store)
    try:
        with store.working():
            print()
            return _carry_out(arguments, session, keys)
    except Temporary as busy:
        if keys is None:
            raise
        print(f"\n{busy}\nIt carries out what was applied.")
        return ExitCode.DONE


def _carry_out(arguments: argparse.Namespace, session: Session, keys: set[tuple[str, str, str]] | None) -> int:
    before = session.snapshot().objects
    if before and all(kstatus.of(manifest) is Standing.READY for manifest in before) and not arguments.watch:
        print(f"All of it is done already: {len(before)} objects are Ready.")
        shown: Display = Quiet()
    else:
        shown = display()
    try:
        whole = session.run(shown.show, note=shown.note, forever=arguments.watch)
    finally:
        shown.close()
    objects, again = session.snapshot().objects, object_names.again(arguments)
    if not whole:
        left = [manifest for manifest in objects if kstatus.of(manifest) is Standing.GOING]
        print(f"\nStopped; {len(left)} of {len(objects)} objects are not done. What ran has saved its state.")
        print(f"Go on:\n  nnunet-operator local run{again}")
        return ExitCode.STOPPED
    print(f"\n{closing_table.closing(objects, again)}")
    own = [m for m in objects if keys is None or (m["kind"], m["metadata"]["namespace"], m["metadata"]["name"]) in keys]
    stalled = [manifest for manifest in own if kstatus.of(manifest) is Standing.STALLED]
    # What failed of itself says more than what failed with it.
    roots = [manifest for manifest in stalled if kstatus.reason(manifest)[0] != "DependencyFailed"]
    if stalled:
        return kstatus.exit_code((roots or stalled)[0])
    waiting = [manifest for manifest in own if kstatus.of(manifest) is Standing.GOING]
    return ExitCode.BAD_CONFIGURATION if waiting else ExitCode.DONE


def _session(arguments: argparse.Namespace, store: Store) -> Session:
    from .. import uri_map
    from ..session import Session

    gpus = getattr(arguments, "gpus", None)
    memory = getattr(arguments, "memory", None)
    try:
        machine = Machine.here(
            cores=getattr(arguments, "cpus", None),
            memory=quantity(memory) if memory else None,
            gpus=None if gpus is None else [gpu for gpu in gpus.split(",") if gpu],
        )
    except ValueError as error:
        raise BadUsage("InvalidQuantity", f"--memory: {error}.", hint="Write it as in 16Gi.") from error
    for name in ("secrets", "volumes"):
        folder = getattr(arguments, name, None)
        if folder is not None and not folder.is_dir():
            raise BadUsage("NoSuchFile", f"--{name}: there is no folder {folder}.")
    claims = getattr(arguments, "volumes", None)
    secrets = getattr(arguments, "secrets", None)
    return Session(
        store,
        machine,
        secrets_folder=secrets and secrets.absolute(),
        claims=claims and claims.absolute(),
        mapped=[uri_map.parse(text) for text in getattr(arguments, "map", [])],
    )
