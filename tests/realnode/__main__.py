"""The product on a real node: `cd tests && python -m realnode [e2e | smoke | up | down | check] [--only SCENARIO …]`.

`e2e` starts a node, runs every scenario, prints a line for each, and leaves nothing behind. `smoke` runs the few that show that
images, chart and node fit. `up` has a node with an S3 server run until Ctrl-C, for a person; `down` removes what was left;
`check` says what this machine lacks.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

from support.s3 import S3Server

from . import images
from .cluster import Cluster
from .node.cluster import RealNode, binaries_folder, requirements
from .node.layout import ADDRESS, Layout, default_root
from .scenarios import ALL, SMOKE, TRAINING


def timed(title: str, work: Callable[[], object]) -> str | None:
    """Run a step and print its line: the time, whether it passed, and what it saw. Returns why it failed, or None."""
    begun = time.monotonic()
    try:
        seen = work()
    except Exception as error:
        print(f"FAILED {time.monotonic() - begun:6.1f} s  {title}: {type(error).__name__}: {error}", flush=True)
        return traceback.format_exc()
    print(f"passed {time.monotonic() - begun:6.1f} s  {title}{f': {seen}' if seen else ''}", flush=True)
    return None


def _title(module: ModuleType) -> str:
    return (module.__doc__ or module.__name__).strip().splitlines()[0].rstrip(".")


class Run:
    """One bringing up of the node, what is tried on it, and its end."""

    def __init__(self, root: Path) -> None:
        self.node = RealNode(root)
        self.s3 = S3Server(self.node.layout.data / "s3", ADDRESS)

    def up(self) -> None:
        """Images, node and S3 server, each with its line.

        Raises:
            SystemExit: one of them failed.
        """
        store = images.Store(self.node.layout)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("both images are built from the Dockerfiles", store.build),
            ("containerd runs, and has the images", lambda: self._images(store)),
            ("the node is Ready: API server, kubelet, DNS, Services, two pretend GPUs", self.node.start),
            ("an S3 server answers on the node's bridge", lambda: self.s3.start(90).endpoint),
        ]
        for title, step in steps:
            if why := timed(title, step):
                print(why, file=sys.stderr)
                raise SystemExit(1)

    def _images(self, store: images.Store) -> str:
        self.node.start_network()
        self.node.start_containerd()
        return store.load()

    def try_all(self, names: list[str]) -> int:
        """Run scenarios in their order; one that fails prints what there is to see, and the others are tried all the same."""
        cluster, failed = Cluster(self.node, self.s3), []
        for name in names:
            module = importlib.import_module(f".scenarios.{name}", __package__)
            if why := timed(_title(module), lambda module=module: module.run(cluster)):
                failed.append(name)
                print(why, cluster.diagnosis(), sep="\n", flush=True)
        print(f"{len(names) - len(failed)} of {len(names)} scenarios passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
        return 1 if failed else 0

    def down(self) -> None:
        self.s3.stop()
        self.node.stop()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m realnode", description=__doc__)
    parser.add_argument("command", choices=("e2e", "smoke", "up", "down", "check"))
    parser.add_argument(
        "--only",
        nargs="*",
        metavar="SCENARIO",
        choices=ALL,
        help="these alone, after `install` and, for what trains on its plans, `quickstart`",
    )
    parser.add_argument("--root", type=Path, default=default_root(), help="the folder of all state (%(default)s)")
    asked = parser.parse_args(arguments)
    if lacking := requirements(Layout(asked.root, binaries_folder())):
        print(f"A real node needs on this machine: {'; '.join(lacking)}", file=sys.stderr)
        return 69
    asked.root.mkdir(parents=True, exist_ok=True)
    lock = (asked.root / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until this process ends
    except BlockingIOError:
        print(f"Another run uses {asked.root}: there can be one node on a machine.", file=sys.stderr)
        return 75
    if asked.command != "down" and (lacking_space := images.Store(Layout(asked.root, binaries_folder())).lacking_space()):
        print(f"A real node needs on this machine: {lacking_space}.", file=sys.stderr)
        return 69
    if asked.command == "check":
        return 0
    run = Run(asked.root)
    if asked.command == "down":
        run.node.stop()
        return 0

    def interrupted(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)  # what was started is ended then, too
    begun = time.monotonic()
    try:
        run.up()
        if asked.command == "up":
            return _wait(run)
        names = list(SMOKE if asked.command == "smoke" else ALL)
        wanted = {"install", *(asked.only or names)}
        if wanted & TRAINING:
            wanted.add("quickstart")
        return run.try_all([name for name in names if name in wanted])
    finally:
        timed("nothing is left behind", run.down)
        print(f"{time.monotonic() - begun:.0f} s in all")


def _wait(run: Run) -> int:
    print(f"export KUBECONFIG={run.node.layout.kubeconfig}   S3: {run.s3.endpoint}   Ctrl-C ends it", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
