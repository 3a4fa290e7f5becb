"""`kubectl nnunet logs`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from nnunet_operator.api import kstatus
from nnunet_operator.api.kstatus import Status
from nnunet_operator.inspection import object_names, pod_logs
from nnunet_operator.inspection.pod_logs import Log
from nnunet_operator.manifests.pod import CONTAINER
from nnunet_operator.reconcile.observed import pods
from nnunet_operator.reconcile.view import Manifest
from nnunet_trainer.contract.faults import BadUsage, ExitCode, StorageFault

from .. import connection
from ..cli import PROGRAM

if TYPE_CHECKING:
    from ..api_reader import ApiReader

POLL_SECONDS = 2.0
"""Where the next attempt's pod is waited for."""
OUTAGE_SECONDS = 120.0
"""For so long an API server that was there before may be away: it is restarted or upgraded."""

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", nargs="+", metavar="OBJECT", help="NAME, KIND/NAME or KIND NAME: a run, plans, a dataset")
    parser.add_argument("--fold", metavar="K", help="of a run: this fold alone")
    parser.add_argument("--configuration", metavar="C", help="of plans: this configuration alone")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows, through the next attempts to the end")
    parser.add_argument("--attempt", metavar="N", type=int, help="of an earlier attempt, counted from 1; 0: of all that are left")
    parser.add_argument("--index", metavar="I", type=int, default=0, help="of this pod of several: a node, a shard (default: 0)")
    parser.add_argument("--tail", metavar="N", type=int, help="only the last N lines")
    connection.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the logs."""
    with connection.opened(arguments) as cluster:
        manifest = object_names.one(arguments.what, arguments.namespace, cluster)
        logs = _chosen(arguments, manifest, cluster)
        if arguments.follow:
            return _follow(arguments, manifest, cluster)
        if not logs:
            print(_nothing(manifest, arguments.attempt), file=sys.stderr)
        for log in logs:
            if len(logs) > 1:
                print(f"==> {log.heading} <==")
            if pod_logs.has_started(log.pod):
                for line in cluster.log(log.pod, _query(arguments)):
                    print(line)
            else:
                print(f"{log.heading} has not begun: {PROGRAM} why {object_names.short(manifest)}", file=sys.stderr)
    return ExitCode.DONE


def _chosen(arguments: argparse.Namespace, manifest: Manifest, cluster: ApiReader) -> list[Log]:
    wanted = pod_logs.wanted_parts(manifest, arguments.fold, arguments.configuration)
    return pod_logs.choose(manifest, cluster.pods(manifest), wanted, attempt=arguments.attempt, index=arguments.index)


def _query(arguments: argparse.Namespace) -> dict[str, str]:
    return {"container": CONTAINER} | ({"tailLines": str(arguments.tail)} if arguments.tail is not None else {})


def _nothing(manifest: Manifest, attempt: int | None) -> str:
    name = object_names.short(manifest)
    if kstatus.compute(manifest) is Status.CURRENT and manifest["kind"] == "TrainingRun":
        # Jobs are deleted once the status has their result.
        return f"{name} is done, and its pods are gone. The training's own log: {PROGRAM} fetch {name} DIR --only logs"
    what = f"no pod of attempt {attempt} is left" if attempt else "there is no pod of it now"
    return f"{name}: {what}. {PROGRAM} why {name} says what it waits for."


def _follow(arguments: argparse.Namespace, manifest: Manifest, cluster: ApiReader) -> int:
    """One piece of work's log as it grows, one attempt after another, until the object is at its end."""
    titles = {log.title for log in _chosen(arguments, manifest, cluster)}
    if len(titles) > 1:
        text = f"{object_names.short(manifest)} has several at work: {', '.join(sorted(titles))}."
        raise BadUsage("Ambiguous", text, hint="Say which one to follow, by --fold or --configuration.")
    followed: set[str] = set()
    for log in _attempts(arguments, manifest, cluster):
        if followed:
            print(f"==> {log.heading} <==", file=sys.stderr, flush=True)
        followed.add(log.pod["metadata"]["uid"])
        for line in _to_its_end(log.pod, _query(arguments), manifest, cluster):
            print(line, flush=True)
        arguments.tail = None  # of what came before the call
    if not followed:
        print(_nothing(manifest, arguments.attempt), file=sys.stderr)
    return ExitCode.DONE


def _to_its_end(pod: Manifest, query: dict[str, str], manifest: Manifest, cluster: ApiReader) -> Iterator[str]:
    """The lines of a pod until it has ended. What stands between ends a long answer (idle for too long, an API server that is
    upgraded): then it is asked for what came after the last line.
    """
    last: datetime | None = None
    told = 0  # lines of that moment: a container runtime may stamp all that came at once alike
    query = dict(query)
    while True:
        begun, again = last, told
        with contextlib.suppress(StorageFault):  # whether the cluster is there again is seen below
            for line in cluster.log(pod, {**query, "follow": "true", "timestamps": "true"}):
                stamp, _, text = line.partition(" ")
                moment = _moment(stamp)
                if moment is None:
                    yield line
                    continue
                if begun is not None and moment < begun:
                    continue
                if moment == begun and again:
                    again -= 1
                    continue
                last, told = moment, told + 1 if moment == last else 1
                query["sinceTime"] = stamp
                yield text
        known = _through_outages(lambda: cluster.pods(manifest))
        now = next((each for each in known if each["metadata"]["uid"] == pod["metadata"]["uid"]), None)
        if now is None or "running" not in pods.container(now):
            return
        if last is not None:
            query.pop("tailLines", None)
        time.sleep(POLL_SECONDS)


def _through_outages(ask: Callable[[], T]) -> T:
    """An answer of the API server, also where it is away for a while."""
    given_up: float | None = None
    while True:
        try:
            return ask()
        except StorageFault as fault:
            if given_up is None:
                print(f"{fault.message} It is asked again for {OUTAGE_SECONDS:.0f} s …", file=sys.stderr, flush=True)
                given_up = time.monotonic() + OUTAGE_SECONDS
            if time.monotonic() >= given_up:
                raise
        time.sleep(POLL_SECONDS)


def _moment(stamp: str) -> datetime | None:
    """A time stamp of a log; None where a line begins with none: what the kubelet itself has to say."""
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _attempts(arguments: argparse.Namespace, manifest: Manifest, cluster: ApiReader) -> Iterator[Log]:
    """The logs of a piece of work, each once, as its attempts begin; until nothing more will come."""
    seen: set[str] = set()
    kind, meta = manifest["kind"], manifest["metadata"]
    waits = False
    while True:
        now = _through_outages(lambda: cluster.get(kind, meta["namespace"], meta["name"]))
        if now is None or now["metadata"]["uid"] != meta["uid"]:
            return
        chosen = _through_outages(partial(_chosen, arguments, now, cluster))
        fresh = [log for log in chosen if log.pod["metadata"]["uid"] not in seen]
        started = [log for log in fresh if pod_logs.has_started(log.pod)]
        for log in started:
            seen.add(log.pod["metadata"]["uid"])
            waits = False
            yield log
        over = kstatus.compute(now) is not Status.IN_PROGRESS or all(
            part.state in ("Succeeded", "Failed") for part in pod_logs.wanted_parts(now, arguments.fold, arguments.configuration)
        )
        if not started:
            if over or arguments.attempt is not None:
                return
            if not waits:
                print(f"Waiting for the next pod of {object_names.short(now)} …", file=sys.stderr, flush=True)
                waits = True
            time.sleep(POLL_SECONDS)
