"""What comes before the first epoch: the weights that it begins with, and what is tried on a GPU: memory layout, convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.checkpoints.network import weights_digest
from nnunet_trainer.contract import pod

from .. import pretrained
from ..data.batch import rank_slots
from ..ranks import devices, distributed
from ..ranks.agreement import require_same
from ..recipes.warnings import warnings_of
from ..reporting.reporter import Reporter
from ..session.network import memory_layout_trial
from ..session.network.convolution_check import check_convolutions
from ..session.session import Session
from ..state import continuation, resuming


def begin(session: Session, reporter: Reporter) -> None:
    """Go on from the newest whole checkpoint, or load pretrained weights, or begin with initial ones."""
    setup = session.setup
    told = devices.said(session.ranks.device, setup.device, setup.device_reason)
    (reporter.warn if pod.ENV_DEVICE in told else reporter.line)(told)
    paths = [*(checkpoint.candidates(setup.fold_folder) if setup.resume else ()), *setup.resume_from]
    # One rank chooses for all: on another node a file may be missing, or a newer one have come.
    newest, problems = distributed.done_by_first(lambda: checkpoint.newest(paths, allow_pickle=setup.allow_pickle), (None, []))
    described, problems = distributed.from_first((newest and newest.described(), problems))
    for problem in problems:
        reporter.warn(problem)
    extra: dict[str, Any] = {}
    if described is not None:
        found = newest or described
        extra = found.content.get(checkpoint.EXTRA) or {}
        resuming.restore(session, found)
        reporter.line(f"Continuing from {found.path.name}: epoch {session.epoch}, iteration {session.iteration}.")
    elif setup.continues is not None:
        continuation.begin(session, setup.continues)
    elif setup.pretrained is not None:
        session.pretrained = pretrained.load(
            session.network,
            setup.pretrained,
            policies=setup.pretrained_policies,
            labels=session.labels,
            architecture=session.configuration.architecture,
            allow_pickle=setup.allow_pickle,
            source=setup.pretrained_source,
        )
        for line in session.pretrained.lines():
            reporter.line(line)
    if setup.continues is not None:
        session.continued = continuation.describe(session, setup.continues)
        reporter.line(f"This training {session.continued}.")
    try_gpu(session, extra, reporter.line)
    require_same(lambda: {"weights": weights_digest([session.network])})
    session.freeze()
    for warning in warnings_of(session.recipe):
        reporter.warn(warning)
    session.ranks.peers.on_stall(reporter.stalled)
    reporter.progress("training", force=True)


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
        layout = memory_layout_trial.chosen(
            session.network,
            (len(slots), channels, *configuration.patch_size),
            session.precision,
            device,
            saved=extra.get("memory_layout"),
            fixed=session.setup.deterministic,
            compiles=session.runner is not session.network,
            steps=session.recipe.epochs * session.recipe.iterations_per_epoch,
        )
    session.lay_out(distributed.from_first(layout))
    for line in session.layout.said():
        log(line)
    order = session.layout.format(configuration.dimensions)
    count = check_convolutions(session.network, configuration.patch_size, session.precision.name, device, order)
    log(f"Convolutions in {session.precision.name} agree with the CPU's in fp32 ({count} of the network's were tried).")
