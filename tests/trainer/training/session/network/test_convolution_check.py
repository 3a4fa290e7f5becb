"""Convolutions that are wrong are found, whatever is wrong with them."""

import pytest
import torch
import torch.nn.functional as F
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.training.session.network.convolution_check import check_convolutions, distinct
from torch import nn

CPU = torch.device("cpu")
NETWORKS = {
    3: nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1)), nn.Conv3d(8, 12, 3, 2, 1), nn.Conv3d(12, 3, 1)
    ),
    2: nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 12, 3, 2, 1), nn.Conv2d(12, 3, 1)),
}
PATCH = (20, 14, 17)


def check(dimensions, precision="fp32", convolve=None, layout=torch.contiguous_format):
    return check_convolutions(NETWORKS[dimensions], PATCH[:dimensions], precision, CPU, layout, convolve)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_those_of_this_cpu_are_right(dimensions, precision):
    assert check(dimensions, precision) == 4
    assert check(dimensions, precision, layout=torch.channels_last if dimensions == 2 else torch.channels_last_3d) == 4


def test_the_first_that_is_tried_keeps_its_channels():
    assert [layer.channels_in == layer.channels_out for layer in distinct(NETWORKS[3])] == [True, False, False, False]


def a_bit_off(x, weight, bias, stride, padding):
    return F.conv3d(x, weight, bias, stride, padding) * 1.05


def off_far_away(x, weight, bias, stride, padding):
    y = F.conv3d(x, weight, bias, stride, padding)
    mask = torch.ones_like(y)
    mask[..., -1, -1, -1] = 0  # as where an index overflows
    return y * mask


def one_channel_missing(x, weight, bias, stride, padding):
    return F.conv3d(x, weight * (torch.arange(weight.shape[1]).view(1, -1, 1, 1, 1) != 3), bias, stride, padding)


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight):
        return weight.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 0.9


def wrong_gradient(x, weight, bias, stride, padding):
    return F.conv3d(x, _WrongGradient.apply(weight), bias, stride, padding)


def wrong_gradient_of_the_input(x, weight, bias, stride, padding):
    return F.conv3d(_WrongGradient.apply(x), weight, bias, stride, padding)


def no_numbers(x, weight, bias, stride, padding):
    return F.conv3d(x, weight, bias, stride, padding) * torch.nan


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (a_bit_off, "the output at 0, 0, 0 is off by"),
        (off_far_away, "the output at 16, 10, 13 is off by"),
        (one_channel_missing, "the output at 0, 0, 0 is off by"),
        (wrong_gradient, "the weight's gradient is off by"),
        (wrong_gradient_of_the_input, "the input's gradient is off by"),
        (no_numbers, "is off by nan %"),
    ],
)
def test_wrong_ones_are_refused_with_what_is_wrong_and_the_versions(wrong, said, precision):
    with pytest.raises(BadConfiguration, match=said) as refused:
        check(3, precision, wrong)
    assert refused.value.reason == "WrongConvolution"
    assert f"torch {torch.__version__}" in str(refused.value)
    assert precision in str(refused.value)
    assert "8→8 channels" in str(refused.value)
