"""`nnunet-trainer train`: train one fold by hand."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_trainer import nnunet_folders
from nnunet_trainer.contract.work_order import CheckpointPolicy, PretrainedPolicies
from nnunet_trainer.extensions import command_line

if TYPE_CHECKING:
    from nnunet_trainer.planning.plans import Plans


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    data = parser.add_argument_group("what to train on")
    data.add_argument("--preprocessed", type=Path, metavar="DIR", help="nnUNet_preprocessed/DatasetXXX_Name")
    nnunet_folders.add_option(data, "--preprocessed and -o")
    data.add_argument(
        *("--plans-name", "-p"), default="nnUNetPlans", metavar="N", help="PREPROCESSED/N.json is read; default: %(default)s"
    )
    data.add_argument("--configuration", "-c", required=True, metavar="C", help="2d, 3d_fullres …")
    data.add_argument("--fold", "-f", required=True, metavar="K", help="0, 1 … or all")
    data.add_argument(
        "--previous-stage",
        type=Path,
        metavar="DIR",
        help="cascade: the previous stage's model folder, or its predictions; default: the same trainer's in RESULTS",
    )
    data.add_argument("-o", "--output", type=Path, metavar="RESULTS", help="nnUNet_results; folders are nnU-Net's")
    how = parser.add_argument_group("how to train")
    how.add_argument("--trainer", "-tr", metavar="T", help="a preset, or the new name of a recipe; default: nnUNetTrainer")
    how.add_argument("--recipe", type=Path, metavar="R.yaml", help="what is changed of a trainer; `base:` says of which")
    how.add_argument("--epochs", type=int, metavar="E", help="without a recipe the trainer's name becomes T_Eepochs")
    how.add_argument("--seed", type=int, default=12345, help="of everything random; default: %(default)s")
    how.add_argument(
        "--deterministic", action="store_true", help="only deterministic kernels (slower); those that torch lacks are named"
    )
    start = parser.add_argument_group("what to start from")
    start.add_argument(
        *("--pretrained", "-pretrained_weights"),
        metavar="CKPT",
        help="these weights, all but the segmentation layers: a checkpoint file, ours or nnU-Net's, a fold's folder, or s3://…",
    )
    start.add_argument(
        "--pretrained-input-channels",
        choices=["Match", "Repeat", "Average", "Reinitialize"],
        help="the first convolution of another number of input channels: an error, or how it is adapted; default: Match",
    )
    start.add_argument(
        "--pretrained-heads",
        choices=["Reinitialize", "MatchByLabel"],
        help="segmentation layers begin anew, or go on for labels of the same name; default: Reinitialize",
    )
    start.add_argument(
        "--pretrained-mismatched",
        choices=["Fail", "Skip"],
        help="any other tensor that does not fit: an error, or it begins anew and is named; default: Fail",
    )
    start.add_argument(
        "--continue-from",
        metavar="CKPT",
        help="go on from this finished training, of the same plans and recipe: its checkpoint_final.pth, ours or nnU-Net's, its "
        "fold's folder, or s3://…; into another RESULTS or trainer name",
    )
    start.add_argument("--additional-epochs", type=int, metavar="N", help="with --continue-from: so many more than it has")
    start.add_argument(
        "--continue-schedule",
        choices=["Stretch", "Restart"],
        help="with --continue-from: the learning rate goes on as if all epochs had been planned from the start, or begins anew "
        "over the additional ones; both change it at once, and the log says from what to what",
    )
    run = parser.add_argument_group("running")
    run.add_argument("--device", "-device", default="auto", help="auto, cpu, cuda or cuda:N; default: %(default)s")
    run.add_argument("--workers", type=int, metavar="N", help="processes that prepare batches, 0: none; default: by the cores")
    run.add_argument("--profile", action="store_true", help="log after each epoch how long each phase of a step takes")
    run.add_argument("--continue", dest="resume", action="store_true", help="go on from the newest whole checkpoint in RESULTS")
    run.add_argument("--save-every", type=int, default=1, metavar="E", help="epochs between checkpoints; default: %(default)s")
    run.add_argument("--allow-pickle", action="store_true", help="execute what a checkpoint contains: only for files you trust")
    run.add_argument(
        "--validation",
        action=argparse.BooleanOptionalAction,
        help="predict the validation cases at the end; default: unless the fold is all",
    )
    run.add_argument(
        "--save-probabilities",
        action="store_true",
        help="of the validation cases too, for nnUNetv2_find_best_configuration (nnU-Net's --npz)",
    )
    command_line.add_option(run)


def run(arguments: argparse.Namespace) -> int:
    """Train, telling how far it is; SIGTERM and Ctrl-C save a checkpoint first."""
    folder, results, plans = _inputs(arguments)
    from nnunet_trainer.dataset.description import read_json

    from .loop.fold_training import train
    from .loop.stopping import on_signals
    from .reporting.terminal import display
    from .session.setup import ContinuedTraining, TrainingSetup
    from .state import continuation

    policies = _policies(arguments)
    name, recipe = _trainer(arguments)
    _check_continuation(arguments)
    with (
        on_signals() as stop,
        display() as shown,
        _weights(arguments.pretrained) as weights,
        _weights(arguments.continue_from) as finished,
    ):
        continued = None
        if finished is not None:
            continued = ContinuedTraining(
                checkpoint=finished,
                epochs=continuation.finished_epochs(finished, allow_pickle=arguments.allow_pickle),
                additional_epochs=arguments.additional_epochs,
                schedule=arguments.continue_schedule,
                source=arguments.continue_from,
            )
            recipe = continuation.extended(recipe, continued)
        result = train(
            TrainingSetup(
                preprocessed=folder,
                results=results,
                plans=plans.content,
                dataset_json=read_json(folder / "dataset.json"),
                configuration=arguments.configuration,
                fold=arguments.fold,
                trainer=name,
                recipe=recipe,
                seed=arguments.seed,
                device=arguments.device,
                workers=None if arguments.workers is None else _at_least(0, "--workers", arguments.workers),
                checkpoint=CheckpointPolicy(every_epochs=_at_least(1, "--save-every", arguments.save_every)),
                resume=arguments.resume,
                continues=continued,
                pretrained=weights,
                pretrained_source=arguments.pretrained,
                pretrained_policies=policies,
                previous_stage=arguments.previous_stage,
                allow_pickle=arguments.allow_pickle,
                deterministic=arguments.deterministic,
                profile=arguments.profile,
                validation=arguments.validation,
                save_probabilities=arguments.save_probabilities,
                listener=shown.listener,
                log=shown.log,
                on_step=shown.on_step,
                stop=stop,
            )
        )
    if result.found:
        print(f"The training was finished already ({result.epochs} epochs).")
    dice = "" if result.validation_dice is None else f", validation Dice {result.validation_dice:.4f}"
    print(f"{result.folder}{dice}")
    return 0


def _inputs(arguments: argparse.Namespace) -> tuple[Path, Path, Plans]:
    """`nnUNet_preprocessed/Dataset…`, nnUNet_results and the plans, by paths or by -d."""
    from nnunet_trainer.planning.plans import Plans

    needs, paths = [nnunet_folders.PREPROCESSED, nnunet_folders.RESULTS], {"preprocessed": "--preprocessed", "output": "-o"}
    dataset = nnunet_folders.chosen(arguments, needs=needs, paths=paths)
    if dataset is None:
        folder: Path = arguments.preprocessed
        return folder, arguments.output, Plans.load(folder / f"{arguments.plans_name}.json")
    plans = Plans.load(dataset.existing_plans(arguments.plans_name))
    identifier = plans.configuration(arguments.configuration).data_identifier
    dataset.existing_data(identifier, arguments.configuration, arguments.plans_name)
    return dataset.preprocessed, dataset.results, plans


def _check_continuation(arguments: argparse.Namespace) -> None:
    """All of --continue-from, --additional-epochs and --continue-schedule, or none; not with --pretrained."""
    from nnunet_trainer.contract.faults import BadUsage

    options = ("--continue-from", "--additional-epochs", "--continue-schedule")
    given = [option for option in options if getattr(arguments, option[2:].replace("-", "_")) is not None]
    if not given:
        return
    if missing := [option for option in options if option not in given]:
        hint = "The learning rate changes where the training goes on: say how." if missing == [options[2]] else ""
        raise BadUsage("InvalidArgument", f"{', '.join(given)} needs {' and '.join(missing)}.", hint=hint)
    if arguments.pretrained is not None:
        raise BadUsage(
            "InvalidArgument", "--pretrained and --continue-from exclude each other: both say what the weights begin as."
        )
    _at_least(1, "--additional-epochs", arguments.additional_epochs)


def _policies(arguments: argparse.Namespace) -> PretrainedPolicies:
    """What becomes of pretrained weights that do not fit as they are."""
    from nnunet_trainer.contract.faults import BadUsage

    names = ("input_channels", "heads", "mismatched")
    asked = {name: value for name in names if (value := getattr(arguments, f"pretrained_{name}")) is not None}
    if asked and arguments.pretrained is None:
        options = ", ".join(f"--pretrained-{name.replace('_', '-')}" for name in asked)
        raise BadUsage("InvalidArgument", f"{options} needs --pretrained CKPT: it says what becomes of those weights.")
    return PretrainedPolicies(**asked)


def _weights(where: str | None) -> AbstractContextManager[Path | None]:
    """The pretrained checkpoint as a file of this machine, while it is needed."""
    from .pretrained.source import checkpoint_at

    return nullcontext() if where is None else checkpoint_at(where)


def _trainer(arguments: argparse.Namespace) -> tuple[str, Any]:
    """The trainer's name and recipe from --trainer, --recipe and --epochs."""
    from nnunet_trainer.contract.faults import BadUsage

    from .recipes import presets

    command_line.load(arguments)
    name, base, changes = arguments.trainer, None, {}
    if arguments.recipe is not None:
        name, base, changes = _recipe_file(arguments.recipe, name)
        if name is None:
            raise BadUsage("RecipeWithoutName", "A recipe changes a trainer, so it needs a name of its own: --trainer NAME.")
    if arguments.epochs is not None:
        epochs = _at_least(1, "--epochs", arguments.epochs)
        if changes:
            changes = {**changes, "epochs": epochs}
        else:
            name = f"{name or presets.DEFAULT}_{epochs}epoch{'s' if epochs > 1 else ''}"
    name = name or presets.DEFAULT
    return name, presets.resolve(name, base, changes)


def _recipe_file(path: Path, name: str | None) -> tuple[str | None, str | None, dict[str, Any]]:
    """A recipe alone, or `{name, base, recipe}` as in a TrainingRun's `trainer`."""
    from nnunet_trainer.contract.faults import BadConfiguration
    from nnunet_trainer.contract.yaml_text import reader

    try:
        content = reader.one(path.read_bytes(), str(path))
    except OSError as error:
        raise BadConfiguration("InvalidRecipe", f"{path} cannot be read: {error.strerror}.") from error
    if not isinstance(content, dict):
        found = "nothing" if content is None else repr(content)
        raise BadConfiguration("InvalidRecipe", f"{path}: an object was expected, found {found}.")
    for field in ("name", "base"):
        if not isinstance(content.get(field), str | None):
            found = f"{path}: {field}: a text was expected, found {content[field]!r}."
            raise BadConfiguration("InvalidRecipe", found, hint="Put it into quotes.")
    content = dict(content)
    own, base = content.pop("name", None), content.pop("base", None)
    changes = content.pop("recipe") if set(content) == {"recipe"} else content
    if not isinstance(changes, dict | None):
        raise BadConfiguration("InvalidRecipe", f"{path}: recipe: an object was expected, found {changes!r}.")
    return name or own, base, changes or {}


def _at_least(least: int, option: str, value: int) -> int:
    from nnunet_trainer.contract.faults import BadUsage

    if value < least:
        raise BadUsage("InvalidArgument", f"{option} is {value}; at least {least} was expected.")
    return value
