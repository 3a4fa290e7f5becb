"""Predicting a folder of images with both command lines: CPU seconds and peak memory of all processes.

The same model (random weights: what it says does not matter), the same images, mirroring on. Two rows: a slim network, where
reading, preprocessing, tiling, resampling of the logits, export, processes and imports count; and one of nnU-Net's own width,
where the convolutions do.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from _measure import OURS, ROOT, SHIPPED, compare, cost, report, wheel, wheel_environment

sys.path.insert(0, str(ROOT / "tests"))

from nnunet_trainer.architecture import build
from support.trainings import plans as skeleton

LIMITS = {"cpu": 0.5, "wall": 0.5, "memory": 0.9, "wide_cpu": 0.85, "wide_wall": 0.85}
SLIM, WIDE = [4, 8, 16, 32], [32, 64, 128, 256]


def plans(features: list[int]) -> dict[str, Any]:
    """The default plans' shape, with features for each stage and a spacing that resamples every image."""
    configuration = skeleton.configuration(
        patch_size=[40, 56, 40],
        median_image_size_in_voxels=[36.0, 50.0, 35.0],
        spacing=[0.9, 0.9, 0.9],
        architecture=skeleton.unet(3, features, blocks=[2, 2, 2, 2], decoder=[2, 2, 2]),
    )
    return skeleton.plans(SHIPPED.name, {"3d_fullres": configuration})


def write_model(folder: Path, features: list[int]) -> None:
    """A model folder in nnU-Net's format."""
    (folder / "fold_0").mkdir(parents=True)
    content = plans(features)
    (folder / "plans.json").write_text(json.dumps(content))
    shutil.copy(SHIPPED / "dataset.json", folder / "dataset.json")
    torch.manual_seed(0)
    network = build(content["configurations"]["3d_fullres"]["architecture"], 1, 3, False)
    checkpoint = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "3d_fullres"},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0/checkpoint_final.pth")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--wide-cases", type=int, default=3, help="for the wide network; default: %(default)s")
    arguments = parser.parse_args()
    figures = measured(f"predict {arguments.cases} cases", arguments.cases, SLIM)
    wide = measured(f"{arguments.wide_cases} cases, wide network", arguments.wide_cases, WIDE)
    return report("prediction", {**figures, **{f"wide_{name}": value for name, value in wide.items()}}, LIMITS)


def measured(what: str, cases: int, features: list[int]) -> dict[str, float]:
    """Ours over the wheel's: CPU seconds, peak memory, wall seconds."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        environment = wheel_environment(root)
        model, images = root / "model", root / "images"
        write_model(model, features)
        images.mkdir()
        for path in sorted((SHIPPED / "imagesTr").iterdir())[:cases]:
            shutil.copy(path, images)
        ours = cost([*OURS, "predict", "--model", str(model), "-i", str(images), "-o", str(root / "ours")], environment)
        reference = wheel("nnUNetv2_predict_from_modelfolder")
        folders = ["-i", str(images), "-o", str(root / "theirs"), "-m", str(model)]
        options = ["-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar"]
        theirs = cost([*reference, *folders, *options], environment)
        return compare(what, ours, theirs)


if __name__ == "__main__":
    sys.exit(main())
