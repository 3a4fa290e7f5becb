"""A session that goes on from a checkpoint: what must be the same, and what is taken over."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.checkpoints.network import of_checkpoint
from nnunet_trainer.contract.comparison import differences
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.extensions import provenance
from nnunet_trainer.planning.plans import Plans

from ..components import lookup
from ..pretrained import LoadReport
from ..ranks import distributed
from ..ranks.distributed import Ranks
from ..recipes import recipe as recipes
from ..session.history import History
from ..session.optimization import optimizers
from ..session.session import Session

_DECISIVE = ("architecture", "patch_size", "spacing", "normalization_schemes", "previous_stage")


def restore(session: Session, found: checkpoint.Found) -> None:
    """Go on from a checkpoint, ours or nnU-Net's. Every rank calls this.

    Args:
        session: to go on.
        found: on the first rank the whole checkpoint; on others `described`, they get the tensors from the first one.

    Raises:
        BadConfiguration: it belongs to other plans, labels or another recipe; the findings name what differs.
    """
    saved = found.content
    extra: dict[str, Any] = saved.get(checkpoint.EXTRA) or {}

    def load() -> None:
        _check_same(session, found, extra)
        _load_tensors(session, found)

    distributed.done_by_first(load, None)
    distributed.broadcast(session.network.state_dict(keep_vars=False).values())
    share_optimizer_state(session.optimizer, session.ranks)
    if session.precision.scaler is not None and saved.get("grad_scaler_state"):
        session.precision.scaler.load_state_dict(saved["grad_scaler_state"])
    session.epoch, session.iteration = found.position
    session.losses, session.loss_shares = _losses(extra, session.iteration), []
    if extra.get("pretrained"):
        session.pretrained = LoadReport(**extra["pretrained"])
    session.history = History(saved.get("logging"), session.epoch)
    best = saved.get("_best_ema")
    session.best_ema = None if best is None else float(best)
    session.resumed_from = session.epoch


def _losses(extra: dict[str, Any], iterations: int) -> list[float]:
    """Of the unfinished epoch's iterations; of an older version's checkpoint only their sum is known."""
    if "losses" in extra:
        return [float(loss) for loss in extra["losses"]]
    return [float(extra.get("loss_sum", 0.0)) / iterations] * iterations if iterations else []


def _load_tensors(session: Session, found: checkpoint.Found) -> None:
    saved = found.content
    weights = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in saved["network_weights"].items()}
    try:
        session.network.load_state_dict(weights)
        optimizers.load(session.optimizer, saved["optimizer_state"])
    except (RuntimeError, ValueError) as error:
        raise BadConfiguration(
            "CheckpointMismatch", f"{found.path} is of another network or optimizer: {str(error).splitlines()[0]}"
        ) from error


def share_optimizer_state(optimizer: torch.optim.Optimizer, ranks: Ranks) -> None:
    """Give every rank the first one's state, tensor by tensor: none is pickled, or held twice."""
    if ranks.world_size == 1:
        return
    own = optimizer.state_dict()
    plain = tree_map(lambda value: _Shape.of(value) if isinstance(value, torch.Tensor) else value, own) if ranks.first else None
    shapes = distributed.from_first(plain)
    state = (
        own if ranks.first else tree_map(lambda value: value.empty(ranks.device) if isinstance(value, _Shape) else value, shapes)
    )
    tensors = [value for value in tree_leaves(state) if isinstance(value, torch.Tensor)]
    distributed.broadcast(tensors)
    if not ranks.first:
        optimizer.load_state_dict(state)


@dataclass(frozen=True, slots=True)
class _Shape:
    size: tuple[int, ...]
    stride: tuple[int, ...]
    """Memory is sent as it lies, and it may lie channels last."""
    dtype: torch.dtype
    on_cpu: bool
    """Step counters stay there."""

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Shape:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device.type == "cpu")

    def empty(self, device: torch.device) -> torch.Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="cpu" if self.on_cpu else device)


def _check_same(session: Session, found: checkpoint.Found, extra: dict[str, Any]) -> None:
    provenance.require(extra.get("plugins"), lookup.KINDS, str(found.path))
    arguments = found.content.get("init_args") or {}
    other = []
    if "plans" in arguments and "configuration" in arguments:
        trained = Plans(arguments["plans"]).configuration(arguments["configuration"])
        built = of_checkpoint(found.content, trained.architecture, trained.patch_size)
        theirs = {**trained.content, "architecture": built}
        ours = session.configuration.content
        for key in _DECISIVE:
            other += differences(key, theirs.get(key), ours.get(key))
    if "dataset_json" in arguments:
        other += differences("labels", arguments["dataset_json"].get("labels"), session.setup.dataset_json.get("labels"))
    continues = session.setup.continues
    is_source = continues is not None and found.path == continues.checkpoint
    changes = _recipe_changes(session, extra)
    if not is_source:
        changes += differences("continues", extra.get("continues"), continues.about() if continues else None)
    if changes:
        under_its_name = "" if is_source else f" under the same trainer name {session.setup.trainer!r}"
        raise BadConfiguration(
            "RecipeChanged",
            f"{found.path} was trained with another recipe{under_its_name}" + (", of another network or plans." if other else "."),
            findings=[*changes, *other][:20],
            hint="Give the changed recipe another name, and start from these weights with --pretrained.",
        )
    if other:
        raise BadConfiguration(
            "CheckpointOfOtherPlans",
            f"{found.path} was trained with other plans or labels.",
            findings=other[:20],
            hint="Continue with its own plans, or use it as pretrained weights (--pretrained) in another folder.",
        )
    if "seed" in extra and extra["seed"] != session.setup.seed and not is_source:
        session.warnings.append(f"The checkpoint's seed is {extra['seed']}, this training's {session.setup.seed}.")


def _recipe_changes(session: Session, extra: dict[str, Any]) -> list[str]:
    """What differs from the checkpoint's recipe, but for the number of epochs; nothing for nnU-Net's own checkpoints."""
    if not extra.get("recipe"):
        return []
    theirs, ours = extra["recipe"], recipes.write(session.recipe)
    # A checkpoint of an older version has no value for what it did not know of: the default then.
    with suppress(BadConfiguration):
        theirs = recipes.write(recipes.read(theirs))
    return differences("recipe", theirs | {"epochs": ours["epochs"]}, ours)


def refuse_overwriting(session: Session) -> None:
    """Raise when the fold's folder has checkpoints and nobody said to go on from them, or one of them is what it is to continue."""
    continues, folder = session.setup.continues, session.setup.fold_folder.resolve()
    if continues is not None and continues.checkpoint.resolve().parent == folder:
        raise BadUsage(
            "ContinuesItself",
            f"{continues.checkpoint} is this training's own: the epochs that follow would be written over what they continue.",
            hint="Give the training that goes on another trainer name (--trainer), or another folder (-o).",
        )
    there = [path.name for path in checkpoint.candidates(session.setup.fold_folder) if path.exists()]
    if there and not session.setup.resume:
        raise BadUsage(
            "ResultsExist",
            f"{session.setup.fold_folder} has {', '.join(there)} already.",
            hint="Say --continue to go on from there, or choose another folder with -o.",
        )
