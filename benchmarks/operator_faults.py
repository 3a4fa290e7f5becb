"""Faults on the real API server, and what they cost: runs lost, attempts doubled, children left behind.

Pods are pretended, all else is real: operator processes, API server, etcd, Job controller, garbage collector.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import _measure as measure

sys.path.insert(0, str(measure.ROOT / "tests"))
from support.controlplane import ControlPlane
from support.faults import bad_answers, deletions, last_words, leaders, outages, refusals
from support.faults.trial import Count

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=20261128, help="of all that is left to chance; default: %(default)s")
parser.add_argument("--runs", type=int, default=200, help="during the kills of the operator; default: %(default)s")
parser.add_argument("--only", nargs="*", default=[], metavar="FAULT", help="names of faults; default: all")


def faults(runs: int) -> dict[str, Callable[[ControlPlane, Path, int], Count]]:
    """Each fault by its name."""
    few = max(5, runs // 5)
    return {
        "operator-killed": lambda plane, folder, seed: outages.operator_killed(plane, folder, runs=runs, kills=20, seed=seed),
        "api-server-killed": lambda plane, folder, seed: outages.api_server_killed(plane, folder, runs=few, kills=5, seed=seed),
        "etcd-away": lambda plane, folder, seed: outages.etcd_away(plane, folder, runs=few, seconds=10, seed=seed),
        "requests-refused": lambda plane, folder, seed: refusals.requests_refused(plane, folder, runs=few, share=0.15, seed=seed),
        "deleted-by-hand": lambda plane, folder, seed: deletions.deleted_by_hand(plane, folder, runs=2 * few, seed=seed),
        "deleted-at-once": lambda plane, folder, seed: deletions.deleted_at_once(plane, folder, runs=2 * few, seed=seed),
        "leader-killed": lambda *more: leader(signal.SIGKILL, *more),
        "leader-stopped": lambda *more: leader(signal.SIGTERM, *more),
        "leader-frozen": lambda *more: leader(signal.SIGSTOP, *more),
        "clock-jumps": lambda plane, folder, seed: refusals.clock_jumps(
            plane, folder, runs=few, jumps=20, forsaken=True, seed=seed
        ),
        "last-words": lambda plane, folder, seed: last_words.garbage(plane, folder, of_each=1, seed=seed),
        "progress": lambda plane, folder, seed: bad_answers.bad_progress(plane, folder, hanging=40, honest=5, seed=seed),
    }


def leader(by: signal.Signals, plane: ControlPlane, folder: Path, seed: int) -> Count:
    """The leader gets a signal, five times."""
    return leaders.leader_lost(plane, folder, by=by, times=5, runs=5, seed=seed)


def main() -> int:
    """Try them one after the other on one control plane."""
    chosen = parser.parse_args()
    all_of_them = faults(chosen.runs)
    names = chosen.only or list(all_of_them)
    counts: dict[str, Count] = {}
    with tempfile.TemporaryDirectory() as place:
        plane = ControlPlane(Path(place) / "plane").start()
        try:
            for name in names:
                folder = Path(place) / name
                folder.mkdir()
                start = time.monotonic()
                counts[name] = all_of_them[name](plane, folder, chosen.seed)
                print(f"{counts[name]}  ({time.monotonic() - start:.0f} s)", flush=True)
        finally:
            plane.stop()
    found = counts.values()
    figures: dict[str, object] = {f"{name}: tried": count.tried for name, count in counts.items()}
    figures |= {f"{name}: seconds": count.seconds for name, count in counts.items() if count.seconds is not None}
    targets = {"lost": 0.0, "doubled": 0.0, "left": 0.0}
    figures |= {what: sum(len(getattr(count, what)) for count in found) for what in targets}
    limits = {
        "leader-killed": leaders.KILLED_WITHIN,
        "leader-frozen": leaders.KILLED_WITHIN,
        "leader-stopped": leaders.STOPPED_WITHIN,
    }
    targets |= {f"{name}: seconds": limit for name, limit in limits.items() if name in counts}
    return measure.report("operator_faults", figures, targets)


if __name__ == "__main__":
    sys.exit(main())
