"""The names and defaults that plans may hold. `preprocessing` has what they stand for."""

NORMALIZATION = {
    "ct": "CTNormalization",
    "nonorm": "NoNormalization",
    "zscore": "ZScoreNormalization",
    "rescale_to_0_1": "RescaleTo01Normalization",
    "rgb_to_0_1": "RGBTo01Normalization",
}
"""Of a channel, casefolded, to the scheme; any other channel gets MASKED."""
SCHEMES = (*NORMALIZATION.values(), "CT2Normalization")
"""All schemes of this package."""
WITHOUT_PROPERTIES = frozenset(SCHEMES) - {"CTNormalization", "CT2Normalization"}
"""Those that do not read the dataset's foreground_intensity_properties_per_channel; a plug-in's may."""
MASKED = "ZScoreNormalization"
"""The only scheme that can leave what is outside the nonzero mask at zero."""
RESAMPLING = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")
STEPWISE = "StepwisePreprocessor"
"""The preprocessor of plans that name its steps. nnU-Net has none of this name, so that it refuses them and leaves no step out."""
PREPROCESSORS = ("DefaultPreprocessor", STEPWISE)
ANISOTROPY = 3
"""The worst spacing, in multiples of the least, from which on its axis is resampled on its own."""
