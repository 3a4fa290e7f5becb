"""Version 1's trainers that are not built on its default, and those that measure time, as `v2`."""

from __future__ import annotations

from .rows import DEFAULT, V1_DEFAULT, Preset, aliases, loss, optimizer, v1

LEGACY = "nnUNetTrainerV1"
"""v1's first trainer. It was called nnUNetTrainer, which is v2's default now."""

_FIXED = {"sampling": {"fixedBatch": True}}
_TIME = "how long epochs take; unlike v1's it writes a checkpoint"
_GPUS = "any trainer trains on all the GPUs that it is given"
_BRATS_TARGET = round(0.97 * (0.911 + 0.8739 + 0.7848) / 3, 6)
"""97 % of what a whole training reaches on BraTS, the mean over whole tumor, core and enhancing tumor."""
_REGIONS = f"{V1_DEFAULT}BraTSRegions"

V1_MORE: dict[str, Preset] = {
    LEGACY: (
        DEFAULT,
        optimizer("Adam", amsgrad=True, learningRate=3e-4)
        | {
            "schedule": "plateau",
            "earlyStopping": {},
            "deepSupervision": False,
            "gradientClip": None,
            "augmentation": "v1Legacy",
        },
        "v1: its first trainer, there called nnUNetTrainer (which is v2's): Adam, the rate falls on a plateau, ends early",
    ),
    "nnUNetTrainerCE": (LEGACY, loss("CE"), f"v1: {LEGACY} with cross-entropy"),
    "nnUNetTrainerCascadeFullRes": (
        LEGACY,
        {"previousStage": {"operatorLabelProbability": 1.0, "removalLabelProbability": 1.0}},
        f"v1: {LEGACY} for the second stage of a cascade (v1's never got an optimizer)",
    ),
    **{
        name: row
        for base in ("BN", "Adam", "Loss_TopK10", "noDataAugmentation")
        for name, row in aliases(f"{V1_DEFAULT}_{base}", *(f"{V1_DEFAULT}_{base}_copy{i}" for i in (1, 2, 3, 4))).items()
    },
    **v1("DP", {}, f"the same as {V1_DEFAULT}: {_GPUS}"),
    **v1("DDP", {}, f"the same as {V1_DEFAULT}: {_GPUS}"),
    **v1("resample33", {}, f"the same as {V1_DEFAULT}: v1 never used what this changed"),
    # Measuring
    **v1("5epochs_noDS", {"epochs": 5}, f"no deep supervision, {_TIME}", "noDeepSupervision"),
    **v1("5epochs_CEnoDS", loss("CE"), f"cross-entropy, no deep supervision, {_TIME}", "5epochs_noDS"),
    **v1("5epochs_dummyLoadCEnoDS", _FIXED, f"as 5epochs_CEnoDS without data, {_TIME}", "5epochs_CEnoDS"),
    **v1("5epochs_dummyLoad", _FIXED, f"no data, {_TIME}", "5epochs"),
    **v1("2epochs_dummyLoad", _FIXED, f"no data, {_TIME}", "2epochs"),
    **v1("DDP_5epochs", {}, f"the same as {V1_DEFAULT}_5epochs: {_GPUS}", "5epochs"),
    **v1("DDP_5epochs_dummyLoad", {}, f"the same as {V1_DEFAULT}_5epochs_dummyLoad: {_GPUS}", "5epochs_dummyLoad"),
    **v1(
        "fullEvals",
        {"validationIterations": 0, "fullEvaluation": {"everyEpochs": 1, "targetDice": _BRATS_TARGET}},
        "Dice of whole validation images after each epoch, no validation patches; ends at 0.83087, for BraTS (v1: its regions)",
    ),
    # BraTS, without its data: the regions are those of dataset.json.
    _REGIONS: (
        V1_DEFAULT,
        loss("DiceCE", smooth=0.0, background=True) | {"batchDice": False},
        "v1: Dice of each sample without smoothing and cross-entropy, for the regions of dataset.json (v1: those of BraTS)",
    ),
    f"{_REGIONS}_Dice": (_REGIONS, loss("Dice", smooth=0.0, background=True), "v1: Dice of each sample without smoothing"),
    f"{_REGIONS}_BN": (f"{V1_DEFAULT}_BN", {}, "v1: batch normalization (despite its name it never had regions)"),
    f"{_REGIONS}_DDP": (_REGIONS, {}, f"v1: the same as {_REGIONS}: {_GPUS} (v1's was broken)"),
}
