"""The fingerprint's CPU time against the reference's own command, on real images."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import _measure as measure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--raw", type=Path, help="a dataset in nnU-Net's raw layout (default: the shipped cases, eight times over)")
parser.add_argument("--workers", type=int, default=2)


def main() -> int:
    """Measure both in one run."""
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        environment = measure.wheel_environment(work)
        raw = arguments.raw or measure.repeated(measure.SHIPPED, work / "nnUNet_raw", 8)
        if arguments.raw:
            (work / "nnUNet_raw" / raw.name).symlink_to(raw.resolve())
        workers = str(arguments.workers)
        number = raw.name[7:10]
        ours = measure.cost([*measure.OURS, "fingerprint", str(raw), "-o", str(work / "fp.json"), "--workers", workers])
        theirs = measure.cost([*measure.wheel("nnUNetv2_extract_fingerprint"), "-d", number, "-np", workers], environment)
        ratios = measure.compare("fingerprint", ours, theirs)
    return measure.report("fingerprint", {"cpu_ratio": ratios["cpu"], "memory_ratio": ratios["memory"]}, {"cpu_ratio": 0.15})


if __name__ == "__main__":
    raise SystemExit(main())
