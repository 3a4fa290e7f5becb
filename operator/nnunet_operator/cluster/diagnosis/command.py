"""The command line of `nnunet-operator diagnose`."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta
from pathlib import Path

from nnunet_trainer.contract.faults import BadUsage, StorageFault

from .. import settings
from .findings import Finding, Level, as_json, as_text, count

PROBLEMS_FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `diagnose`."""
    parser.description = (
        "Look at an installation and say what is wrong and what to do: the cluster's version, the CRDs beside this version's, "
        "permissions, who leads, storage (without credentials), objects that do not go on. It changes nothing. Settings are read "
        "from the environment, as `run` does: in the operator's pod it asks for what that one needs."
    )
    parser.epilog = (
        "Exit status: 0 no problem (there may be warnings), 1 problems, 64 wrong arguments or no usable kubeconfig, 74 the cluster "
        "does not answer or refuses the user."
    )
    parser.add_argument(
        "--namespace", "-n", action="append", metavar="NS",
        help="look at objects of this namespace; may be given again (default: $NNUNET_NAMESPACES, else all)",
    )  # fmt: skip
    parser.add_argument("--kubeconfig", type=Path, help="default: the service account in a pod, else $KUBECONFIG or ~/.kube/config")
    parser.add_argument("--context", help="of the kubeconfig")
    parser.add_argument("--lease-namespace", metavar="NS", help="the operator's own namespace (default: the pod's, else default)")
    parser.add_argument(
        "--service-account", metavar="NS/NAME", help="ask what this service account may do (default: what the caller may)"
    )
    parser.add_argument("--gang-scheduling", action="store_true", help="ask also for what `run --gang-scheduling` needs")
    parser.add_argument(
        "--patience", type=_minutes, default=10, metavar="MINUTES", help="so long may an object wait for the same (default: 10)"
    )
    parser.add_argument("--output", "-o", choices=("text", "json"), default="text")
    parser.set_defaults(leader_election=None, http=None, workers=1, log_format="text", verbose=False)


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 <= minutes < 1e6:
        raise ValueError(text)
    return minutes


def run(arguments: argparse.Namespace) -> int:
    """Look, and print; the exit status.

    Raises:
        BadUsage: there is no usable kubeconfig, or a setting cannot be read.
        StorageFault: the cluster does not answer, or refuses the user.
    """
    settings.have_a_home()
    account = arguments.service_account.split("/") if arguments.service_account else None
    if account is not None and (len(account) != 2 or not all(account)):
        raise BadUsage("InvalidArguments", f"--service-account is {arguments.service_account!r}; NAMESPACE/NAME was expected.")
    chosen, patience = settings.load(arguments), timedelta(minutes=arguments.patience)
    host, found = asyncio.run(_look(chosen, (account[0], account[1]) if account else None, patience))
    print(as_json(found, host) if arguments.output == "json" else as_text(found))
    return PROBLEMS_FOUND if count(found, Level.PROBLEM) else 0


async def _look(
    chosen: settings.ClusterSettings, account: tuple[str, str] | None, patience: timedelta
) -> tuple[str, list[Finding]]:
    from ..api.errors import CONNECTION_ERRORS, ApiError, text_of
    from ..api.kubeconfig import connect  # the client is slow to import: not for --help
    from . import access, installed_crds, leader, objects, storage

    api = await connect(chosen.kubeconfig, chosen.context, in_cluster=chosen.in_cluster)
    host = str(api.configuration.host)
    try:
        found = [await access.version(api)]
        found += await installed_crds.check(api)
        found += await access.permissions(api, chosen, account)
        found += await access.gang_scheduling(api, chosen)
        found.append(await leader.check(api, chosen.lease_namespace, chosen.lease_name))
        found += await storage.check(api, chosen.namespaces, chosen.reconcile.storage)
        found += await objects.check(api, chosen.namespaces, patience)
    except ApiError as error:
        raise StorageFault("ClusterRefuses", f"{host} refuses: {error}.", hint="Is it the right user (--context)?") from error
    except CONNECTION_ERRORS as error:
        why = text_of(error)
        hint = "Is it the right cluster (--kubeconfig, --context)?"
        raise StorageFault("NoCluster", f"{host} does not answer: {why}.", hint=hint) from error
    finally:
        await api.close()
    return host, found
