"""Losses, optimizers, schedules, augmentations, networks of plug-ins: what fails or answers something else is the plug-in's fault.

It is said once, with the plug-in's line, and is not tried again: a GPU is not taken for it a second time.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nnunet_trainer.contract.faults import BadConfiguration, ExitCode
from nnunet_trainer.extensions import load_plugins
from nnunet_trainer.process_exit.failures import as_fault
from nnunet_trainer.training.loop.fold_training import train
from support.plugins import isolated, write

from .conftest import plans

SHORT = {"epochs": 2, "iterationsPerEpoch": 1, "validationIterations": 1, "augmentation": "none"}


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Loads a plug-in: a component Mine of a kind, with this signature and body."""

    def load(kind: str, signature: str, body: str) -> None:
        head = "import torch\nfrom nnunet_trainer.extensions import register\n\n\n"
        head += f'@register("{kind}", "Mine")\ndef mine({signature}):\n'
        write(tmp_path, "own", own=head + textwrap.indent(body, "    "))
        load_plugins(tmp_path, ["own"])

    with isolated():
        yield load


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return lambda logits, target: logits.float().square().mean((0, 2, 3, 4))", "answers a tensor of shape (3,); one number"),
        ("return lambda logits, target: 0.5", "answers 0.5; a tensor was expected"),
        ("return lambda logits, target: logits.detach().float().mean()", "answers a number without a gradient"),
        ("return lambda logits, target: torch.nn.functional.cross_entropy(logits, target)", "own.py, line 7: return lambda"),
        ("return lambda logits: logits.mean()", "takes 1 positional argument but 2 were given"),
        ("return 3", "answers 3; a function of logits and target was expected"),
        ("raise ValueError('no')", "fails: ValueError: no ("),
        ("return lambda logits, target: logits.float().mean() * float('nan')", ") is of the plug-in own (digest"),
    ],
)
def test_losses(setup: Any, plug: Callable[..., None], body: str, said: str) -> None:
    plug("loss", "context", body)
    refused(setup({**SHORT, "loss": "Mine"}), said)


@pytest.mark.parametrize(
    "error", ["RuntimeError('[gloo] Connection closed by peer')", "torch.OutOfMemoryError('CUDA out of memory')"]
)
def test_what_is_no_fault_of_a_loss(setup: Any, plug: Callable[..., None], error: str) -> None:
    """A rank that went away, or a GPU that is full: these are tried again, or said, as without a plug-in."""
    plug("loss", "context", f"def loss(logits, target):\n    raise {error}\nreturn loss")
    with pytest.raises(RuntimeError):
        train(setup({**SHORT, "loss": "Mine"}))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "answers 3; a torch.optim.Optimizer was expected"),
        ("return torch.optim.SGD(parameter_groups, lr=-1)", "own.py, line 7: return torch.optim.SGD"),
    ],
)
def test_optimizers(setup: Any, plug: Callable[..., None], body: str, said: str) -> None:
    plug("optimizer", "parameter_groups, *, learning_rate: float = 1e-2", body)
    refused(setup({**SHORT, "optimizer": "Mine"}), said)


STEPS = {
    "its own step": (
        "class Own(torch.optim.SGD):\n    @torch.no_grad()\n    def step(self, closure=None):\n        return self.nothing\n"
        "return Own(parameter_groups, lr=learning_rate)",
        r"The optimizer Mine \(.*own.py:5\), in its step, fails: AttributeError: .*own.py, line 10: return self.nothing",
    ),
    "one that needs a closure": (
        "return torch.optim.LBFGS([p for group in parameter_groups for p in group['params']], lr=learning_rate)",
        r"The optimizer Mine .*, in its step, fails: TypeError: .*closure",
    ),
    "its gradients": (
        "class Own(torch.optim.SGD):\n    def zero_grad(self, set_to_none=True):\n        raise ValueError('no')\n"
        "return Own(parameter_groups, lr=learning_rate)",
        r"The plug-in own fails in zero_grad: ValueError: no \(.*own.py, line 9: raise ValueError\('no'\)\)",
    ),
    "a hook": (
        "found = torch.optim.SGD(parameter_groups, lr=learning_rate)\n"
        "found.register_step_post_hook(lambda *given: 1 / 0)\nreturn found",
        r"The optimizer Mine .*, in its step, fails: ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("what", STEPS)
def test_what_an_optimizer_does_in_the_training(setup: Any, plug: Callable[..., None], what: str) -> None:
    body, said = STEPS[what]
    plug("optimizer", "parameter_groups, *, learning_rate: float = 1e-2", body)
    refused_as(setup({**SHORT, "optimizer": "Mine"}), said)


NETWORKS = {
    "a forward pass": (
        "return self.conv(x) if self.weights() else self.nothing",
        "The plug-in own fails in forward: AttributeError",
    ),
    "a hook": (
        "y = self.conv(x)\nif y.requires_grad and not self.weights():\n    y.register_hook(lambda gradient: 1 / 0)\nreturn y",
        "The plug-in own fails in <lambda>: ZeroDivisionError: division by zero",
    ),
    "a backward pass": (
        "return self.conv(x) if self.weights() else Broken.apply(self.conv(x))",
        r"The plug-in own fails in backward: ValueError: no \(.*own.py, line \d+: raise ValueError\('no'\)\)",
    ),
}
"""`self.weights()`: whether it has the weights that it began with."""


@pytest.mark.parametrize("what", NETWORKS)
def test_what_a_network_does_once_it_trains(setup: Any, plug: Callable[..., None], what: str) -> None:
    """Its first passes have been looked at, and were well."""
    forward, said = NETWORKS[what]
    body = f"""\
class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError('no')

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(channels_in, channels_out, 1)
        self.first = None

    def weights(self):
        now = self.conv.weight.detach().flatten()[0].item()
        self.first = now if self.first is None else self.first
        return now == self.first

    def forward(self, x):
{textwrap.indent(forward, "        ")}

return Network()"""
    plug("network", "arch_kwargs, channels_in, channels_out, deep_supervision", body)
    architecture = {"network_class_name": "Mine", "arch_kwargs": {}}
    refused_as(setup({**SHORT, "deepSupervision": False}, plans=plans(architecture=architecture)), said)


def test_an_optimizer_without_a_learning_rate(plug: Callable[..., None]) -> None:
    with pytest.raises(
        BadConfiguration, match=r"The plug-in own: The optimizer Mine \(.*\) has no keyword-only argument learning_rate"
    ):
        plug("optimizer", "parameter_groups, *, lr: float = 1e-2", "return torch.optim.SGD(parameter_groups, lr=lr)")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 0.5", "answers 0.5; a function of epoch and history was expected"),
        ("return lambda epoch, history: 0.5 - epoch", "in epoch 1, answers -0.5; what the learning rate is multiplied by"),
        ("return lambda epoch, history: (0.5 - epoch) ** 0.9", "in epoch 1, answers (-"),
        ("return lambda epoch, history: float('nan')", "in epoch 0, answers nan"),
        ("return lambda epoch, history: history['losses'][epoch]", "in epoch 0, fails: KeyError: 'losses'"),
    ],
)
def test_schedules(setup: Any, plug: Callable[..., None], body: str, said: str) -> None:
    plug("schedule", "epochs", body)
    refused(setup({**SHORT, "schedule": "Mine"}), said)


def test_augmentations(setup: Any, plug: Callable[..., None]) -> None:
    plug("augmentation", "", "return {'noise': None}")
    refused(setup({**SHORT, "augmentation": "Mine"}), "answers {'noise': None}; an AugmentationConfig was expected")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "raise ValueError('no')",
            "The network Mine fails: ValueError: no (",
        ),
        ("return torch.nn.Conv3d(channels_in + 1, channels_out, 1)", "with a batch of 2×1×8×16×16, fails: RuntimeError: "),
    ],
)
def test_networks(setup: Any, plug: Callable[..., None], body: str, said: str) -> None:
    plug("network", "arch_kwargs, channels_in, channels_out, deep_supervision", body)
    architecture = {"network_class_name": "Mine", "arch_kwargs": {}}
    refused(setup({**SHORT, "deepSupervision": False}, plans=plans(architecture=architecture)), said)


def test_what_fits(setup: Any, plug: Callable[..., None]) -> None:
    plug(
        "loss",
        "context, *, weight: float = 1.0",
        "return lambda logits, target: weight * context.share * logits.float().square().mean()",
    )
    done = train(setup({**SHORT, "loss": {"name": "Mine", "weight": 2}}))
    assert done.epochs == 2


def refused(setup: Any, said: str) -> None:
    refused_as(setup, re.escape(said))


def refused_as(setup: Any, pattern: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        train(setup)
    assert re.search(pattern, raised.value.message), raised.value.message
    assert as_fault(raised.value).exit_code == ExitCode.BAD_CONFIGURATION
