"""`nnunet-trainer evaluate GT PRED`: Dice of every label, per case and in the mean."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_trainer.contract.command_line import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("ground_truth", type=Path, metavar="GT", help="folder of reference segmentations")
    parser.add_argument("predictions", type=Path, metavar="PRED", help="folder of predictions, by the same file names")
    parser.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="default: dataset.json in PRED, GT or the folder above GT"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: PRED/summary.json")
    parser.add_argument("--partial", action="store_true", help="not every reference needs a prediction")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Compare, write summary.json, print the means."""
    from nnunet_trainer.contract.faults import BadUsage
    from nnunet_trainer.dataset.description import check, read_json
    from nnunet_trainer.dataset.labels import LabelManager
    from nnunet_trainer.dataset.readers import choose

    from .summary import files_of, summary, write_summary

    truth, predictions = arguments.ground_truth, arguments.predictions
    places = (
        [arguments.dataset_json] if arguments.dataset_json else [f / "dataset.json" for f in (predictions, truth, truth.parent)]
    )
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        looked = ", ".join(str(place) for place in places)
        raise BadUsage("NoDatasetJson", f"There is no dataset.json; looked for {looked}.", hint="Name it by --dataset-json.")
    dataset_json = read_json(file)
    check(dataset_json, file)
    labels, ending = LabelManager(dataset_json), str(dataset_json["file_ending"])
    reader = choose(dataset_json, next(iter(files_of(truth, ending)), None))
    result = summary(
        truth,
        predictions,
        labels_or_regions=labels.foreground_classes,
        file_ending=ending,
        read=lambda path: reader.read_seg(path)[0].astype("int32"),
        ignore_label=labels.ignore_label,
        require_all=not arguments.partial,
        workers=arguments.workers,
    )
    output = arguments.output or predictions / "summary.json"
    write_summary(result, output)
    names = dict(zip(labels.foreground_classes, _names(labels), strict=True))
    width = max(len(name) for name in [*names.values(), "foreground"])
    for label, values in result["mean"].items():
        print(f"{names[label]:<{width}}  Dice {values['Dice']:.4f}  IoU {values['IoU']:.4f}")
    values = result["foreground_mean"]
    print(f"{'foreground':<{width}}  Dice {values['Dice']:.4f}  IoU {values['IoU']:.4f}")
    print(f"{counted(len(result['metric_per_case']), 'case')}: {output}")
    return 0


def _names(labels: object) -> list[str]:
    """Names of the foreground classes, in their order."""
    names: list[str] = list(labels.head_names)  # type: ignore[attr-defined]
    return names if labels.has_regions else names[len(names) - len(labels.foreground_labels) :]  # type: ignore[attr-defined]
