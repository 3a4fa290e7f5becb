"""Optimizers are torch's, to the last bit, and a training on a CPU never reads torch.compile's machinery."""

import sys
from pathlib import Path

import pytest
import torch
from nnunet_trainer.training.calibration import measuring
from nnunet_trainer.training.components import lookup
from nnunet_trainer.training.loop.fold_training import train
from nnunet_trainer.training.reporting import reporter
from nnunet_trainer.training.session.optimization.precision import Precision
from support.trainings import ranks

from trainer.training.conftest import short_setup

CPU = torch.device("cpu")
NAMES = sorted(lookup.registry("optimizer"))
TORCHS = {
    "SGD": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.99, weight_decay=3e-5, nesterov=True),
    "Adam": lambda groups: torch.optim.Adam(groups, lr=1e-2, weight_decay=3e-5),
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=1e-2, weight_decay=3e-5),
}


def trained(make):
    """Weights and state after some steps of a small network, its state taken over by another optimizer in between."""
    torch.manual_seed(0)
    network, x = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2)), torch.randn(8, 4)
    optimizer = make(network.parameters())
    for step in range(8):
        if step == 4:
            saved = optimizer.state_dict()
            optimizer = make(network.parameters())
            optimizer.load_state_dict(saved)
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()
    return list(network.parameters()), optimizer.state_dict(), type(optimizer)


@pytest.mark.parametrize("name", TORCHS)
def test_each_is_torchs_own(name):
    ours, torchs = trained(lookup.find("optimizer", name).make), trained(TORCHS[name])
    for own, other in zip(ours[0], torchs[0], strict=True):
        assert torch.equal(own, other)
    assert ours[1]["param_groups"] == torchs[1]["param_groups"]
    assert ours[2] is torchs[2]


def trains_with_each(preprocessed, results):
    """Trains with each optimizer, goes on from what was saved, counts a step's memory; fails if what compiles was imported."""
    reporter.progress_plot = lambda logging, folder: None
    for name in NAMES:
        for epochs in (1, 2):
            changes = {"epochs": epochs, "iterationsPerEpoch": 1, "validationIterations": 1, "optimizer": {"name": name}}
            train(short_setup(Path(preprocessed), Path(results) / name, changes, resume=True))
        print(name, "torch._dynamo" in sys.modules)
    measuring.training_step(lambda: torch.nn.Conv3d(1, 2, 3, padding=1), 1, 1, (4, 4, 4), Precision("fp32", CPU), CPU)
    print("a step that is measured", "torch._dynamo" in sys.modules)
    return 0 if "torch._dynamo" not in sys.modules else 1


@pytest.mark.xdist_group("ranks")  # one worker has the server that its process is forked from
def test_a_training_reads_nothing_that_compiles(preprocessed, tmp_path):
    codes = ranks.ends(ranks.start(1, trains_with_each, (str(preprocessed), str(tmp_path)), tmp_path), 300)
    assert codes == [0], (tmp_path / "rank-0.log").read_text()
