"""Whether a plug-in's network answers what the training needs, and takes what its architecture says: before the first epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_trainer.architecture import NETWORKS, build, differing_weights
from nnunet_trainer.architecture.memory_format import channels_last_format
from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.extensions.calls import guarded
from nnunet_trainer.planning.architectures import class_name

from ..calibration.measuring import peak_of
from ..data.batch import rank_slots
from ..session.optimization.criterion import output_scales
from ..session.session import Session

LEAST_GB = 0.05
"""Below this nothing is said: estimates are rounded to 0.01."""
FAR = 3
"""So many times more or less than estimated is said: the estimate is a rule of three."""


def check_network(session: Session) -> list[str]:
    """Run one batch of noise through a plug-in's network, forward and backward; nothing of the session is changed by it.

    Returns:
        Warnings: an estimate that is far from what was measured.

    Raises:
        BadConfiguration: outputs of another number or shape, or that are no numbers.
    """
    component = NETWORKS[class_name(session.configuration.architecture)]
    if component.plugin is None:
        return []
    configuration, ranks = session.configuration, session.ranks
    network, device = session.network, ranks.device
    share = max(1, len(rank_slots(configuration.batch_size, ranks.rank, ranks.world_size)))
    shape = (share, configuration.num_input_channels(session.setup.dataset_json), *configuration.patch_size)
    network.eval()  # its running statistics stay as they are
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        noise = torch.randn(shape).to(device).contiguous(memory_format=channels_last_format(configuration.dimensions))
        with torch.no_grad(), session.precision.autocast():
            what = f"The network {component.name} ({component.place}), with a batch of {_text(shape)},"
            problem = _problem(guarded(what, network, noise), session, share)
        if problem is None and output_scales(configuration, session.recipe):
            _check_prediction(session, noise[:1], component.name, component.place)
        if problem is None:
            peak = peak_of(lambda: _step(session, noise), device, network.state_dict(keep_vars=True).values())
    network.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if problem is not None:
        found, expected = problem
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"The network {component.name} ({component.place}) answers {found} to a batch of {_text(shape)}; {expected} expected.",
            hint="Mend the plug-in, or its architecture's output_strides.",
        )
    return _far(session, component.name, share, peak)


def _check_prediction(session: Session, noise: Tensor, name: str, place: str) -> None:
    """That the network can be built without deep supervision, as prediction does, and takes the weights that are trained.

    Raises:
        BadConfiguration: it has other weights then, or answers something else than one output.
    """
    configuration, heads = session.configuration, session.labels.num_segmentation_heads
    single = build(configuration.architecture, noise.shape[1], heads, deep_supervision=False, initialize=False)
    found, expected = "", f"one output: {_text((1, heads, *configuration.patch_size))}"
    if differing := differing_weights(session.network.state_dict(), single):
        shown = "; ".join(differing[:3]) + ("; …" if len(differing) > 3 else "")
        found, expected = f"has {len(differing)} other weights ({shown})", "the same weights"
    else:
        with torch.no_grad(), session.precision.autocast():
            result = guarded(f"The network {name} ({place}) without deep supervision", single.to(noise.device).eval(), noise)
        if not isinstance(result, Tensor):
            found = f"answers {type(result).__name__}"
        elif result.shape != (1, heads, *configuration.patch_size):
            found = f"answers {_text(result.shape)}"
    if found:
        raise BadConfiguration(
            "NetworkDoesNotFit",
            f"The network {name} ({place}) {found} when it is built with deep_supervision=False, as for prediction; "
            f"expected was {expected}.",
            hint="Mend the plug-in: deep_supervision decides what forward answers, not which layers there are.",
        )


def _problem(result: object, session: Session, share: int) -> tuple[str, str] | None:
    """What was answered and what was expected, if they differ."""
    scales = output_scales(session.configuration, session.recipe)
    patch, heads = session.configuration.patch_size, session.labels.num_segmentation_heads
    sizes = [[round(n * f) for n, f in zip(patch, scale, strict=True)] for scale in scales or [[1.0] * len(patch)]]
    wanted = [(share, heads, *size) for size in sizes]
    supervised = f"{len(wanted)} outputs (deep supervision), the finest first: " if scales else "one output: "
    expected = f"{supervised}{', '.join(map(_text, wanted))} {'were' if scales else 'was'}"
    outputs = list(result) if isinstance(result, list | tuple) else [result]
    if not all(isinstance(output, Tensor) for output in outputs):
        return f"{type(outputs[0]).__name__}", expected
    found = [tuple(output.shape) for output in outputs if isinstance(output, Tensor)]
    if found != wanted:
        return f"{len(found)} {'output' if len(found) == 1 else 'outputs'}: {', '.join(map(_text, found))}", expected
    for place, output in enumerate(outputs):
        if isinstance(output, Tensor) and not output.isfinite().all():
            count = int((~output.isfinite()).sum())
            return f"{count} of {output.numel()} values of output {place} that are NaN or infinite", "finite logits were"
    return None


def _step(session: Session, noise: Tensor) -> None:
    with session.precision.autocast():
        result = session.network(noise)
        outputs = result if isinstance(result, list | tuple) else [result]
        loss = torch.stack([output.float().mean() for output in outputs]).sum()
    loss.backward()


def _far(session: Session, name: str, share: int, peak: int) -> list[str]:
    configuration = session.configuration
    whole = configuration.estimated_gpu_memory_gb
    if whole is None:
        return [
            f"The network {name} takes {peak / 1e9:.3g} GB; no architecture estimates it (kind architecture, docs/extending.md)."
        ]
    # Estimates are of half precision.
    estimate = whole * share / configuration.batch_size * (2 if session.precision.name == "fp32" else 1)
    if max(estimate, peak / 1e9) < LEAST_GB or (estimate > 0 and 1 / FAR <= peak / 1e9 / estimate <= FAR):
        return []
    ratio = math.inf if estimate == 0 else peak / 1e9 / estimate
    times = f"{ratio:.3g} times as much" if ratio > 1 else f"a {1 / ratio:.3g}th of it"
    return [
        f"The memory estimate of {name} is far off: {estimate:.3g} GB for {share} patches of {_text(configuration.patch_size)} "
        f"({session.precision.name}), measured were {peak / 1e9:.3g} GB, {times}. Calibrate its planner (planner.calibrate)."
    ]


def _text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
