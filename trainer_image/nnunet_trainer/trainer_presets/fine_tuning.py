"""Trainers for fine-tuning, that is for runs that start from pretrained weights. nnU-Net's own documentation says to write them."""

from __future__ import annotations

from .rows import DEFAULT, Preset, rate

_FINE_TUNE = f"{DEFAULT}FineTune"
_ENCODER = ["encoder.*"]
_ALL_BUT_HEADS = ["encoder.*", "decoder.stages.*", "decoder.transpconvs.*"]

FINE_TUNING: dict[str, Preset] = {
    _FINE_TUNE: (
        DEFAULT,
        {"epochs": 250, "warmUpEpochs": 50, **rate(1e-3)},
        "fine-tuning: 250 epochs, the learning rate rises to 1e-3 for 50 of them",
    ),
    f"{_FINE_TUNE}_50epochs": (_FINE_TUNE, {"epochs": 50, "warmUpEpochs": 10}, "fine-tuning: 50 epochs, 10 of them rising"),
    f"{_FINE_TUNE}_100epochs": (_FINE_TUNE, {"epochs": 100, "warmUpEpochs": 20}, "fine-tuning: 100 epochs, 20 of them rising"),
    f"{_FINE_TUNE}_frozenEncoder10": (
        _FINE_TUNE,
        {"freezing": {"patterns": _ENCODER, "untilEpoch": 10}},
        "fine-tuning: the encoder is frozen for the first 10 epochs",
    ),
    f"{_FINE_TUNE}_headsFirst10": (
        _FINE_TUNE,
        {"freezing": {"patterns": _ALL_BUT_HEADS, "untilEpoch": 10}},
        "fine-tuning: the segmentation layers alone train in the first 10 epochs",
    ),
    f"{_FINE_TUNE}_decoderOnly": (_FINE_TUNE, {"freezing": {"patterns": _ENCODER}}, "fine-tuning: the encoder stays as it is"),
    f"{_FINE_TUNE}_headsOnly": (
        DEFAULT,
        {"epochs": 50, "freezing": {"patterns": _ALL_BUT_HEADS}},
        "fine-tuning: the segmentation layers alone train, 50 epochs at the default's learning rate",
    ),
    f"{_FINE_TUNE}_layerDecay08": (
        _FINE_TUNE,
        {"layerDecay": 0.8},
        "fine-tuning: each layer nearer the input learns at 0.8 times the rate of the next",
    ),
}
