"""Optimizers on a GPU, shown with torch's fused kernels for CPUs."""

import copy

import pytest
import torch
from nnunet_trainer.training.components import lookup
from nnunet_trainer.training.session.optimization import optimizers
from torch import nn

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def made(name, network, **parameters):
    return lookup.find("optimizer", name).make(network.parameters(), **parameters)


def layers(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(2, 4, 3), nn.Conv3d(4, 1, 1))


def steps(network, optimizer, count, first=0):
    for number in range(first, first + count):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(number)
        network(torch.randn(1, 2, 4, 4, 4, generator=generator)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_fused_steps_are_those_of_torchs_loop(name):
    network = layers()
    twin = copy.deepcopy(network)
    plain, fused = made(name, network, learning_rate=0.01), made(name, twin, learning_rate=0.01)
    optimizers.fuse(fused, GPU)
    assert all(group["fused"] for group in fused.param_groups)
    steps(network, plain, 4)
    steps(twin, fused, 4)
    for expected, found in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Ranger", "Adan"])
def test_on_a_cpu_and_for_others_nothing_changes(name):
    optimizer = made(name, layers())
    before = copy.deepcopy(optimizer.state_dict())
    optimizers.fuse(optimizer, CPU)
    if name in ("Ranger", "Adan"):
        optimizers.fuse(optimizer, GPU)
    assert optimizer.state_dict() == before


@pytest.mark.parametrize("option", [{"dampening": 0.5, "momentum": 0.9}, {"differentiable": True}], ids=str)
def test_what_fused_kernels_do_not_do_alike_stays_torchs_loop(option):
    optimizer = torch.optim.SGD(layers().parameters(), lr=0.01, **option)
    optimizers.fuse(optimizer, GPU)
    assert not optimizer.param_groups[0]["fused"]
    assert not optimizer.state


def test_a_first_step_that_a_scaler_skips_leaves_no_rubbish_behind():
    network = layers()
    optimizer = made("SGD", network, learning_rate=0.01)
    optimizers.fuse(optimizer, GPU)
    before = copy.deepcopy(network.state_dict())
    network(torch.ones(1, 2, 4, 4, 4)).sum().backward()
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(not state["momentum_buffer"].any() for state in optimizer.state.values())


def test_what_was_frozen_at_first_trains_later():
    network = layers()
    optimizer = made("SGD", network, learning_rate=0.01)
    optimizers.fuse(optimizer, GPU)
    network[0].requires_grad_(False)
    steps(network, optimizer, 1)
    network[0].requires_grad_(True)
    before = network[0].weight.clone()
    steps(network, optimizer, 1, 1)
    assert not torch.equal(network[0].weight, before)


@pytest.mark.parametrize("saved_on", [CPU, GPU])
@pytest.mark.parametrize("resumed_on", [CPU, GPU])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_a_state_of_any_device_is_taken_over(name, saved_on, resumed_on):
    network = layers()
    optimizer = made(name, network, learning_rate=0.01)
    optimizers.fuse(optimizer, saved_on)
    steps(network, optimizer, 2)
    weights, state = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    steps(network, optimizer, 2, 2)
    again = layers(1).to(memory_format=torch.channels_last_3d)
    resumed = made(name, again, learning_rate=0.01)
    optimizers.fuse(resumed, resumed_on)
    again.load_state_dict(weights)
    optimizers.load(resumed, state)
    assert [bool(group["fused"]) for group in resumed.param_groups] == [resumed_on == GPU]
    for parameter, own in resumed.state.items():
        assert all(x.stride() == parameter.stride() for x in own.values() if x.shape == parameter.shape)
    steps(again, resumed, 2, 2)
    for expected, found in zip(network.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
