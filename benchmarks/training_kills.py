"""Trainings that are killed with SIGKILL at random instants, uploads included: how many come to their end, and to the same one.

Each is one fold on the shipped images with a tiny network, a checkpoint after every iteration, and an empty disk for every attempt.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import _measure as measure

sys.path.insert(0, str(measure.ROOT / "tests"))
from nnunet_trainer.contract import pod
from nnunet_trainer.contract.work_order import Location, TrainerChoice
from support.trainings import training_kills
from trainer.steps.conftest import RECIPE, Chain, copy_examples

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=20261128, help="of instants and victims; default: %(default)s")
parser.add_argument("--trainings", type=int, default=4, help="of each number of ranks; default: %(default)s")
parser.add_argument("--kills", type=int, default=5, help="of each training; default: %(default)s")
parser.add_argument("--worlds", type=int, nargs="*", default=[1, 2], metavar="RANKS", help="default: 1 2")


def main() -> int:
    """Kill them one after the other."""
    arguments = parser.parse_args()
    tried, kills, lost, unequal, hung = 0, 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ[pod.ENV_SCRATCH] = str(folder / "scratch")
        chain = Chain(Location(uri=f"file://{folder}/store"), copy_examples(folder / "raw"))
        read = chain.dataset()
        plans = chain.plan(read)
        recipe = {**RECIPE, "epochs": 3, "iterationsPerEpoch": 6, "validationIterations": 2}
        trainer = TrainerChoice(name="tiny", base="nnUNetTrainer", recipe=recipe)
        order = chain.train_order(chain.preprocess(read, plans), plans, trainer=trainer)
        for world in arguments.worlds:
            expected, seconds = training_kills.whole(order, world, folder / f"{world}-whole")
            for number in range(arguments.trainings):
                outcome = training_kills.killed(
                    order,
                    world,
                    folder / f"{world}-{number}",
                    kills=arguments.kills,
                    seed=arguments.seed + number,
                    expected=expected,
                    seconds=seconds,
                )
                tried, kills, hung = tried + 1, kills + outcome.kills, hung + len(outcome.hung)
                lost += outcome.lost
                unequal += not outcome.lost and bool(outcome.differences)
                print(
                    f"{world} {'ranks' if world > 1 else 'rank'}, training {number}: killed {outcome.kills} times, "
                    f"{'; '.join(outcome.differences)[:2000] or 'bit-equal'}",
                    flush=True,
                )
                for text in outcome.hung:
                    print(text, flush=True)
    figures = {"trainings": tried, "kills": kills, "lost": lost, "unequal": unequal, "hung": hung}
    return measure.report("training_kills", figures, {"lost": 0, "unequal": 0, "hung": 0})


if __name__ == "__main__":
    raise SystemExit(main())
