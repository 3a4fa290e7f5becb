"""Wall time and CPU seconds of `make quickstart`, installs left out; beside another commit's in the same run, same manifests.

Each run has a store of its own. The other commit is checked out into a temporary folder and runs with this environment's packages.
Both are byte-compiled before, as an installation does it, whether or not this environment lets Python keep bytecode.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import ctypes
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _measure import ROOT, Cost, report

SUBREAPER = 36  # prctl's PR_SET_CHILD_SUBREAPER
WALL = 0.67
"""Of the other commit's wall time, the target."""


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.Popen(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
        if archive.wait():
            raise SystemExit(f"There is no commit {commit}.")
        yield Path(folder)


PARTS = ("operator", "trainer_image")


def quickstart(code: Path, manifests: Path, store: Path) -> tuple[Cost, str]:
    """What the Makefile's `quickstart` does, with the code of a tree; its cost and what it said last."""
    paths = os.pathsep.join(str(code / part) for part in PARTS)
    command = [sys.executable, "-m", "nnunet_operator.cli", "local", "apply", "-f", str(manifests), "--store", str(store)]
    command += ["--map", f"s3://nnunet/raw={ROOT / 'examples' / 'data'}"]
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    wall = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    with contextlib.suppress(ChildProcessError):
        while True:  # what outlived the shell falls to this process
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, after.ru_maxrss / 1024, wall), done.stdout[done.stdout.rindex("\nRUN ") :].partition("\n\n")[0].strip()


def dice(table: str) -> dict[str, float]:
    """The validation Dice of each run that has one, from the closing table."""
    return {row.split()[0]: float(found[0]) for row in table.splitlines()[1:] if (found := re.findall(r"\b[01]\.\d{4}\b", row))}


def main() -> int:
    """Run them in turn and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="measure this one too, before")
    parser.add_argument("--times", type=int, default=1, help="of each; the quickest counts; default: %(default)s")
    parser.add_argument("--manifests", type=Path, default=ROOT / "examples" / "quickstart", help="default: %(default)s")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(SUBREAPER, 1)
    costs: dict[str, list[Cost]] = {}
    figures: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        trees = {"this": ROOT}
        if arguments.against:
            trees = {arguments.against: stack.enter_context(checked_out(arguments.against)), **trees}
        for code in trees.values():
            for part in PARTS:
                compileall.compile_dir(code / part, quiet=1)
        for number in range(arguments.times):
            for name, code in trees.items():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                cost, table = quickstart(code, arguments.manifests, folder / "store")
                costs.setdefault(name, []).append(cost)
                print(f"{name}, {number + 1}: {cost.wall:.1f} s, {cost.cpu:.1f} s of CPU\n{table}\n", flush=True)
                if name == "this":
                    figures |= {f"dice_{run}": value for run, value in dice(table).items()}
    best = {name: (min(cost.wall for cost in found), min(cost.cpu for cost in found)) for name, found in costs.items()}
    figures |= {"wall_seconds": best["this"][0], "cpu_seconds": best["this"][1]}
    if not arguments.against:
        return report("quickstart", figures, {})
    other = best[arguments.against]
    figures |= {"wall": best["this"][0] / other[0], "cpu": best["this"][1] / other[1]}
    return report("quickstart", figures, {"wall": WALL})


if __name__ == "__main__":
    sys.exit(main())
