"""`local run`: work until all is done, stuck or stopped, and say how it ended."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_trainer.contract.faults import BadUsage, ExitCode, Temporary

from ...api import kstatus
from ...api.kstatus import Status
from ...controller.object_client import key_of
from ...reconcile.view import Key
from ..machine.kubelet.resources import quantity
from ..machine.scheduler import Machine
from ..object_store.store import Store
from . import exit_codes, store_argument
from .output import closing_table
from .output.progress_display import Display, Quiet, display

if TYPE_CHECKING:
    from ..session.session import Session


def run(arguments: argparse.Namespace) -> int:
    """Go on with what is in the store."""
    return work(arguments, store_argument.open_store(arguments), None)


def work(arguments: argparse.Namespace, store: Store, keys: set[Key] | None) -> int:
    """Work until all is done; the exit code is that of the objects in `keys`, or of all."""
    session = session_of(arguments, store)
    try:
        with store.working():
            print()
            return _carry_out(arguments, session, keys)
    except Temporary as busy:
        if keys is None:
            raise
        print(f"\n{busy}\nIt carries out what was applied.")
        return ExitCode.DONE


def _carry_out(arguments: argparse.Namespace, session: Session, keys: set[Key] | None) -> int:
    before = session.snapshot().objects
    if before and all(kstatus.compute(manifest) is Status.CURRENT for manifest in before) and not arguments.watch:
        print(f"All of it is done already: {len(before)} objects are Ready.")
        shown: Display = Quiet()
    else:
        shown = display()
    try:
        whole = session.run(shown.show, note=shown.note, forever=arguments.watch)
    finally:
        shown.close()
    objects, again = session.snapshot().objects, store_argument.again(arguments)
    if not whole:
        left = [manifest for manifest in objects if kstatus.compute(manifest) is Status.IN_PROGRESS]
        print(f"\nStopped; {len(left)} of {len(objects)} objects are not done. What ran has saved its state.")
        print(f"Go on:\n  nnunet-operator local run{again}")
        return ExitCode.STOPPED
    print(f"\n{closing_table.closing(objects, again)}")
    own = [m for m in objects if keys is None or key_of(m) in keys]
    failed = [manifest for manifest in own if kstatus.compute(manifest) is Status.FAILED]
    # What failed of itself says more than what failed with it.
    roots = [manifest for manifest in failed if kstatus.reason(manifest)[0] != "DependencyFailed"]
    if failed:
        return exit_codes.of_failed((roots or failed)[0])
    waiting = [manifest for manifest in own if kstatus.compute(manifest) is Status.IN_PROGRESS]
    return ExitCode.BAD_CONFIGURATION if waiting else ExitCode.DONE


def session_of(arguments: argparse.Namespace, store: Store) -> Session:
    """A session with the machine, the Secrets and the volumes that the arguments name."""
    from ..session import uri_map
    from ..session.session import Session

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
