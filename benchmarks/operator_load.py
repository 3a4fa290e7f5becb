"""The operator under load on a real control plane: CPU, memory, writes, latency, idling, restarts.

kwok runs the Jobs' pods to a real report. The operator is a process of its own, whose CPU and memory /proc tells; its writes are
counted in the API server's audit log. A bare client, which reads the same watches and makes the same writes, shows what of the CPU
no operator could save. CPU seconds and ratios hold on a busy machine too; latencies do not.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import tempfile
from pathlib import Path
from typing import Any

import _measure as measure
from load.cluster import Cluster
from load.parts import Load

PARTS = ("burst", "rate", "linear", "finished", "memory")
TARGETS = {
    "cpu_s_per_1000_runs": 12,
    "memory_mb": 150,
    "ratio_to_bare_client": 2.5,
    "writes_per_run": 7,
    "latency_p50_ms": 50,
    "latency_p99_ms": 1000,
    "idle_percent_of_a_core": 1,
    "restart_s": 20,
    "restart_writes": 0,
    "cpu_growth": 1.25,
    "five_fold_memory_mb": 300,
}
"""At most. Latencies at 10 creations a second; restart and idling with 5,000 finished runs; `cpu_growth` is the CPU of a run among
the most runs at once, over that among the fewest."""

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
parser.add_argument("--runs", type=int, default=1000, help="at once, for the operator and the bare client (default: %(default)s)")
parser.add_argument("--rate", type=float, default=10, help="creations a second (default: %(default)s)")
parser.add_argument("--rate-runs", type=int, default=600, help="runs created at that rate (default: %(default)s)")
parser.add_argument(
    "--linear", type=int, nargs="+", default=[250, 1000, 4000], help="runs at once, each alone (default: %(default)s)"
)
parser.add_argument("--finished", type=int, default=5000, help="finished runs, for restart and idling (default: %(default)s)")
parser.add_argument("--idle-seconds", type=float, default=120, help="of idling that are measured (default: %(default)s)")
parser.add_argument("--five-fold", type=int, default=10_000, help="finished runs of five folds, for memory (default: %(default)s)")
parser.add_argument("--folder", type=Path, help="an empty folder to keep logs in (default: a temporary one)")
parser.add_argument("--wrap", type=shlex.split, default=[], help="a command that runs the operator, such as a profiler's")


async def load_operator(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every part that was asked for; what each has found."""
    found: dict[str, Any] = {}
    with Cluster(folder) as cluster:
        load = Load(cluster, folder, options.wrap)
        async with load:
            if "burst" in options.parts:
                found |= await load.burst_and_bare(options.runs)
            if "rate" in options.parts:
                found |= await load.at_rate(options.rate_runs, options.rate)
            if "linear" in options.parts:
                each = {runs: await load.cpu_per_1000(runs) for runs in sorted(options.linear)}
                found |= {"cpu_s_per_1000_runs_of": each, "cpu_growth": each[max(each)] / each[min(each)]}
            if "finished" in options.parts:
                found |= await load.restart_and_idle(options.finished, options.idle_seconds)
            if "memory" in options.parts:
                found["five_fold_memory_mb"] = await load.five_fold(options.five_fold)
    return found


def main() -> int:
    """Measure, and print one line of JSON last."""
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(load_operator(options, folder))
    targets = {name: most for name, most in TARGETS.items() if name in found}
    sizes = {"runs": options.runs, "finished_runs": options.finished, "five_fold_runs": options.five_fold}
    return measure.report("operator_load", {**sizes, **found}, targets)


if __name__ == "__main__":
    raise SystemExit(main())
