"""nnU-Net version 2's trainers: the trainer each is based on, what it changes (as in a recipe file), what it is for."""

from __future__ import annotations

from .augmentation import V2_AUGMENTATION
from .fine_tuning import FINE_TUNING
from .pretrained import PRETRAINED
from .primus import PRIMUS
from .rows import DEFAULT, TOP10, Preset, epochs, loss, optimizer, rate

V2: dict[str, Preset] = {
    DEFAULT: (None, {}, "nnU-Net's default"),
    **epochs(DEFAULT, 1, 5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000),
    **{
        f"{DEFAULT}_{n}epochs_NoMirroring": (f"{DEFAULT}_{n}epochs", {"augmentation": "noMirroring"}, f"{n} epochs, no mirroring")
        for n in (250, 2000, 4000, 8000)
    },
    "nnUNetTrainerBenchmark_5epochs": (DEFAULT, {"epochs": 5}, "how long an epoch takes; unlike nnU-Net's it writes a checkpoint"),
    "nnUNetTrainerBenchmark_5epochs_noDataLoading": (
        "nnUNetTrainerBenchmark_5epochs",
        {"sampling": {"fixedBatch": True}},
        "how long an epoch takes on one batch of noise, without any data",
    ),
    # Augmentation and sampling
    "nnUNetTrainerNoDA": (DEFAULT, {"augmentation": "none"}, "no augmentation"),
    "nnUNetTrainerNoMirroring": (DEFAULT, {"augmentation": "noMirroring"}, "no mirroring, in prediction neither"),
    "nnUNetTrainer_onlyMirror01": (DEFAULT, {"augmentation": "onlyMirror01"}, "mirrors the first two axes only"),
    "nnUNetTrainer_onlyMirror01_1500ep": ("nnUNetTrainer_onlyMirror01", {"epochs": 1500}, "mirrors two axes only, 1500 epochs"),
    "nnUNetTrainer_onlyMirror01_DASegOrd0": (DEFAULT, {"augmentation": "order0OnlyMirror01"}, "two axes, labels by nearest voxel"),
    "nnUNetTrainer_DASegOrd0": (DEFAULT, {"augmentation": "order0"}, "labels are rotated by nearest voxel"),
    "nnUNetTrainer_DASegOrd0_NoMirroring": (DEFAULT, {"augmentation": "order0NoMirroring"}, "nearest voxel, no mirroring"),
    "nnUNetTrainer_noDummy2DDA": (DEFAULT, {"augmentation": "noDummy2D"}, "rotates in 3D however anisotropic the patch is"),
    **V2_AUGMENTATION,
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
    "nnUNetTrainerCELoss": (DEFAULT, loss("CE"), "cross-entropy"),
    "nnUNetTrainerCELoss_5epochs": ("nnUNetTrainerCELoss", {"epochs": 5}, "cross-entropy, 5 epochs"),
    "nnUNetTrainerDiceLoss": (DEFAULT, loss("Dice"), "soft Dice"),
    "nnUNetTrainerDiceCELoss_noSmooth": (DEFAULT, loss("DiceCE", smooth=0.0), "Dice without smoothing, and cross-entropy"),
    "nnUNetTrainerTopk10Loss": (DEFAULT, loss("TopK", **TOP10), "cross-entropy of the hardest 10 %"),
    "nnUNetTrainerTopk10LossLS01": (
        DEFAULT,
        loss("TopK", **TOP10, labelSmoothing=0.1),
        "cross-entropy of the hardest 10 %, labels smoothed by 0.1",
    ),
    "nnUNetTrainerDiceTopK10Loss": (DEFAULT, loss("DiceTopK", **TOP10), "Dice, and cross-entropy of the hardest 10 %"),
    # Optimizer and schedule
    "nnUNetTrainerAdam": (DEFAULT, optimizer("AdamW", amsgrad=True), "AdamW with amsgrad"),
    "nnUNetTrainerAdam1en3": ("nnUNetTrainerAdam", rate(1e-3), "AdamW, learning rate 1e-3"),
    "nnUNetTrainerAdam3en4": ("nnUNetTrainerAdam", rate(3e-4), "AdamW, learning rate 3e-4"),
    "nnUNetTrainerVanillaAdam": (DEFAULT, optimizer("Adam"), "Adam"),
    "nnUNetTrainerVanillaAdam1en3": ("nnUNetTrainerVanillaAdam", rate(1e-3), "Adam, learning rate 1e-3"),
    "nnUNetTrainerVanillaAdam3en4": ("nnUNetTrainerVanillaAdam", rate(3e-4), "Adam, learning rate 3e-4"),
    "nnUNetTrainerAdan": (DEFAULT, optimizer("Adan"), "Adan"),
    "nnUNetTrainerAdan1en3": ("nnUNetTrainerAdan", rate(1e-3), "Adan, learning rate 1e-3"),
    "nnUNetTrainerAdan3en4": ("nnUNetTrainerAdan", rate(3e-4), "Adan, learning rate 3e-4"),
    "nnUNetTrainerAdan1en1": ("nnUNetTrainerAdan", rate(1e-1), "Adan, learning rate 1e-1 (its author: diverges)"),
    "nnUNetTrainerAdanCosAnneal": ("nnUNetTrainerAdan", {"schedule": "cosine"}, "Adan, cosine annealing"),
    "nnUNetTrainerCosAnneal": (DEFAULT, {"schedule": "cosine"}, "cosine annealing"),
    "nnUNetTrainer_warmup": (DEFAULT, {"warmUpEpochs": 50}, "the learning rate rises for 50 epochs"),
    # Network
    "nnUNetTrainerBN": (DEFAULT, {"network": {"normalization": "batch"}}, "batch normalization"),
    "nnUNetTrainerNoDeepSupervision": (DEFAULT, {"deepSupervision": False}, "no deep supervision"),
    **PRIMUS,
    **FINE_TUNING,
    **PRETRAINED,
}
