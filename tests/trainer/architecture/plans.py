"""Small architectures as plans hold them."""

from support.trainings.plans import unet


def plain(dimension, *, anisotropic=False, **changes):
    """A PlainConvUNet of three stages."""
    axes = {"kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]} if anisotropic else {}
    architecture = unet(dimension, [4, 8, 12], blocks=[2, 2, 2], decoder=[2, 2], **axes)
    architecture["arch_kwargs"].update(changes)
    return architecture


def residual(dimension, **changes):
    """A ResidualEncoderUNet of three stages, the second of which keeps its channels in its second block."""
    architecture = unet(dimension, [4, 8, 12], blocks=[1, 2, 2], decoder=[1, 1], residual=True)
    architecture["arch_kwargs"].update(changes)
    return architecture
