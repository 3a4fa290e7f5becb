"""Networks from plans: what is refused, and with which words."""

import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.contract.faults import BadConfiguration

from .plans import plain, residual


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"conv_op": "torch.nn.Conv4d"}, "no conv_op named"),
        ({"norm_op": "os.system"}, "norm_op is 'os.system'"),
        ({"nonlin": "torch.nn.functional"}, "nonlin"),
        ({"kernel_sizes": [[3, 3]]}, "kernel_sizes has 1 entries; 3 were expected"),
        ({"n_stages": 1}, "n_stages is 1"),
        ({"feature_per_stage": [1, 2, 3]}, "Did you mean features_per_stage"),
        ({"norm_op_kwargs": {"epsilon": 1}}, "epsilon"),
    ],
)
def test_wrong_arguments_are_named(changes, expected):
    with pytest.raises(BadConfiguration, match=expected):
        architecture.build(plain(2, **changes), 1, 2, True)


def test_a_missing_argument_is_named():
    plans = plain(2)
    del plans["arch_kwargs"]["strides"]
    with pytest.raises(BadConfiguration, match="strides is missing"):
        architecture.build(plans, 1, 2, True)


def test_an_unknown_network_gets_the_nearest_name():
    with pytest.raises(BadConfiguration, match="PlainConvUNet"):
        architecture.build(plain(2) | {"network_class_name": "some.package.PlainConvUnet"}, 1, 2, True)


def test_residual_blocks_begin_as_the_identity():
    network = architecture.build(residual(3), 1, 2, False)
    for name, parameter in network.named_parameters():
        if ".conv2.norm." in name:
            assert not parameter.any(), name


@pytest.mark.parametrize("norm", ["ChannelGroupNorm", "FilterResponseNorm", None])
def test_layers_beyond_the_reference(norm):
    kwargs = {"num_groups": 2} if norm == "ChannelGroupNorm" else {}
    network = architecture.build(plain(3, norm_op=norm, norm_op_kwargs=kwargs), 1, 2, True)
    outputs = network(torch.zeros(1, 1, 8, 8, 8))
    assert [tuple(o.shape) for o in outputs] == [(1, 2, 8, 8, 8), (1, 2, 4, 4, 4)]
    assert all(o.isfinite().all() for o in outputs)


def test_deep_supervision_can_be_switched():
    network = architecture.build(plain(2), 1, 2, True).eval()
    x = torch.randn(1, 1, 8, 8)
    first = network(x)[0]
    network.deep_supervision = False
    torch.testing.assert_close(network(x), first)
