"""Every trainer of nnU-Net, of version 2 and of version 1, is a preset of the same name, or there is a reason why not."""

import importlib
import inspect
import pkgutil

import pytest
from nnunet_trainer.training.recipes import presets

NO_PRESET_V2 = {
    "AbstractPrimus": "abstract: the base of its trainers of Primus",
    "_Primus_S_96_BS1": "private: a patch of 96³ and batch 1, which belong into the plans",
    "_Primus_B_96_BS1": "private, as _Primus_S_96_BS1",
    "_Primus_M_96_BS1": "private, as _Primus_S_96_BS1",
    "_Primus_L_48_BS1": "private: a patch of 48³ and batch 1",
}

V1_NAMES = """
nnUNetTrainerV2 _fp32 _fp16 _copy1 _copy2 _copy3 _copy4 _DP _DDP
_BN_copy1 _BN_copy2 _BN_copy3 _BN_copy4 _Adam_copy1 _Adam_copy2 _Adam_copy3 _Adam_copy4
_Loss_TopK10_copy1 _Loss_TopK10_copy2 _Loss_TopK10_copy3 _Loss_TopK10_copy4
_noDataAugmentation_copy1 _noDataAugmentation_copy2 _noDataAugmentation_copy3 _noDataAugmentation_copy4
_Loss_CE _Loss_Dice _Loss_DicewithBG _Loss_Dice_LR1en3 _Loss_DicewithBG_LR1en3 _Loss_Dice_squared _Loss_DiceCE_noSmooth _Loss_CEGDL
_Loss_TopK10 _Loss_DiceTopK10 _Loss_MCC _Loss_MCCnoBG _SegLoss_Focal _ForceBD _ForceSD _graduallyTransitionFromCEToDice
nnUNetTrainerCE
_Adam _Adam_nnUNetTrainerlr _Adam_ReduceOnPlateau _SGD_ReduceOnPlateau _Ranger_lr1en2 _Ranger_lr3en3 _Ranger_lr3en4
_SGD_lr1en1 _SGD_lr1en3 _momentum09 _momentum095 _momentum098 _momentum09in2D _reduceMomentumDuringTraining
_SGD_fixedSchedule _SGD_fixedSchedule2 _cycleAtEnd _cycleAtEnd2 _warmup
_noDataAugmentation _noMirroring _independentScalePerAxis _DA2 _insaneDA _DA3 _DA5 _DA3_BN nnUNetTrainerNoDA _resample33
_BN _GN _FRN _NoNormalization _NoNormalization_lr1en3 _ReLU _ReLU_biasInSegOutput _ReLU_convReLUIN _LReLU_slope_2en1
_lReLU_biasInSegOutput _lReLU_convReLUIN _GeLU _Mish _allConv3x3 _3ConvPerStage _3ConvPerStageSameFilters
_noDeepSupervision _softDeepSupervision _ResencUNet _ResencUNet_DA3 _ResencUNet_DA3_BN _ResencUNet_SimonsInit
_ResencUNet_SimonsInit_DA5
CascadeFullRes CascadeFullRes_noConnComp CascadeFullRes_smallerBinStrel CascadeFullRes_EducatedGuess CascadeFullRes_EducatedGuess2
CascadeFullRes_EducatedGuess3 CascadeFullRes_lowerLR CascadeFullRes_shorter CascadeFullRes_shorter_lowerLR
nnUNetTrainerCascadeFullRes
_MMS BraTSRegions BraTSRegions_Dice BraTSRegions_BN BraTSRegions_DA3_BN BraTSRegions_DA3 BraTSRegions_DA3_BD BraTSRegions_DA3_BN_BD
BraTSRegions_DA4_BN_BD BraTSRegions_DA4_BN BraTSRegions_DDP
_2epochs _5epochs _5epochs_noDS _5epochs_CEnoDS _5epochs_dummyLoadCEnoDS _5epochs_dummyLoad _2epochs_dummyLoad _DDP_5epochs
_DDP_5epochs_dummyLoad _fullEvals
"""


@pytest.mark.reference
def test_every_trainer_of_the_wheel():
    import nnunetv2.training.nnUNetTrainer as package

    names = set()
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        names |= {name for name, item in vars(module).items() if inspect.isclass(item) and item.__module__ == found.name}
    assert len(names) > 70
    assert names - set(presets.PRESETS) == set(NO_PRESET_V2)


def test_every_trainer_of_version_1():
    listed = V1_NAMES.split()
    names = {name if name.startswith("nnUNetTrainer") else f"nnUNetTrainerV2{name}" for name in listed}
    assert len(names) == len(listed)
    assert not names - set(presets.PRESETS)


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_each_says_what_it_is_for(name):
    base, changes, about = presets.PRESETS[name]
    assert about
    assert base in presets.PRESETS or name == presets.DEFAULT
    # One that changes nothing says what it is the same as, or why.
    assert changes or name == presets.DEFAULT or len(about) > 15
