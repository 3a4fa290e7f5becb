"""Our networks are nnU-Net's: the same keys, shapes, order of parameters, and outputs for given weights."""

import pytest
import torch
from nnunet_trainer import architecture
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from .plans import plain, residual

pytestmark = pytest.mark.reference

CASES = {
    "plain-3d": (plain(3), (2, 2, 16, 16, 16)),
    "plain-3d-anisotropic": (plain(3, anisotropic=True), (1, 2, 8, 16, 16)),
    "plain-2d": (plain(2), (2, 2, 16, 24)),
    "plain-2d-nonlin-first": (plain(2, nonlin_first=True), (2, 2, 16, 16)),
    "residual-3d": (residual(3), (2, 2, 16, 16, 16)),
    "residual-2d": (residual(2), (2, 2, 16, 16)),
    "plain-batchnorm-dropout": (
        plain(2, norm_op="torch.nn.BatchNorm2d", dropout_op="torch.nn.Dropout2d", dropout_op_kwargs={"p": 0.5}),
        (2, 2, 16, 16),
    ),
}


def pair(plans, deep_supervision=True):
    torch.manual_seed(0)
    theirs = get_network_from_plans(
        plans["network_class_name"],
        dict(plans["arch_kwargs"]),
        plans["_kw_requires_import"],
        2,
        3,
        allow_init=True,
        deep_supervision=deep_supervision,
    )
    return theirs, architecture.build(plans, 2, 3, deep_supervision)


@pytest.mark.parametrize("name", CASES)
def test_keys_shapes_and_order_are_the_wheels(name):
    theirs, ours = pair(CASES[name][0])
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]


@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_outputs_equal_for_the_same_weights(name, deep_supervision):
    plans, shape = CASES[name]
    theirs, ours = pair(plans, deep_supervision)
    # Weights that the initialization zeroes would hide a wrong residual branch.
    state = {k: v + 0.1 * torch.rand_like(v) if v.is_floating_point() else v for k, v in theirs.state_dict().items()}
    theirs.load_state_dict(state)
    ours.load_state_dict(theirs.state_dict())
    theirs.eval(), ours.eval()
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
    if not deep_supervision:
        expected, found = [expected], [found]
    assert [o.shape for o in found] == [o.shape for o in expected]
    for e, f in zip(expected, found, strict=True):
        torch.testing.assert_close(f, e, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["plain-3d", "residual-2d"])
def test_initial_weights_have_the_wheels_statistics(name):
    theirs, ours = pair(CASES[name][0])
    for (key, expected), (_, found) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        if expected.numel() > 500:
            assert found.std().item() == pytest.approx(expected.std().item(), rel=0.15), key
            assert abs(found.mean().item()) < 4 * expected.std().item() / expected.numel() ** 0.5 + 1e-6, key
        if expected.std().item() == 0 or not expected.any():
            torch.testing.assert_close(found, expected, msg=key)


def test_the_default_3d_network_has_240_keys_for_88_parameters():
    plans = plain(3)
    plans["arch_kwargs"] |= {
        "n_stages": 6,
        "features_per_stage": [4, 4, 4, 4, 4, 4],
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "n_conv_per_stage": [2] * 6,
        "n_conv_per_stage_decoder": [2] * 5,
    }
    network = architecture.build(plans, 1, 3, True)
    theirs, _ = pair(plans)
    assert len(network.state_dict()) == len(theirs.state_dict())
    assert len(list(network.parameters())) == len(list(theirs.parameters()))
