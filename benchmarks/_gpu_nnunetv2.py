"""nnU-Net's own trainer and predictor on the plans and cases of benchmarks/gpu.py, in any interpreter that has nnunetv2.

One argument, JSON: `folder` (our dataset's), `scratch`, `plans` (a file's path), `dataset_json`, `device`, `steps` of an epoch, and
to predict, `model`, `image`, `spacing`, `segmentation` (where it is to be saved). The last line is JSON: `seconds_a_step` of the
second epoch, its one validation step included, and `prediction_seconds` from the image in memory to its segmentation.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    order = json.loads(sys.argv[1])
    scratch = Path(order["scratch"])
    if order["device"] == "cpu":
        os.environ |= {"nnUNet_n_proc_DA": "0"}  # a small version: no worker processes
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(scratch / name)
    found = {"seconds_a_step": seconds_a_step(order, scratch)}
    if "image" in order:
        found["prediction_seconds"] = prediction_seconds(order)
    print(json.dumps(found), flush=True)


def store(folder: Path, target: Path, patch: list[int]) -> None:
    """The same cases in nnU-Net's files, with the blocks that it chooses for this patch."""
    import blosc2
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    (target / "data").mkdir(parents=True)
    for name in ("splits_final.json", "dataset_fingerprint.json"):
        shutil.copy(folder / name, target / name)
    for path in sorted((folder / "data").glob("*.pkl")):
        data, seg = (np.asarray(blosc2.open(str(path.with_name(path.stem + end)))[:]) for end in (".b2nd", "_seg.b2nd"))
        properties = pickle.loads(path.read_bytes())
        properties["class_locations"] = {
            label: np.insert(voxels, 0, 0, axis=1) if voxels.shape[1] == 3 else voxels
            for label, voxels in properties["class_locations"].items()
        }
        (blocks, chunks), (blocks_seg, chunks_seg) = (comp_blosc2_params(x.shape, tuple(patch), x.itemsize) for x in (data, seg))
        options = {"chunks": chunks, "blocks": blocks, "chunks_seg": chunks_seg, "blocks_seg": blocks_seg}
        nnUNetDatasetBlosc2.save_case(data, seg, properties, str(target / "data" / path.stem), **options)


def seconds_a_step(order: dict[str, Any], scratch: Path) -> float:
    """Of its trainer's second epoch."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans = json.loads(Path(order["plans"]).read_text())
    target = scratch / "nnUNet_preprocessed" / plans["dataset_name"]
    if not target.exists():
        store(Path(order["folder"]), target, plans["configurations"]["tried"]["patch_size"])
    device = torch.device(order["device"])
    trainer = nnUNetTrainer(plans | {"continue_training": False}, "tried", 0, order["dataset_json"], device=device)
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, order["steps"], 1
    trainer.logger.plot_progress_png = lambda folder: None  # takes seconds behind the epoch's end, and is not measured
    trainer.run_training()
    ends, begins = (trainer.logger.get_value(f"epoch_{which}_timestamps", step=1) for which in ("end", "start"))
    return (ends - begins) / order["steps"]


def prediction_seconds(order: dict[str, Any]) -> float:
    """Of its predictor, which is given the image as it gives it to itself."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device(order["device"]), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(order["model"], (0,), "checkpoint_final.pth")
    image = np.load(order["image"])
    begun = time.perf_counter()
    found = predictor.predict_single_npy_array(image, {"spacing": list(order["spacing"])})
    seconds = time.perf_counter() - begun
    np.save(order["segmentation"], found)
    return seconds


if __name__ == "__main__":
    main()
