"""What one rank of a test does, in a process of its own with torchrun's variables."""

import json
import os
import random
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from nnunet_trainer.contract.faults import BadConfiguration, Stopped
from nnunet_trainer.training.loop import batches, beginning, stopping
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.ranks import distributed, file_gathering
from nnunet_trainer.training.recipes.recipe import read
from nnunet_trainer.training.session import preparation
from nnunet_trainer.training.session.setup import ContinuedTraining, TrainingSetup

from trainer.training.conftest import dataset_json, plans

SCENARIOS = {
    "labels, batch Dice": ({"batch_dice": True}, None, {}),
    "labels, Dice of each sample": ({"batch_dice": False}, None, {}),
    "ignore label": ({"batch_dice": True}, {"background": 0, "shell": 1, "ignore": 2}, {}),
    "regions": ({"batch_dice": True}, {"background": 0, "ball": [1, 2], "core": 2}, {"regions_class_order": [1, 2]}),
    "regions and ignore label": (
        {"batch_dice": False},
        {"background": 0, "shell": [1], "both": [0, 1], "ignore": 2},
        {"regions_class_order": [1, 1]},
    ),
}

# Each loss, with what ranks do not share evenly: some voxels that count and some that do not, and statistics over the batch.
LOSSES = {"Dice": {}, "SquaredDice": {}, "GeneralisedDice": {}, "MCC": {}, "GeneralisedDiceCE": {}, "CE": {}, "Focal": {}}
LOSSES |= {"TopK": {"percent": 7.0}, "DiceTopK": {"percent": 30.0}}
RECIPES = {f"loss {name}": {"loss": {"name": name, **parameters}} for name, parameters in LOSSES.items()}
RECIPES |= {"batch normalization": {"network": {"normalization": "batch"}}}


def make_setup(preprocessed, results, batch_size, scenario="labels, batch Dice", recipe=None, continues=None, **more):
    """The same setup in every process."""
    recipe = {**RECIPES.get(scenario, {}), **(recipe or {})}
    configuration, labels, extra = SCENARIOS["ignore label" if scenario in RECIPES else scenario]
    if continues is not None:
        more["continues"] = ContinuedTraining(**{**continues, "checkpoint": Path(continues["checkpoint"])})
    return TrainingSetup(
        preprocessed=Path(preprocessed),
        results=Path(results),
        plans=plans(batch_size=batch_size, **configuration),
        dataset_json=dataset_json(labels, **extra),
        configuration="3d_fullres",
        fold="0",
        trainer="nnUNetTrainer_ranks",
        recipe=read({"epochs": 1, "iterationsPerEpoch": 3, "validationIterations": 2, **recipe}),
        device="cpu",
        workers=0,
        validation=False,
        **more,
    )


def gradients(setup, ranks):
    """Loss and gradients of the first batch, float64; those of the whole batch on every rank."""
    s = preparation.prepare(setup, ranks)
    s.freeze()
    s.network.double()
    data, targets = next(iter(batches.batches(s, s.sampler, s.augmenter, 1)))
    s.exchange.begin()
    loss = s.criterion(s.network(data.double()), targets)
    loss.backward()
    s.exchange.finish()
    found = {name: p.grad for name, p in s.network.named_parameters() if p.grad is not None}
    found |= {name: buffer for name, buffer in s.network.named_buffers() if buffer.is_floating_point()}
    return found | {"loss": torch.tensor(distributed.total([loss.item()])[0])}


def gathered_files(roots, sizes, late):
    """Each rank writes files of some sizes below its own root; the first one has to wait `late` seconds for the last."""
    file_gathering.CHUNK_BYTES = 1000
    rank = int(os.environ["RANK"])
    root, asked = Path(roots[rank]), Path(roots[0]).with_name("asked")
    first_asked = []

    def check():
        first_asked.append(time.monotonic())
        if first_asked[-1] - first_asked[0] > late:
            asked.touch()

    with distributed.ranks("cpu") as ranks, short_timeout(), distributed.patient() as group:
        files = []
        for number, size in enumerate(sizes):
            files.append(root / f"validation/sub.folder/case_{rank}.{number}.bin")
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            files[-1].write_bytes(random.Random(f"{rank} {number}").randbytes(size))
        while rank == ranks.world_size - 1 and not asked.exists():
            time.sleep(0.02)
        came = file_gathering.gather(root, files, group, check)
        distributed.meet(group)
        if ranks.first:
            found = sorted(path.relative_to(root).as_posix() for path in came)
            Path(roots[0]).with_name("came.json").write_text(json.dumps(found))


@contextmanager
def short_timeout():
    """A second for each collective of the process group, now that the ranks have found each other."""
    torch.distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=1))
    yield


def differ(preprocessed, other, **arguments):
    """The second rank was given something else; each leaves the fault that it ends with."""
    rank = int(os.environ["RANK"])
    mine = dict(other) if rank == 1 else {}
    scale = mine.pop("weights", 0.0)
    mine.pop("splits", None)
    if scale:
        load = beginning.devices.said

        def changed(*a):
            # Just before the weights are compared: as if a pretrained file were another one on this node.
            session = sys._getframe(1).f_locals["session"]
            for parameter in session.network.parameters():
                parameter.data.add_(scale)
            return load(*a)

        beginning.devices.said = changed
    setup = make_setup(preprocessed=preprocessed[rank], **{**arguments, **mine})
    try:
        train(setup)
    except BadConfiguration as fault:
        (Path(arguments["results"]) / f"fault of rank {rank}.txt").write_text(f"{fault.reason}: {fault}")
        return int(fault.exit_code)
    return 0


def validate_apart(preprocessed, results, configuration):
    """A short training whose ranks have results folders of their own; the first one leaves the validation's summary."""
    rank, folder = os.environ["RANK"], Path(preprocessed)
    result = train(
        TrainingSetup(
            preprocessed=folder,
            results=Path(results) / rank,
            plans=json.loads((folder / "nnUNetPlans.json").read_text()),
            dataset_json=json.loads((folder / "dataset.json").read_text()),
            configuration=configuration,
            fold="0",
            recipe=read({"epochs": 1, "iterationsPerEpoch": 1, "validationIterations": 1, "fullEvaluation": {}}),
            device="cpu",
            workers=0,
        )
    )
    (Path(results) / f"{rank}.json").write_text(json.dumps(result.validation))
    (Path(results) / f"{rank} whole images.txt").write_text(repr(result.ema_pseudo_dice))


def main(mode, arguments):
    """What a rank does; returns its exit code. `mode`: gradients, train, differ, gather or validate."""
    arguments = dict(arguments)
    if mode in ("gather", "validate"):
        {"gather": gathered_files, "validate": validate_apart}[mode](**arguments)
        return 0
    if mode == "gradients":
        with distributed.ranks("cpu") as ranks:
            found = {name: gradients(make_setup(**arguments, scenario=name), ranks) for name in [*SCENARIOS, *RECIPES]}
            torch.save(found, f"{arguments['results']}/rank_{ranks.rank}.pt")
        return 0
    rank = int(os.environ["RANK"])
    if mode == "differ":
        return differ(**arguments)
    flags = Path(arguments["results"])
    if arguments.pop("apart", False):
        arguments["results"] = str(flags / f"rank {rank}")

    def heard(progress):
        if progress.epoch is not None and progress.epoch >= 1:
            (flags / "an epoch is done").touch()

    with stopping.on_signals() as stop:
        try:
            train(make_setup(**arguments, stop=stop, listener=heard))
        except Stopped as stopped:
            return int(stopped.exit_code)
    return 0
