"""What is tried on a GPU before a training begins on it: which memory layout is faster, and whether its convolutions are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..data.batch import rank_slots
from ..ranks import distributed
from ..session import memory_layout
from ..session.convolution_check import check_convolutions
from ..session.session import Session


def try_gpu(session: Session, extra: Mapping[str, Any], log: Callable[[str], None]) -> None:
    """Choose the memory layout, on the first rank for all, then check convolutions in it on each. On a CPU neither is done.

    Args:
        session: whose network has its first weights, or a checkpoint's.
        extra: what that checkpoint holds besides nnU-Net's; empty where there is none.
        log: hears what was found.

    Raises:
        BadConfiguration: convolutions are wrong.
    """
    device, configuration = session.ranks.device, session.configuration
    if device.type != "cuda":
        return
    layout = session.layout
    if session.ranks.first:
        slots = rank_slots(configuration.batch_size, 0, session.ranks.world_size)
        channels = configuration.num_input_channels(session.setup.dataset_json)
        layout = memory_layout.chosen(
            session.network,
            (len(slots), channels, *configuration.patch_size),
            session.precision,
            device,
            saved=extra.get("memory_layout"),
            fixed=session.setup.deterministic,
        )
    session.lay_out(distributed.from_first(layout))
    log(session.layout.said())
    order = session.layout.format(configuration.dimensions)
    count = check_convolutions(session.network, configuration.patch_size, session.precision.name, device, order)
    log(f"Convolutions in {session.precision.name} agree with the CPU's in fp32 ({count} of the network's were tried).")
