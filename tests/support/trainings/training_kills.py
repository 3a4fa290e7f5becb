"""A training whose processes are killed with SIGKILL at random instants and started anew, as pods are; and what comes of it.

Each attempt has an empty scratch folder, as a new pod has; what is left of earlier ones is what they had uploaded.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.contract import pod, work_order
from nnunet_trainer.contract.work_order import CheckpointPolicy, Location, TrainOrder
from nnunet_trainer.supervision import worker
from nnunet_trainer.training.ranks import peer_watch, rendezvous
from nnunet_trainer.training.reporting import reporter

from . import ranks

OFTEN = CheckpointPolicy(every_epochs=1, every_minutes=0, keep=2)
"""A checkpoint after every iteration, so that there is hardly an instant at which none is being written or uploaded."""
RENDEZVOUS_SECONDS, RENDEZVOUS_AFTER_A_KILL = 120, 8
"""One that is killed before it has come is waited for so long, which need not be long where one is killed."""
STARTS_WITHIN, ENDS_WITHIN = 600.0, RENDEZVOUS_AFTER_A_KILL + peer_watch.CONNECT_SECONDS + peer_watch.OUT_SECONDS + 30.0
"""Seconds in which the other ranks must have ended once one was killed and they look for it: it may not have come to them yet, or
not be connected. Before that they read data and plans, which takes any time where the machine is busy."""
EARLIER = 0.7
TIMED = ("epoch_start_timestamps", "epoch_end_timestamps")


@dataclass
class Outcome:
    """Of one training that was killed again and again."""

    kills: int = 0
    hung: list[str] = field(default_factory=list)
    """Kills after which another rank did not end in time: how, with the stacks of its threads."""
    lost: bool = False
    """It did not come to its end."""
    differences: list[str] = field(default_factory=list)
    """To the training that was not killed."""


def whole(order: TrainOrder, world: int, folder: Path) -> tuple[Path, float]:
    """Train without being killed; the final checkpoint, and the seconds that it took."""
    ranks.warm()
    began = time.monotonic()
    processes = _start(order, world, folder, 0)
    codes = ranks.ends(processes, 600)
    if codes != [0] * world:
        raise AssertionError(f"the training that was not killed ended with {codes}: {_logs(folder)}")
    return final(folder), time.monotonic() - began


def killed(order: TrainOrder, world: int, folder: Path, *, kills: int, seed: int, expected: Path, seconds: float) -> Outcome:
    """Train and kill, `kills` times, then let it end; compare with `expected`.

    Args:
        order: the training's.
        world: processes; one of them, or all at once, are killed.
        folder: for its store, and a pod's folder for each attempt.
        kills: how often.
        seed: of instants and victims.
        expected: the final checkpoint of the one that was not killed.
        seconds: what that one took.
    """
    chance, outcome, attempt = random.Random(seed), Outcome(), 0
    while outcome.kills < kills:
        processes = _start(order, world, folder, attempt, RENDEZVOUS_AFTER_A_KILL)
        victims = processes if chance.random() < 0.5 else [chance.choice(processes)]
        time.sleep(chance.uniform(0.05, 0.6) * seconds)  # the instant is what is tried here
        alive = [victim for victim in victims if victim.is_alive()]
        for victim in alive:
            victim.kill()
        place, until = _place(folder, attempt), time.monotonic() + STARTS_WITHIN
        for rank, process in enumerate(processes):
            while process.is_alive() and not (place / f"came-{rank}").exists() and time.monotonic() < until:
                process.join(0.1)
        codes = ranks.ends(processes, ENDS_WITHIN, stacks=True)
        if None in codes:
            outcome.hung.append(f"attempt {attempt} ended with {codes}: {_logs(folder)}")
        outcome.kills += bool(alive)
        attempt += 1
        if not alive:  # it has ended before the kill: earlier from now on
            seconds *= EARLIER
            if codes == [0] * world:  # and once more from the beginning
                outcome.differences += differences(final(folder), expected)
                shutil.rmtree(folder / "store")
    codes = ranks.ends(_start(order, world, folder, attempt), 600)
    if codes != [0] * world:
        outcome.lost = True
        outcome.differences = [f"ended with {codes}: {_logs(folder)}"]
        return outcome
    outcome.differences += differences(final(folder), expected)
    return outcome


def final(folder: Path) -> Path:
    """The published final checkpoint."""
    (found,) = (path for path in (folder / "store").rglob("checkpoint_final.pth") if "attempts" not in path.parts)
    return found


def differences(one: Path, other: Path) -> list[str]:
    """What is not bit-equal of weights, optimizer and history, but for the time of day."""
    contents = [checkpoint.load(path) for path in (one, other)]
    for content in contents:
        for name in TIMED:
            content["logging"].pop(name)
    names = ("network_weights", "optimizer_state", "logging", "_best_ema", "current_epoch")
    return [line for name in names for line in _different(name, *(content[name] for content in contents))]


def _different(where: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        lines = [f"{where}: keys"] if one.keys() != other.keys() else []
        return lines + [line for key in one.keys() & other.keys() for line in _different(f"{where}.{key}", one[key], other[key])]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        lines = [f"{where}: {len(one)} and {len(other)} values"] if len(one) != len(other) else []
        return lines + [line for i, pair in enumerate(zip(one, other, strict=False)) for line in _different(f"{where}[{i}]", *pair)]
    if isinstance(one, torch.Tensor):
        raw = [tensor.flatten().contiguous().view(torch.uint8) for tensor in (one, other)]
        same = one.dtype == other.dtype and one.shape == other.shape and torch.equal(*raw)
        return [] if same else [where]
    return [] if repr(one) == repr(other) else [f"{where}: {one!r} and {other!r}"]


def _start(order: TrainOrder, world: int, folder: Path, attempt: int, rendezvous_seconds: int = RENDEZVOUS_SECONDS) -> list[Any]:
    place = _place(folder, attempt)
    (place / "reports").mkdir(parents=True)
    storage = Location(uri=f"file://{folder}/store")
    own = replace(
        order, storage=storage, attempt=attempt, deterministic=True, checkpoint=OFTEN, gpus_per_node=0 if world == 1 else world
    )
    (place / "order.json").write_text(work_order.encode(own))
    environment = {pod.ENV_SCRATCH: str(place / "scratch"), pod.ENV_SHARED: str(place / "reports"), pod.ENV_DEVICE: "cpu"}
    environment[pod.ENV_RENDEZVOUS_SECONDS] = str(rendezvous_seconds)
    return ranks.start(world, _rank, (str(place),), place, environment)


def _place(folder: Path, attempt: int) -> Path:
    return folder / f"attempt-{attempt}"


def _rank(place: str) -> int:
    """What the supervisor starts, a rank each."""
    meet = rendezvous.meet

    def came(*arguments: Any) -> Any:
        (Path(place) / f"came-{os.environ['RANK']}").touch()
        return meet(*arguments)

    rendezvous.meet = came
    reporter.progress_plot = lambda logging, folder: None  # drawing it takes longer than such a training does
    Path(os.environ[pod.ENV_SCRATCH]).mkdir(exist_ok=True)
    os.chdir(os.environ[pod.ENV_SCRATCH])
    return worker.main(f"{place}/order.json", f"{place}/reports/report-{os.environ.get('RANK', '0')}.json")


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("attempt-*/rank-*.log"))[-4:])
