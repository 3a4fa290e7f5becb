"""What an architecture is, and how one is found by its name or by its network's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions import Component, Registry


class PlannedConfiguration(Protocol):
    """What `describe` is given of a configuration (`planners.facts.ConfigurationFacts`)."""

    @property
    def two(self) -> bool:
        """Whether it is of slices."""

    def features(self, stages: int) -> list[int]:
        """Channels of each stage, as the planner wants them."""

    def convolutions(self, stages: int) -> tuple[list[int], list[int]]:
        """Convolutions or blocks of each encoder stage, and of each decoder stage, the deepest first."""


class StageShapes(Protocol):
    """What `describe` is given of a topology (`planners.topology.Topology`)."""

    @property
    def strides(self) -> list[list[int]]:
        """Of each stage, the first all 1."""

    @property
    def kernel_sizes(self) -> list[list[int]]:
        """Of each stage."""

    @property
    def patch_size(self) -> list[int]:
        """Voxels along (z,) y, x; every stride divides it."""

    @property
    def stages(self) -> int:
        """Resolutions, the input's own included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What fills a GPU of `gb` gigabytes, for each patch of the batch, in the unit of an architecture's `estimate`."""

    three: float
    two: float
    gb: float = 8
    batch_three: int = 2
    batch_two: int = 12

    def gigabytes(self, estimate: float, batch: int, dimensions: int) -> float:
        """By the rule of three, for a batch of patches whose estimate this is."""
        of, count = (self.two, self.batch_two) if dimensions == 2 else (self.three, self.batch_three)
        return self.gb * estimate * batch / (of * count)


class Architecture:
    """A family of networks. One's own derives from this, and registers its `network` beside it.

    Keyword-only arguments of its constructor are its parameters, each with a default: `architecture: {name: …, width: 16}`.

    Attributes:
        network: the name of the registered network that its plans name.
        reference: what planners fill; `nnunet-trainer calibrate` measures it.
    """

    network: str
    reference: Reference

    def describe(self, configuration: PlannedConfiguration, topology: StageShapes) -> dict[str, Any]:
        """The `architecture` of plans: `network_class_name` and `arch_kwargs`.

        Args:
            configuration: what is planned; `features(stages)` and `convolutions(stages)` are what its planner wants.
            topology: strides and kernels of each stage, and the patch.
        """
        raise NotImplementedError

    def estimate(self, patch: Sequence[float], arch_kwargs: Mapping[str, Any], channels: int, outputs: int) -> float:
        """What the training takes for each patch of the batch, in a unit of its own; without torch.

        Args:
            patch: voxels along (z,) y, x.
            arch_kwargs: as `describe` gives them.
            channels: of the image.
            outputs: segmentation heads.
        """
        raise NotImplementedError

    def output_strides(self, arch_kwargs: Mapping[str, Any]) -> list[Any] | None:
        """The stride from the output before to each output of deep supervision, the finest first; None: there is one output.

        By default those of the stages in `strides` but the last, as nnU-Net's U-Nets have them.
        """
        strides = arch_kwargs.get("strides")
        return list(strides)[:-1] if strides else None


class ArchitectureRegistry(Registry[Callable[..., Architecture]]):
    """Classes derived from `Architecture`, by name."""

    def _checked(self, component: Component[Callable[..., Architecture]]) -> Component[Callable[..., Architecture]]:
        name, made = component.name, component.make
        expected = None
        if not inspect.isclass(made) or not issubclass(made, Architecture):
            expected = "a class derived from Architecture (nnunet_trainer.planning.architectures)"
        elif not isinstance(getattr(made, "network", None), str):
            expected = "an attribute `network`, the name of its registered network"
        elif not isinstance(getattr(made, "reference", None), Reference):
            expected = "an attribute `reference`, a Reference(three=…, two=…, gb=…) (nnunet_trainer.planning.architectures)"
        elif any(parameter.default is inspect.Parameter.empty for parameter in component.parameters.values()):
            expected = "a default for each parameter of its constructor"
        if expected is not None:
            raise BadConfiguration(
                "InvalidArchitecture", f"The architecture {name} ({component.place}) lacks {expected}.", hint="Mend the plug-in."
            )
        return component


ARCHITECTURES = ArchitectureRegistry("architecture")


def class_name(architecture: Mapping[str, Any]) -> str:
    """The network of a plans' `architecture`, without its package."""
    return str(architecture["network_class_name"]).rpartition(".")[2]


def output_strides(architecture: Mapping[str, Any]) -> list[Any] | None:
    """The strides of the outputs of a plans' network, as its architecture says; None: it has one output."""
    return (of_network(class_name(architecture)) or Architecture()).output_strides(architecture["arch_kwargs"])


def estimate_of(
    architecture: Architecture, patch: Sequence[float], arch_kwargs: Mapping[str, Any], channels: int, outputs: int
) -> float:
    """An architecture's estimate.

    Raises:
        BadConfiguration: it is no finite number, or a negative one; with what it is, and for which patch.
    """
    found = architecture.estimate(patch, arch_kwargs, channels, outputs)
    if isinstance(found, Real) and not isinstance(found, bool) and math.isfinite(found) and found >= 0:
        return found if isinstance(found, int | float) else float(found)
    size = "×".join(f"{n:g}" for n in patch)
    place = next(
        (ARCHITECTURES[name].place for name in ARCHITECTURES if ARCHITECTURES[name].make is type(architecture)), "no plug-in"
    )
    raise BadConfiguration(
        "InvalidArchitecture",
        f"The memory estimate of the architecture of {architecture.network} ({place}) is {found!r} for a patch of {size} voxels; "
        "a finite number that is not negative was expected.",
        hint="Mend the plug-in.",
    )


def of_network(name: str) -> Architecture | None:
    """The architecture of a network: that of the same name, else the first that has this network; None where there is none."""
    for each in (name, *ARCHITECTURES) if name in ARCHITECTURES else ARCHITECTURES:
        if ARCHITECTURES[each].make.network == name:  # type: ignore[attr-defined]
            return ARCHITECTURES[each].make()
    return None
