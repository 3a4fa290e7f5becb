"""Planning's CPU time against the reference's own command."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import _measure as measure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--planner", default="ExperimentPlanner")


def main() -> int:
    """Measure both in one run, from one fingerprint."""
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        environment = measure.wheel_environment(work)
        (work / "nnUNet_raw" / measure.SHIPPED.name).symlink_to(measure.SHIPPED)
        fingerprint = work / "nnUNet_preprocessed" / measure.SHIPPED.name / "dataset_fingerprint.json"
        measure.cost([*measure.OURS, "fingerprint", str(measure.SHIPPED), "-o", str(fingerprint), "--workers", "1"])
        plan = ["plan", str(measure.SHIPPED), "--fingerprint", str(fingerprint), "--planner", arguments.planner]
        ours = measure.cost([*measure.OURS, *plan, "-o", str(work / "plans.json")])
        theirs = measure.cost([*measure.wheel("nnUNetv2_plan_experiment"), "-d", "4", "-pl", arguments.planner], environment)
        ratios = measure.compare("plan", ours, theirs)
        quickest = min(measure.cost([*measure.OURS, "--help"]).wall for _ in range(5))
        print(f"{'nnunet-trainer --help':28} {quickest:>8.2f} s")
    figures = {"cpu_ratio": ratios["cpu"], "memory_ratio": ratios["memory"], "help_seconds": quickest}
    return measure.report("planning", figures, {"cpu_ratio": 0.15, "help_seconds": 0.3})


if __name__ == "__main__":
    raise SystemExit(main())
