"""The table of nnU-Net version 1's trainers, as `v2`. What was broken there does what its name says."""

from __future__ import annotations

from .augmentation import V1_AUGMENTATION
from .cascade import CASCADE
from .rows import DEFAULT, TOP10, V1_DEFAULT, Preset, aliases, epochs, loss, optimizer, rate, v1
from .v1_legacy import V1_MORE

_PLATEAU = {"schedule": "plateau", "earlyStopping": {}}
_RELU = {"negativeSlope": 0.0}
_RANGER = {"lr1en2": 1e-2, "lr3en3": 3e-3, "lr3en4": 3e-4}

V1: dict[str, Preset] = {
    V1_DEFAULT: (
        DEFAULT,
        {"newStart": {}},
        "v1's default: begins anew where no foreground is found for 100 epochs; v2's augmentation (v1's own: augmentation v1)",
    ),
    **aliases(V1_DEFAULT, *(f"{V1_DEFAULT}_copy{i}" for i in (1, 2, 3, 4))),
    **v1("fp32", {"precision": "fp32"}, "single precision"),
    **v1("fp16", {"precision": "fp16"}, "half precision, on a GPU only"),
    **epochs(V1_DEFAULT, 2, 5),
    # Loss
    **v1("Loss_CE", loss("CE"), "cross-entropy"),
    **v1("Loss_Dice", loss("Dice"), "soft Dice"),
    **v1("Loss_DicewithBG", loss("Dice", background=True), "soft Dice, the background too"),
    **v1("Loss_Dice_LR1en3", rate(1e-3), "soft Dice, learning rate 1e-3", "Loss_Dice"),
    **v1("Loss_DicewithBG_LR1en3", rate(1e-3), "soft Dice with background, learning rate 1e-3", "Loss_DicewithBG"),
    **v1("Loss_Dice_squared", loss("SquaredDice") | rate(1e-3), "Dice with squares in the denominator, learning rate 1e-3"),
    **v1("Loss_DiceCE_noSmooth", loss("DiceCE", smooth=0.0), "Dice without smoothing, and cross-entropy"),
    **v1("Loss_CEGDL", loss("GeneralisedDiceCE"), "generalised Dice and cross-entropy"),
    **v1("Loss_TopK10", loss("TopK", **TOP10), "cross-entropy of the hardest 10 %"),
    **v1("Loss_DiceTopK10", loss("DiceTopK", **TOP10), "Dice, and cross-entropy of the hardest 10 %"),
    **v1(
        "Loss_MCC",
        loss("MCC") | rate(1e-3),
        "Matthews' correlation, learning rate 1e-3 (v1's could become NaN; with eps 0 this one too)",
    ),
    **v1("Loss_MCCnoBG", loss("MCC", background=False) | rate(1e-3), "Matthews' correlation without the background"),
    "nnUNetTrainerV2_SegLoss_Focal": (V1_DEFAULT, loss("Focal"), "v1: focal loss"),
    **v1(
        "graduallyTransitionFromCEToDice",
        {"overTime": {"loss.weightCe": [[0.5, 2.0], [0.75, 0.0]], "loss.weightDice": [[0.5, 0.0], [0.75, 2.0]]}},
        "cross-entropy for half of the epochs, Dice for the last quarter, in between from one to the other",
    ),
    **v1("ForceBD", {"batchDice": True}, "Dice over the whole batch"),
    **v1("ForceSD", {"batchDice": False}, "Dice of each sample"),
    # Optimizer and schedule
    **v1("Adam", optimizer("Adam", amsgrad=True), "Adam with amsgrad"),
    **v1("Adam_nnUNetTrainerlr", rate(3e-4), "Adam with amsgrad, learning rate 3e-4", "Adam"),
    **v1(
        "Adam_ReduceOnPlateau",
        optimizer("Adam", amsgrad=True, learningRate=3e-4) | _PLATEAU,
        "Adam, the rate falls on a plateau, ends early",
    ),
    **v1("SGD_ReduceOnPlateau", _PLATEAU, "SGD, the rate falls on a plateau, ends early"),
    **{
        k: v
        for name, lr in _RANGER.items()
        for k, v in v1(f"Ranger_{name}", optimizer("Ranger", learningRate=lr), "Ranger").items()
    },
    **v1("SGD_lr1en1", rate(1e-1), "learning rate 1e-1"),
    **v1("SGD_lr1en3", rate(1e-3), "learning rate 1e-3"),
    **v1("momentum09", {"optimizer": {"momentum": 0.9}}, "momentum 0.9"),
    **v1("momentum095", {"optimizer": {"momentum": 0.95}}, "momentum 0.95"),
    **v1("momentum098", {"optimizer": {"momentum": 0.98}}, "momentum 0.98"),
    **v1(
        "momentum09in2D",
        {"in2d": {"optimizer": {"momentum": 0.9}}},
        "momentum 0.9 in 2D, 0.99 in 3D",
    ),
    **v1(
        "reduceMomentumDuringTraining",
        {"overTime": {"optimizer.momentum": [[0.8, 0.99], [1.0, 0.9]]}},
        "momentum falls from 0.99 to 0.9 in the last 200 epochs",
    ),
    **v1(
        "SGD_fixedSchedule2",
        {"schedule": {"name": "stepsThenPoly", "at": [0.5, 0.675]}},
        "a tenth at epoch 500 and 675, then poly",
    ),
    **v1("SGD_fixedSchedule", {"schedule": {"name": "steps", "at": [0.5, 0.675, 0.85]}}, "a tenth at epoch 500, 675, 850"),
    **v1("cycleAtEnd", {"epochs": 1100, "schedule": {"name": "polyWithCycle"}}, "a triangle of 100 epochs at the end"),
    **v1(
        "cycleAtEnd2",
        {"epochs": 1200, "schedule": {"name": "polyWithCycle", "length": 200, "highest": 1.0}},
        "a triangle of 200 epochs at the end",
    ),
    **v1("warmup", {"epochs": 1050, "warmUpEpochs": 50}, "the learning rate rises for 50 epochs"),
    # Augmentation
    **v1("noDataAugmentation", {"augmentation": "none"}, "no augmentation (in 2D too, where v1's was broken)"),
    **v1("noMirroring", {"augmentation": "noMirroring"}, "no mirroring"),
    **V1_AUGMENTATION,
    # Network
    **v1("BN", {"network": {"normalization": "batch"}}, "batch normalization"),
    **v1("GN", {"network": {"normalization": "group"}}, "group normalization, 8 groups"),
    **v1(
        "FRN",
        {"network": {"normalization": "filterResponse", "archKwargs": {"nonlin": None, "nonlin_kwargs": None}}},
        "filter response normalization, its threshold is the nonlinearity (in 2D too)",
    ),
    **v1("NoNormalization", {"network": {"normalization": "none"}}, "no normalization"),
    **v1("NoNormalization_lr1en3", rate(1e-3), "no normalization, learning rate 1e-3", "NoNormalization"),
    **v1("ReLU", {"network": {"nonlinearity": "ReLU"}, "initialization": _RELU}, "ReLU"),
    **v1("ReLU_biasInSegOutput", {}, "ReLU; heads have a bias, as all of v2", "ReLU"),
    **v1("ReLU_convReLUIN", {"network": {"archKwargs": {"nonlin_first": True}}}, "ReLU before normalization", "ReLU"),
    **v1("LReLU_slope_2en1", {"network": {"negativeSlope": 0.2}, "initialization": _RELU}, "leaky ReLU of slope 0.2"),
    **v1("lReLU_biasInSegOutput", {}, "heads have a bias, as all of v2"),
    **v1("lReLU_convReLUIN", {"network": {"archKwargs": {"nonlin_first": True}}}, "leaky ReLU before normalization"),
    **v1("GeLU", {"network": {"nonlinearity": "GELU"}}, "GELU"),
    **v1("Mish", {"network": {"nonlinearity": "Mish"}, "initialization": _RELU}, "Mish"),
    **v1("allConv3x3", {"network": {"kernelSize": 3}}, "every kernel 3×3×3"),
    **v1(
        "3ConvPerStage",
        {"network": {"convolutionsPerStage": 3, "baseFeatures": 24}},
        "three convolutions a stage, the first stages narrower (24 channels, not 32)",
    ),
    **v1("3ConvPerStageSameFilters", {"network": {"convolutionsPerStage": 3}}, "three convolutions a stage"),
    **v1("noDeepSupervision", {"deepSupervision": False}, "no deep supervision"),
    **v1(
        "softDeepSupervision",
        {"deepSupervision": "soft"},
        "coarser targets are the share that each class has of a voxel (v1's needed a private class)",
    ),
    **v1(
        "ResencUNet",
        {
            "network": {"network": "ResidualEncoderUNet", "blocksPerStage": [1, 2, 3, 4]},
            "initialization": {"zeroResiduals": False},
            "coarsestOutput": True,
        },
        "a residual encoder, with v2's blocks (in 2D too); the coarsest output counts too",
    ),
    **v1(
        "ResencUNet_SimonsInit",
        {"initialization": {"zeroResiduals": True}},
        "a residual encoder whose blocks begin as the identity, as v2's",
        "ResencUNet",
    ),
    **CASCADE,
    **V1_MORE,
}
