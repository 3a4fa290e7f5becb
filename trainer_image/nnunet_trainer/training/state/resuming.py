"""A session that goes on from a checkpoint: what must be the same, and what is taken over."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from nnunet_trainer.checkpoints import checkpoint
from nnunet_trainer.checkpoints.network import of_checkpoint
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.planning.plans import Plans

from ..pretrained import LoadReport
from ..recipes import recipe as recipes
from ..session.history import History
from ..session.session import Session
from .comparison import differences

_DECISIVE = ("architecture", "patch_size", "spacing", "normalization_schemes", "previous_stage")


def restore(session: Session, found: checkpoint.Found) -> None:
    """Go on from a checkpoint, ours or nnU-Net's.

    Raises:
        BadConfiguration: it belongs to other plans, labels or another recipe; the findings name what differs.
    """
    saved = found.content
    extra: dict[str, Any] = saved.get(checkpoint.EXTRA) or {}
    _check_same(session, found, extra)
    weights = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in saved["network_weights"].items()}
    try:
        session.network.load_state_dict(weights)
        session.optimizer.load_state_dict(saved["optimizer_state"])
    except (RuntimeError, ValueError) as error:
        raise BadConfiguration(
            "CheckpointMismatch", f"{found.path} is of another network or optimizer: {str(error).splitlines()[0]}"
        ) from error
    if session.precision.scaler is not None and saved.get("grad_scaler_state"):
        session.precision.scaler.load_state_dict(saved["grad_scaler_state"])
    session.epoch, session.iteration = found.position
    session.loss_sum = float(extra.get("loss_sum", 0.0)) if session.ranks.first else 0.0
    if extra.get("pretrained"):
        session.pretrained = LoadReport(**extra["pretrained"])
    session.history = History(saved.get("logging"), session.epoch)
    best = saved.get("_best_ema")
    session.best_ema = None if best is None else float(best)
    session.resumed_from = session.epoch


def _check_same(session: Session, found: checkpoint.Found, extra: dict[str, Any]) -> None:
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
    changes = _recipe_changes(session, extra)
    if changes:
        raise BadConfiguration(
            "RecipeChanged",
            f"{found.path} was trained with another recipe under the same trainer name {session.setup.trainer!r}"
            + (", of another network or plans." if other else "."),
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
    if "seed" in extra and extra["seed"] != session.setup.seed:
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
    """Raise when the fold's folder has checkpoints and nobody said to go on from them."""
    there = [path.name for path in checkpoint.candidates(session.setup.fold_folder) if path.exists()]
    if there and not session.setup.resume:
        raise BadUsage(
            "ResultsExist",
            f"{session.setup.fold_folder} has {', '.join(there)} already.",
            hint="Say --continue to go on from there, or choose another folder with -o.",
        )
