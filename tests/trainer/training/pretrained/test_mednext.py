"""Weights of a MedNeXt with kernel 3 become those of one with kernel 5 (UpKern); its heads begin anew."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from nnunet_trainer import architecture
from nnunet_trainer.training import pretrained

from trainer.architecture.test_mednext import plans

STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
KERNELS = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]


def network(kernel: int, labels: int) -> torch.nn.Module:
    return architecture.build(plans(kernel=kernel, base=2, strides=STRIDES, kernels=KERNELS), 1, labels, True)


def test_upkern(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small, large = network(3, 3), network(5, 2)
    torch.save({"network_weights": small.state_dict()}, tmp_path / "small.pth")
    report = pretrained.load(large, tmp_path / "small.pth")
    theirs, ours = small.state_dict(), large.state_dict()
    kernels = [key for key in ours if key.endswith("conv1.weight")]
    assert sorted(key for key, _ in report.adapted) == sorted(kernels)
    assert dict(report.adapted)["up_1.conv1.weight"] == "kernel 3×3×3 to 5×5×5 by UpKern"
    assert dict(report.adapted)["enc_block_0.0.conv1.weight"] == "kernel 1×3×3 to 1×5×5 by UpKern"
    for key in kernels:
        torch.testing.assert_close(ours[key], F.interpolate(theirs[key], ours[key].shape[2:], mode="trilinear"))
    assert sorted(report.skipped) == sorted(key for key in ours if "conv_out" in key) == sorted(report.heads)
    assert set(report.loaded) == set(ours) - set(kernels) - set(report.skipped)
    assert all(torch.equal(ours[key], theirs[key]) for key in report.loaded)
    assert not report.unused
    assert "6 of the segmentation layers begin anew" in report.sentence()


def test_the_same_kernel_is_loaded_as_it_is(tmp_path: Path) -> None:
    torch.save({"network_weights": network(5, 3).state_dict()}, tmp_path / "same.pth")
    assert not pretrained.load(network(5, 2), tmp_path / "same.pth").adapted
