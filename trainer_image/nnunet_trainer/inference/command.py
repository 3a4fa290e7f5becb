"""`nnunet-trainer predict`: segment images with a trained model, ours or nnU-Net's."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from nnunet_trainer import nnunet_folders
from nnunet_trainer.contract.keys import FINAL_CHECKPOINT
from nnunet_trainer.contract.precision import PRECISIONS
from nnunet_trainer.extensions import command_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--model", type=Path, metavar="DIR", help="a Trainer__Plans__Configuration folder")
    nnunet_folders.add_option(parser, "--model")
    parser.add_argument("-c", "--configuration", metavar="C", help="with -d: of the model")
    parser.add_argument("-p", "--plans-name", metavar="N", help="with -d: the model's plans; default: nnUNetPlans")
    parser.add_argument("-tr", "--trainer", metavar="T", help="with -d: the model's trainer; default: nnUNetTrainer")
    parser.add_argument("-i", "--input", type=Path, required=True, metavar="IN", help="folder of images CASE_0000…")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for the segmentations")
    parser.add_argument(
        *("--previous-stage", "-prev_stage_predictions"),
        type=Path,
        metavar="DIR",
        help="cascade: folder of the previous stage's segmentations of the same images (nnU-Net's -prev_stage_predictions)",
    )
    parser.add_argument(
        *("--folds", "-f"), nargs="+", metavar="K", help="folds to average; default: every numbered fold there is, else all"
    )
    parser.add_argument("--checkpoint", "-chk", default=FINAL_CHECKPOINT, metavar="FILE", help="default: %(default)s")
    parser.add_argument(
        "--no-mirroring", action="store_true", help="do not average mirrored copies: faster, a little less accurate"
    )
    parser.add_argument(
        "--step-size", type=float, default=0.5, metavar="S", help="of the sliding window, in tiles; default: %(default)s"
    )
    parser.add_argument(
        "--tile-batch", type=int, metavar="N", help="tiles and mirrored copies predicted together; default: by device and memory"
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="of the network; default: that which it was trained in, and fp32 on a CPU",
    )
    parser.add_argument("--device", "-device", default="auto", help="auto, cpu, cuda or cuda:N; default: %(default)s")
    parser.add_argument("--save-probabilities", action="store_true", help="write CASE.npz and CASE.pkl too, for nnUNetv2_ensemble")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="execute what the checkpoint contains: only for files you trust"
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--continue", dest="keep", action="store_true", help="keep the predictions that OUT already holds whole")
    existing.add_argument("--overwrite", action="store_true", help="replace the predictions that OUT already holds")
    command_line.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict, one line a case."""
    from nnunet_trainer.contract.faults import BadUsage

    folder = _model(arguments)
    command_line.load(arguments)
    from .model import Model
    from .prediction import predict_folder
    from .tile_progress import TileProgress

    if not 0 < arguments.step_size <= 1:
        raise BadUsage("InvalidStepSize", f"--step-size is {arguments.step_size}; greater than 0 and at most 1 was expected.")
    if arguments.tile_batch is not None and arguments.tile_batch < 1:
        raise BadUsage("InvalidTileBatch", f"--tile-batch is {arguments.tile_batch}; at least 1 was expected.")
    device, said = choose_device(arguments.device)
    model = Model.load(
        folder,
        folds=arguments.folds,
        checkpoint=arguments.checkpoint,
        device=device,
        allow_pickle=arguments.allow_pickle,
    )
    print(said, file=sys.stderr, flush=True)
    if arguments.precision == "fp16" and not device.startswith("cuda"):
        raise BadUsage("InvalidPrecision", "--precision fp16 needs a GPU; fp32 or bf16 was expected on a CPU.")
    window = model.window(
        mirroring=not arguments.no_mirroring,
        step=arguments.step_size,
        batch=arguments.tile_batch,
        precision=arguments.precision,
    )

    def tell(done: int, total: int, case: str) -> None:
        print(f"[{done + 1}/{total}] {case}", file=sys.stderr, flush=True)

    def warn(text: str) -> None:
        print(f"Warning: {text}", file=sys.stderr, flush=True)

    files = predict_folder(
        model,
        arguments.input,
        arguments.output,
        window=window,
        existing="keep" if arguments.keep else "overwrite" if arguments.overwrite else "refuse",
        previous_stage=arguments.previous_stage,
        save_probabilities=arguments.save_probabilities,
        progress=tell,
        on_tiles=TileProgress(lambda line: print(line, file=sys.stderr, flush=True)),
        warn=warn,
    )
    count = f"{len(files)} segmentation{'s' if len(files) != 1 else ''}"
    print(f"{count} by fold {', '.join(model.folds)} in {arguments.output}")
    return 0


def _model(arguments: argparse.Namespace) -> Path:
    """The model's folder, by its path or by -d."""
    from nnunet_trainer.contract.faults import BadUsage

    names = {"configuration": "-c", "plans_name": "-p", "trainer": "-tr"}
    dataset = nnunet_folders.chosen(arguments, needs=[nnunet_folders.RESULTS], paths={"model": "--model"}, names=names)
    if dataset is None:
        folder: Path = arguments.model
        return folder
    if arguments.configuration is None:
        raise BadUsage("MissingArgument", f"-d {arguments.dataset} needs -c C: the configuration of the model.")
    return dataset.existing_model(
        arguments.trainer or "nnUNetTrainer", arguments.plans_name or "nnUNetPlans", arguments.configuration
    )


def choose_device(asked: str) -> tuple[str, str]:
    """Where to predict, and what there is to say of it.

    Args:
        asked: auto (CUDA where there is a GPU), cpu, cuda or cuda:N.

    Raises:
        BadUsage: there is no such device.
    """
    import torch

    from nnunet_trainer.contract.faults import BadUsage

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = ("cuda" if count else "cpu") if asked == "auto" else asked
    found = re.fullmatch(r"cpu|cuda(?::([0-9]{1,4}))?", name)
    if not found:
        raise BadUsage("UnknownDevice", f"--device is {asked!r}; auto, cpu, cuda or cuda:N was expected.")
    if name == "cpu":
        return name, f"Predicting on the CPU: {'torch sees no GPU on this machine' if asked == 'auto' else f'--device {asked}'}."
    if int(found[1] or 0) >= count:
        raise BadUsage("NoGPU", f"--device is {name}, but torch sees {count or 'no'} GPU{'s' if count > 1 else ''}.")
    return name, f"Predicting on {name} ({torch.cuda.get_device_name(name)})."
