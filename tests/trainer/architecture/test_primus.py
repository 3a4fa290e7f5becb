"""Primus is nnU-Net's: the same keys, shapes, order of parameters, outputs, gradients and initial weights."""

import re

import pytest
import torch
from nnunet_trainer import architecture
from nnunet_trainer.architecture.transformer import Block, rotary_angles, rotate
from nnunet_trainer.contract.catalogue.networks import PRIMUS_SIZES
from nnunet_trainer.contract.faults import BadConfiguration

SHAPE = (16, 8, 8)
KINDS = ("Primus", "PrimusV2", "PrimusV3")


def wheel():
    """Its module, which is not read with this one: it takes seconds, for timm and torchvision."""
    from dynamic_network_architectures.architectures import primus

    return primus


def plans(kind, **changes):
    arguments = {
        "embed_dim": 24,
        "patch_embed_size": [8, 8, 8],
        "eva_depth": 2,
        "eva_numheads": 2,
        "input_shape": list(SHAPE),
        "drop_path_rate": 0.2,
        "scale_attn_inner": True,
        "init_values": 0.1,
        **changes,
    }
    name = f"dynamic_network_architectures.architectures.primus.{kind}"
    return {"network_class_name": name, "arch_kwargs": arguments, "_kw_requires_import": []}


def pair(kind, **changes):
    torch.manual_seed(0)
    content = plans(kind, **changes)
    theirs = getattr(wheel(), kind)(input_channels=2, num_classes=3, **content["arch_kwargs"])
    return theirs, architecture.build(content, 2, 3, False)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("kind", "changes"), [*((kind, {}) for kind in KINDS), ("Primus", {"scale_attn_inner": False, "init_values": None})]
)
def test_keys_outputs_and_gradients_are_the_wheels(kind, changes):
    theirs, ours = pair(kind, **changes)
    state = theirs.state_dict()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    # Branches that begin near 0 would hide what is wrong with them.
    state = {k: v + 0.1 * torch.rand_like(v) for k, v in state.items()}
    theirs.load_state_dict(state), ours.load_state_dict(state)
    theirs.eval(), ours.eval()
    x = torch.randn(2, 2, *SHAPE, generator=torch.Generator().manual_seed(1))
    images = [x.clone().requires_grad_() for _ in range(2)]
    expected, found = theirs(images[0]), ours(images[1])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    expected.square().mean().backward(), found.square().mean().backward()
    torch.testing.assert_close(images[1].grad, images[0].grad, rtol=1e-3, atol=1e-7)
    for (name, e), f in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        assert (f.grad - e.grad).abs().max() <= 1e-5 + 1e-3 * e.grad.abs().max(), name


@pytest.mark.reference
@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_have_the_wheels_statistics(kind):
    theirs, ours = pair(kind)
    for (key, expected), found in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        if expected.numel() > 500 and expected.std() > 0:
            assert found.std().item() == pytest.approx(expected.std().item(), rel=0.15), key
            assert abs(found.mean().item()) < 4 * expected.std().item() / expected.numel() ** 0.5 + 1e-6, key
        elif expected.numel() == 1 or expected.std() == 0:
            torch.testing.assert_close(found, expected, msg=key)


@pytest.mark.reference
@pytest.mark.parametrize("size", PRIMUS_SIZES)
def test_the_published_sizes(size):
    name = f"Primus{size}"
    with torch.device("meta"):
        theirs = getattr(wheel(), name)(2, 3, (8, 8, 8), (16, 16, 16))
        width, depth, heads = PRIMUS_SIZES[size]
        ours = architecture.build(
            plans("Primus", embed_dim=width, eva_depth=depth, eva_numheads=heads, input_shape=[16] * 3),
            2,
            3,
            False,
            initialize=False,
        )
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


@pytest.mark.reference
def test_tokens_of_another_size():
    theirs, ours = pair("Primus", patch_embed_size=[4, 8, 8])
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-5)


def test_rotation_keeps_lengths_and_shows_only_distances():
    angles = rotary_angles([4, 3, 2], 12)
    assert angles.shape == (24, 6)
    x = torch.randn(1, 1, 1, 12).expand(1, 1, 24, 12)
    turned = rotate(x, angles.sin(), angles.cos())
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    products = (turned[0, 0] @ turned[0, 0].T).view(4, 3, 2, 4, 3, 2)
    torch.testing.assert_close(products[0, 0, 0, 1, 1, 1], products[2, 1, 0, 3, 2, 1])


def test_a_branch_is_left_out_as_often_as_said_and_counts_for_it():
    torch.manual_seed(0)
    block = Block(6, 1, 12, scale=None, drop=0.25, normalized_heads=False)
    branch = torch.ones(4000, 1, 1)
    kept = block._sometimes(branch, None)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert block.eval()._sometimes(branch, None) is branch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_shape": [320, 256]}, "for 3D patches; this configuration's patch is 320×256"),
        ({"input_shape": [20, 32, 16]}, r"20×32×16 is no multiple of that.*\[16, 32, 16\]"),
        ({"embed_dim": 20}, "2 heads of a multiple of 6 channels"),
        ({"emb_dim": 20}, "Did you mean embed_dim"),
    ],
)
def test_what_does_not_fit(changes, message):
    with pytest.raises(BadConfiguration) as refused:
        architecture.build(plans("Primus", **changes), 1, 2, False)
    assert re.search(message, f"{refused.value.message} {refused.value.hint}")


def test_more_than_one_output_is_refused():
    with pytest.raises(BadConfiguration, match="deepSupervision: PrimusV2 has one output"):
        architecture.build(plans("PrimusV2"), 1, 2, True)


def test_the_width_of_a_patch_of_tokens_is_needed():
    content = plans("Primus")
    del content["arch_kwargs"]["embed_dim"]
    with pytest.raises(BadConfiguration, match="embed_dim is missing"):
        architecture.build(content, 1, 2, False)
    with pytest.raises(BadConfiguration, match="halves the resolution three times"):
        architecture.build(plans("PrimusV2", patch_embed_size=[4, 8, 8]), 1, 2, False)
