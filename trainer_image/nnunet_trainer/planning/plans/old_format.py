"""Plans as nnU-Net wrote them before it described networks by class and arguments."""

from __future__ import annotations

from typing import Any

from nnunet_trainer.contract.faults import BadConfiguration

from ..architectures.unet import NETWORK_CLASSES, arguments

REPLACED = (
    "UNet_class_name",
    "UNet_base_num_features",
    "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder",
    "num_pool_per_axis",
    "pool_op_kernel_sizes",
    "conv_kernel_sizes",
    "unet_max_num_features",
)


def modernize(configuration: dict[str, Any]) -> None:
    """Give a configuration of the old format its `architecture`, in place; leave any other alone.

    Raises:
        BadConfiguration: an old network that nnU-Net itself never wrote, or a field that is missing.
    """
    if "architecture" in configuration or "UNet_class_name" not in configuration:
        return
    name = configuration["UNet_class_name"]
    if name not in NETWORK_CLASSES:
        raise BadConfiguration("InvalidPlans", f"Old plans with the network {name!r}; known: {', '.join(NETWORK_CLASSES)}.")
    missing = [field for field in (*REPLACED, "patch_size") if field not in configuration and field != "num_pool_per_axis"]
    if missing:
        raise BadConfiguration("InvalidPlans", f"Old plans: field {missing[0]} is missing.")
    stages = len(configuration["n_conv_per_stage_encoder"])
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    blocks = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    configuration["architecture"] = {
        "network_class_name": NETWORK_CLASSES[name],
        "arch_kwargs": arguments(
            dimensions=len(configuration["patch_size"]),
            features=[min(base * 2**i, most) for i in range(stages)],
            kernel_sizes=configuration["conv_kernel_sizes"],
            strides=configuration["pool_op_kernel_sizes"],
            blocks={blocks: configuration["n_conv_per_stage_encoder"]},
            decoder=configuration["n_conv_per_stage_decoder"],
        ),
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    for field in REPLACED:
        configuration.pop(field, None)
