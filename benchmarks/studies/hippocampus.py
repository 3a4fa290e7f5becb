"""What a training is worth: validation Dice of a small 2d plan of Hippocampus, ours beside nnU-Net's own trainer, over some seeds;
and what fine-tuning from a pretrained source adds where labelled cases are few.

Both sides train on the same plans, the same preprocessed files and the same split, for the same number of iterations with the same
default trainer. For the second question the source is the other cases, with another labelling (head and body are one label);
the target keeps few training cases, and the pretrained and the untrained network get the same short budget on it.

This takes an hour or two on two cores, so `make bench` leaves it out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).parents[1]))
import _measure as measure

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("raw", type=Path, help="Dataset004_Hippocampus in nnU-Net's raw layout")
parser.add_argument("--work", type=Path, help="folder to work in; what is done there is not done again (default: a temporary one)")
parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
parser.add_argument("--epochs", type=int, default=30, help="of 50 iterations; default: %(default)s")
parser.add_argument("--few", type=int, default=8, help="training cases of the target in the second question; default: %(default)s")
parser.add_argument("--few-epochs", type=int, default=6, help="and its epochs; default: %(default)s")

ITERATIONS, VALIDATION_ITERATIONS = 50, 5
PATCH = {"batch_size": 8, "architecture": {"arch_kwargs": {"features_per_stage": [16, 32, 64, 128]}}}
SOURCE = "Dataset104_HippocampusWhole"

THEIRS = """
import json, random, sys, numpy, torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
plans, dataset, seed, epochs, iterations, validation = sys.argv[1:]
random.seed(int(seed)); numpy.random.seed(int(seed)); torch.manual_seed(int(seed))
plans = json.load(open(plans)) | {"continue_training": False}
trainer = nnUNetTrainer(plans, "2d", 0, json.load(open(dataset)), device=torch.device("cpu"))
trainer.num_epochs, trainer.num_iterations_per_epoch = int(epochs), int(iterations)
trainer.num_val_iterations_per_epoch = int(validation)
trainer.run_training()
trainer.perform_actual_validation()
"""


def run(command: list[str], **environment: str) -> None:
    """Run a command, one thread for one core's worth of numbers; its output is shown where it fails."""
    whole = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")


def prepare(raw: Path, preprocessed: Path, plans_of: Path | None = None) -> Path:
    """Fingerprint, plans with the small network (or another dataset's, transferred), preprocessed data and splits; the folder."""
    folder = preprocessed / raw.name
    if (folder / "prepared").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    fingerprint, plans = folder / "dataset_fingerprint.json", folder / "nnUNetPlans.json"
    run([*measure.OURS, "fingerprint", str(raw), "-o", str(fingerprint)])
    if plans_of is not None:
        transfer = ["transfer", "--plans", str(plans_of / "nnUNetPlans.json"), "--to", str(raw), "--plans-name", "nnUNetPlans"]
        run([*measure.OURS, *transfer, "-o", str(plans)])
    else:
        run([*measure.OURS, "plan", str(raw), "--fingerprint", str(fingerprint), "-o", str(plans)])
        content = json.loads(plans.read_text())
        smaller(content["configurations"]["2d"], PATCH)
        plans.write_text(json.dumps(content, indent=2))
    run([*measure.OURS, "preprocess", str(raw), "--plans", str(plans), "--configuration", "2d", "-o", str(folder)])
    (folder / "prepared").touch()
    return folder


def smaller(content: dict[str, Any], patch: dict[str, Any]) -> None:
    """Merge a patch into a configuration."""
    for key, value in patch.items():
        if isinstance(value, dict):
            smaller(content[key], value)
        else:
            content[key] = value


def whole_hippocampus(raw: Path, folder: Path, cases: list[str]) -> Path:
    """Some of the cases as another dataset: head and body are one label."""
    target = folder / SOURCE
    for part in ("imagesTr", "labelsTr"):
        (target / part).mkdir(parents=True, exist_ok=True)
    described = json.loads((raw / "dataset.json").read_text())
    ending = described["file_ending"]
    for case in cases:
        link = target / "imagesTr" / f"{case}_0000{ending}"
        if not link.exists():
            link.symlink_to((raw / "imagesTr" / link.name).resolve())
        label = sitk.ReadImage(str(raw / "labelsTr" / f"{case}{ending}"))
        sitk.WriteImage(sitk.Cast(label > 0, sitk.sitkUInt8), str(target / "labelsTr" / f"{case}{ending}"))
    described |= {"labels": {"background": 0, "hippocampus": 1}, "numTraining": len(cases)}
    (target / "dataset.json").write_text(json.dumps(described))
    return target


def ours(folder: Path, out: Path, seed: int, epochs: int, fold: str, pretrained: Path | None = None) -> Path:
    """One training of ours; its fold's folder."""
    recipe = out / "recipe.json"
    out.mkdir(parents=True, exist_ok=True)
    budget = {"epochs": epochs, "iterationsPerEpoch": ITERATIONS, "validationIterations": VALIDATION_ITERATIONS}
    recipe.write_text(json.dumps({"base": "nnUNetTrainer", **budget}))
    made = out / folder.name / "short__nnUNetPlans__2d" / f"fold_{fold}"
    if not (made / "done").exists():
        command = [*measure.OURS, "train", "--preprocessed", str(folder), "--configuration", "2d", "--fold", fold, "-o", str(out)]
        command += ["--trainer", "short", "--recipe", str(recipe), "--seed", str(seed), "--continue"]
        run([*command, *(["--pretrained", str(pretrained)] if pretrained else [])])
        (made / "done").touch()
    return made


def theirs(folder: Path, out: Path, seed: int, epochs: int) -> Path:
    """One training of nnU-Net's own on the same files; its fold's folder."""
    made = out / folder.name / "nnUNetTrainer__nnUNetPlans__2d" / "fold_0"
    if not (made / "done").exists():
        environment = {"nnUNet_preprocessed": str(folder.parent), "nnUNet_results": str(out), "nnUNet_raw": str(out)}
        numbers = [str(n) for n in (seed, epochs, ITERATIONS, VALIDATION_ITERATIONS)]
        command = [sys.executable, "-c", THEIRS, str(folder / "nnUNetPlans.json"), str(folder / "dataset.json"), *numbers]
        run(command, nnUNet_n_proc_DA="0", nnUNet_compile="0", **environment)
        (made / "done").touch()
    return made


def dice(fold: Path) -> float:
    """Mean foreground Dice of the final validation."""
    value: float = json.loads((fold / "validation" / "summary.json").read_text())["foreground_mean"]["Dice"]
    return value


def told(name: str, values: list[float]) -> dict[str, float]:
    """Mean and spread, said and returned."""
    mean, spread = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    print(f"{name:44s} {mean:.4f} ± {spread:.4f}   ({', '.join(f'{v:.4f}' for v in values)})", flush=True)
    return {f"{name}_mean": round(mean, 4), f"{name}_sd": round(spread, 4)}


def main() -> int:
    """Train them all, tell the Dice of each group."""
    arguments = parser.parse_args()
    raw, seeds = arguments.raw.resolve(), range(1, arguments.seeds + 1)
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        target = prepare(raw, work / "whole")
        figures = told("ours", [dice(ours(target, work / f"ours{s}", s, arguments.epochs, "0")) for s in seeds])
        figures |= told("nnunetv2", [dice(theirs(target, work / f"theirs{s}", s, arguments.epochs)) for s in seeds])

        # The split's validation cases stay; of its training cases a few are the target's, the others are the source.
        few = prepare(raw, work / "few")
        split = json.loads((target / "splits_final.json").read_text())[0]
        kept, others = split["train"][: arguments.few], split["train"][arguments.few :]
        (few / "splits_final.json").write_text(json.dumps([{"train": kept, "val": split["val"]}]))
        source = prepare(whole_hippocampus(raw, work, others), work / "source", plans_of=target)
        weights = [ours(source, work / f"source{s}", s, arguments.epochs, "all") / "checkpoint_final.pth" for s in seeds]
        short = arguments.few_epochs
        figures |= told("scratch", [dice(ours(few, work / f"scratch{s}", s, short, "0")) for s in seeds])
        tuned = [dice(ours(few, work / f"tuned{s}", s, short, "0", w)) for s, w in zip(seeds, weights, strict=True)]
        figures |= told("finetuned", tuned)
    return measure.report("hippocampus", figures, {})


if __name__ == "__main__":
    raise SystemExit(main())
