"""Large CT volumes in a small container: the data commands with many workers, in a control group of 2 GB."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

import _measure as measure

sys.path.insert(0, str(measure.ROOT / "tests"))
from support.containers.cgroup import NoGroup, limited

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--volumes", type=int, default=2, help="default: %(default)s")
parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar=("Z", "Y", "X"), help="default: %(default)s")
parser.add_argument("--workers", type=int, default=8, help="default: %(default)s")
parser.add_argument("--limit", type=int, default=2048, metavar="MIB", help="default: %(default)s")


def peak(command: list[str], limit: int, kills: list[int]) -> int:
    """Most bytes that a command held, in a group of its own where one can be made, else of its largest process."""
    start = time.monotonic()
    try:
        with limited(limit) as group:
            done = group.run(command)
            kills.append(group.kills)
            found, where = group.peak, "in its control group, the page cache too"
    except NoGroup as why:
        cost = measure.cost([*command[:-1], "1"])
        print(
            f"{command[3]:12} {cost.memory:>6.0f} MiB, one worker, no limit: no control group can be made here ({why})", flush=True
        )
        return int(cost.memory * 2**20)
    print(f"{command[3]:12} {found >> 20:>6} MiB {where}, {time.monotonic() - start:.0f} s", flush=True)
    if done.returncode:
        raise SystemExit(f"{command[3]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return found


def main() -> int:
    """Verify, fingerprint and preprocess, each within the limit."""
    arguments = parser.parse_args()
    limit, kills, peaks = arguments.limit << 20, list[int](), dict[str, int]()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        making = Process(target=measure.made_ct, args=(work, arguments.volumes, tuple(arguments.shape)))
        making.start()
        making.join()
        raw, fingerprint, plans = str(work / "Dataset050_MadeCT"), str(work / "f.json"), str(work / "p.json")
        plan = ["plan", raw, "--fingerprint", fingerprint, "--target-spacing", "2.7", "0.72", "0.75", "-o", plans]
        for call in (
            ["verify", raw],
            ["fingerprint", raw, "-o", fingerprint],
            plan,
            ["preprocess", raw, "--plans", plans, "--configuration", "3d_fullres", "-o", str(work / "out")],
        ):
            if call[0] == "plan":
                measure.cost([*measure.OURS, *call])
            else:
                peaks[call[0]] = peak([*measure.OURS, *call, "--workers", str(arguments.workers)], limit, kills)
    figures = {f"{name}_peak_to_limit": found / limit for name, found in peaks.items()}
    return measure.report("memory", {**figures, "killed": sum(kills)}, {**dict.fromkeys(figures, 1.0), "killed": 0})


if __name__ == "__main__":
    raise SystemExit(main())
