"""The table of nnU-Net's trainers, of version 2 and of version 1: the trainer each is based on, what it changes, what it is for.

What a trainer changes stands as in a recipe file. A name without an entry here has a part that does not exist yet.
"""

from __future__ import annotations

from typing import Any

DEFAULT = "nnUNetTrainer"
V1_DEFAULT = "nnUNetTrainerV2"

Preset = tuple[str | None, dict[str, Any], str]
"""The trainer it is based on, what it changes, and what it is for."""


def _epochs(base: str, *numbers: int) -> dict[str, Preset]:
    return {f"{base}_{n}epoch{'s' if n > 1 else ''}": (base, {"epochs": n}, f"{n} epochs instead of 1000") for n in numbers}


def _aliases(base: str, *names: str) -> dict[str, Preset]:
    return {name: (base, {}, f"the same as {base}, for a folder of its own") for name in names}


def _loss(name: str, **parameters: Any) -> dict[str, Any]:
    return {"loss": {"name": name, **parameters}}


def _optimizer(name: str, **parameters: Any) -> dict[str, Any]:
    return {"optimizer": {"name": name, **parameters}}


def _rate(learning_rate: float) -> dict[str, Any]:
    return {"optimizer": {"learningRate": learning_rate}}


_TOP10 = {"percent": 10.0}

V2: dict[str, Preset] = {
    DEFAULT: (None, {}, "nnU-Net's default"),
    **_epochs(DEFAULT, 1, 5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000),
    **{
        f"{DEFAULT}_{n}epochs_NoMirroring": (f"{DEFAULT}_{n}epochs", {"augmentation": "noMirroring"}, f"{n} epochs, no mirroring")
        for n in (250, 2000, 4000, 8000)
    },
    "nnUNetTrainerBenchmark_5epochs": (DEFAULT, {"epochs": 5}, "how long an epoch takes"),
    # Augmentation and sampling
    "nnUNetTrainerNoDA": (DEFAULT, {"augmentation": "none"}, "no augmentation"),
    "nnUNetTrainerNoMirroring": (DEFAULT, {"augmentation": "noMirroring"}, "no mirroring, in prediction neither"),
    "nnUNetTrainer_onlyMirror01": (DEFAULT, {"augmentation": "onlyMirror01"}, "mirrors the first two axes only"),
    "nnUNetTrainer_onlyMirror01_1500ep": ("nnUNetTrainer_onlyMirror01", {"epochs": 1500}, "mirrors two axes only, 1500 epochs"),
    "nnUNetTrainer_onlyMirror01_DASegOrd0": (DEFAULT, {"augmentation": "order0OnlyMirror01"}, "two axes, labels by nearest voxel"),
    "nnUNetTrainer_DASegOrd0": (DEFAULT, {"augmentation": "order0"}, "labels are rotated by nearest voxel"),
    "nnUNetTrainer_DASegOrd0_NoMirroring": (DEFAULT, {"augmentation": "order0NoMirroring"}, "nearest voxel, no mirroring"),
    "nnUNetTrainer_noDummy2DDA": (DEFAULT, {"augmentation": "noDummy2D"}, "rotates in 3D however anisotropic the patch is"),
    "nnUNetTrainer_probabilisticOversampling": (DEFAULT, {"sampling": {"probabilistic": True}}, "foreground drawn for each sample"),
    "nnUNetTrainer_probabilisticOversampling_033": (
        "nnUNetTrainer_probabilisticOversampling",
        {"sampling": {"oversampleForeground": 0.33}},
        "foreground drawn for each sample, p 0.33",
    ),
    "nnUNetTrainer_probabilisticOversampling_010": (
        "nnUNetTrainer_probabilisticOversampling",
        {"sampling": {"oversampleForeground": 0.1}},
        "foreground drawn for each sample, p 0.1",
    ),
    # Loss
    "nnUNetTrainerCELoss": (DEFAULT, _loss("CE"), "cross-entropy"),
    "nnUNetTrainerCELoss_5epochs": ("nnUNetTrainerCELoss", {"epochs": 5}, "cross-entropy, 5 epochs"),
    "nnUNetTrainerDiceLoss": (DEFAULT, _loss("Dice"), "soft Dice"),
    "nnUNetTrainerDiceCELoss_noSmooth": (DEFAULT, _loss("DiceCE", smooth=0.0), "Dice without smoothing, and cross-entropy"),
    "nnUNetTrainerTopk10Loss": (DEFAULT, _loss("TopK", **_TOP10), "cross-entropy of the hardest 10 %"),
    "nnUNetTrainerTopk10LossLS01": (
        DEFAULT,
        _loss("TopK", **_TOP10, labelSmoothing=0.1),
        "cross-entropy of the hardest 10 %, labels smoothed by 0.1",
    ),
    "nnUNetTrainerDiceTopK10Loss": (DEFAULT, _loss("DiceTopK", **_TOP10), "Dice, and cross-entropy of the hardest 10 %"),
    # Optimizer and schedule
    "nnUNetTrainerAdam": (DEFAULT, _optimizer("AdamW", amsgrad=True), "AdamW with amsgrad"),
    "nnUNetTrainerAdam1en3": ("nnUNetTrainerAdam", _rate(1e-3), "AdamW, learning rate 1e-3"),
    "nnUNetTrainerAdam3en4": ("nnUNetTrainerAdam", _rate(3e-4), "AdamW, learning rate 3e-4"),
    "nnUNetTrainerVanillaAdam": (DEFAULT, _optimizer("Adam"), "Adam"),
    "nnUNetTrainerVanillaAdam1en3": ("nnUNetTrainerVanillaAdam", _rate(1e-3), "Adam, learning rate 1e-3"),
    "nnUNetTrainerVanillaAdam3en4": ("nnUNetTrainerVanillaAdam", _rate(3e-4), "Adam, learning rate 3e-4"),
    "nnUNetTrainerAdan": (DEFAULT, _optimizer("Adan"), "Adan"),
    "nnUNetTrainerAdan1en3": ("nnUNetTrainerAdan", _rate(1e-3), "Adan, learning rate 1e-3"),
    "nnUNetTrainerAdan3en4": ("nnUNetTrainerAdan", _rate(3e-4), "Adan, learning rate 3e-4"),
    "nnUNetTrainerAdan1en1": ("nnUNetTrainerAdan", _rate(1e-1), "Adan, learning rate 1e-1 (its author: diverges)"),
    "nnUNetTrainerAdanCosAnneal": ("nnUNetTrainerAdan", {"schedule": "cosine"}, "Adan, cosine annealing"),
    "nnUNetTrainerCosAnneal": (DEFAULT, {"schedule": "cosine"}, "cosine annealing"),
    "nnUNetTrainer_warmup": (DEFAULT, {"warmUpEpochs": 50}, "the learning rate rises for 50 epochs"),
    # Network
    "nnUNetTrainerBN": (DEFAULT, {"network": {"normalization": "batch"}}, "batch normalization"),
    "nnUNetTrainerNoDeepSupervision": (DEFAULT, {"deepSupervision": False}, "no deep supervision"),
}


def _v1(suffix: str, changes: dict[str, Any], about: str, base: str = "") -> dict[str, Preset]:
    return {f"{V1_DEFAULT}_{suffix}": (f"{V1_DEFAULT}_{base}" if base else V1_DEFAULT, changes, f"v1: {about}")}


_RANGER = {"lr1en2": 1e-2, "lr3en3": 3e-3, "lr3en4": 3e-4}

V1: dict[str, Preset] = {
    V1_DEFAULT: (DEFAULT, {}, "v1's default, with v2's augmentation"),
    **_aliases(V1_DEFAULT, *(f"{V1_DEFAULT}_copy{i}" for i in (1, 2, 3, 4))),
    **_v1("fp32", {"precision": "fp32"}, "single precision"),
    **_v1("fp16", {"precision": "fp16"}, "half precision, on a GPU only"),
    **_epochs(V1_DEFAULT, 2, 5),
    # Loss
    **_v1("Loss_CE", _loss("CE"), "cross-entropy"),
    **_v1("Loss_Dice", _loss("Dice"), "soft Dice"),
    **_v1("Loss_DicewithBG", _loss("Dice", background=True), "soft Dice, the background too"),
    **_v1("Loss_Dice_LR1en3", _rate(1e-3), "soft Dice, learning rate 1e-3", "Loss_Dice"),
    **_v1("Loss_DicewithBG_LR1en3", _rate(1e-3), "soft Dice with background, learning rate 1e-3", "Loss_DicewithBG"),
    **_v1("Loss_Dice_squared", _loss("SquaredDice") | _rate(1e-3), "Dice with squares in the denominator, learning rate 1e-3"),
    **_v1("Loss_DiceCE_noSmooth", _loss("DiceCE", smooth=0.0), "Dice without smoothing, and cross-entropy"),
    **_v1("Loss_CEGDL", _loss("GeneralisedDiceCE"), "generalised Dice and cross-entropy"),
    **_v1("Loss_TopK10", _loss("TopK", **_TOP10), "cross-entropy of the hardest 10 %"),
    **_v1("Loss_DiceTopK10", _loss("DiceTopK", **_TOP10), "Dice, and cross-entropy of the hardest 10 %"),
    **_v1("Loss_MCC", _loss("MCC") | _rate(1e-3), "Matthews' correlation, learning rate 1e-3"),
    **_v1("Loss_MCCnoBG", _loss("MCC", background=False) | _rate(1e-3), "Matthews' correlation without the background"),
    "nnUNetTrainerV2_SegLoss_Focal": (V1_DEFAULT, _loss("Focal"), "v1: focal loss"),
    **_v1("ForceBD", {"batchDice": True}, "Dice over the whole batch"),
    **_v1("ForceSD", {"batchDice": False}, "Dice of each sample"),
    # Optimizer and schedule
    **_v1("Adam", _optimizer("Adam", amsgrad=True), "Adam with amsgrad"),
    **_v1("Adam_nnUNetTrainerlr", _rate(3e-4), "Adam with amsgrad, learning rate 3e-4", "Adam"),
    **_v1(
        "Adam_ReduceOnPlateau",
        _optimizer("Adam", amsgrad=True, learningRate=3e-4) | {"schedule": "plateau"},
        "Adam, the rate falls on a plateau",
    ),
    **_v1("SGD_ReduceOnPlateau", {"schedule": "plateau"}, "SGD, the rate falls on a plateau"),
    **{
        k: v
        for name, lr in _RANGER.items()
        for k, v in _v1(f"Ranger_{name}", _optimizer("Ranger", learningRate=lr), "Ranger").items()
    },
    **_v1("SGD_lr1en1", _rate(1e-1), "learning rate 1e-1"),
    **_v1("SGD_lr1en3", _rate(1e-3), "learning rate 1e-3"),
    **_v1("momentum09", {"optimizer": {"momentum": 0.9}}, "momentum 0.9"),
    **_v1("momentum095", {"optimizer": {"momentum": 0.95}}, "momentum 0.95"),
    **_v1("momentum098", {"optimizer": {"momentum": 0.98}}, "momentum 0.98"),
    **_v1("SGD_fixedSchedule", {"schedule": {"name": "steps", "at": [0.5, 0.675, 0.85]}}, "a tenth at epoch 500, 675, 850"),
    **_v1("cycleAtEnd", {"epochs": 1100, "schedule": {"name": "polyWithCycle"}}, "a triangle of 100 epochs at the end"),
    **_v1(
        "cycleAtEnd2",
        {"epochs": 1200, "schedule": {"name": "polyWithCycle", "length": 200, "highest": 1.0}},
        "a triangle of 200 epochs at the end",
    ),
    **_v1("warmup", {"epochs": 1050, "warmUpEpochs": 50}, "the learning rate rises for 50 epochs"),
    # Augmentation
    **_v1("noDataAugmentation", {"augmentation": "none"}, "no augmentation (in 2D too, where v1's was broken)"),
    **_v1("noMirroring", {"augmentation": "noMirroring"}, "no mirroring"),
    # Network
    **_v1("BN", {"network": {"normalization": "batch"}}, "batch normalization"),
    **_v1("GN", {"network": {"normalization": "group"}}, "group normalization, 8 groups"),
    **_v1(
        "FRN",
        {"network": {"normalization": "filterResponse", "archKwargs": {"nonlin": None, "nonlin_kwargs": None}}},
        "filter response normalization, its threshold is the nonlinearity (in 2D too)",
    ),
    **_v1("NoNormalization", {"network": {"normalization": "none"}}, "no normalization"),
    **_v1("NoNormalization_lr1en3", _rate(1e-3), "no normalization, learning rate 1e-3", "NoNormalization"),
    **_v1("ReLU", {"network": {"nonlinearity": "ReLU"}}, "ReLU"),
    **_v1("ReLU_biasInSegOutput", {}, "ReLU; heads have a bias, as all of v2", "ReLU"),
    **_v1("ReLU_convReLUIN", {"network": {"archKwargs": {"nonlin_first": True}}}, "ReLU before normalization", "ReLU"),
    **_v1("LReLU_slope_2en1", {"network": {"negativeSlope": 0.2}}, "leaky ReLU of slope 0.2"),
    **_v1("lReLU_biasInSegOutput", {}, "heads have a bias, as all of v2"),
    **_v1("lReLU_convReLUIN", {"network": {"archKwargs": {"nonlin_first": True}}}, "leaky ReLU before normalization"),
    **_v1("GeLU", {"network": {"nonlinearity": "GELU"}}, "GELU"),
    **_v1("Mish", {"network": {"nonlinearity": "Mish"}}, "Mish"),
    **_v1("allConv3x3", {"network": {"kernelSize": 3}}, "every kernel 3×3×3"),
    **_v1("3ConvPerStageSameFilters", {"network": {"convolutionsPerStage": 3}}, "three convolutions a stage"),
    **_v1("noDeepSupervision", {"deepSupervision": False}, "no deep supervision"),
    **_v1("ResencUNet", {"network": {"network": "ResidualEncoderUNet"}}, "a residual encoder (in 2D too)"),
}
