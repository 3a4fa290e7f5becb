"""nnU-Net's trainers for networks that were pretrained elsewhere: how they train, the plans say which network.

They came after the release 2.8.1. What of the weights is loaded and how it is adapted is the run's own choice (`spec.pretrained`).
Left out: PretrainedTrainer_adam__nomirroring, whose name cannot be part of a results folder's, and a debugging one.
"""

from __future__ import annotations

from typing import Any

from .rows import DEFAULT, Preset, rate

_FIRST, _DYNAMIC, _PRIMUS, _PRIMUSX = (
    "PretrainedTrainer",
    "DynamicPretrainedTrainer",
    "PretrainedTrainer_Primus",
    "PretrainedTrainer_Primusx",
)
_ADAM = {"optimizer": {"name": "AdamW", "learningRate": 1e-4, "beta1": 0.9, "beta2": 0.98}}


def _decayed(changes: dict[str, Any]) -> dict[str, Any]:
    return {"optimizer": {**changes["optimizer"], "weightDecay": 5e-2}}


def _shorter(base: str, epochs: int, warm_up: int, name: str | None = None, **changes: Any) -> dict[str, Preset]:
    about = f"{base} in {epochs} epochs, {warm_up} of them rising"
    return {name or f"{base}_{epochs}ep": (base, {"epochs": epochs, "warmUpEpochs": warm_up, **changes}, about)}


def _unmirrored(*bases: str) -> dict[str, Preset]:
    return {f"{base}_nomirroring": (base, {"augmentation": "noMirroring"}, f"{base} without mirroring") for base in bases}


PRETRAINED: dict[str, Preset] = {
    _FIRST: (
        DEFAULT,
        {"warmUpEpochs": 50, **rate(1e-3), "batchSize": 2, "deepSupervision": False},
        "nnU-Net's for pretrained encoders: learning rate 1e-3 after 50 rising epochs, batch 2, no deep supervision",
    ),
    **_shorter(_FIRST, 150, 15),
    **_shorter(_FIRST, 300, 15),
    f"{_FIRST}_smallerlr": (_FIRST, _decayed(rate(3e-5)), f"{_FIRST} with learning rate 3e-5 and weight decay 5e-2"),
    _PRIMUS: (
        _FIRST,
        _decayed(_ADAM) | {"gradientClip": 1.0},
        "nnU-Net's for pretrained transformers: AdamW, learning rate 1e-4 after 50 rising epochs, batch 2",
    ),
    **_shorter(_PRIMUS, 150, 15),
    **_shorter(_PRIMUS, 150, 15, f"{_FIRST}_adam_150ep"),
    _PRIMUSX: (_PRIMUS, {}, f"the same as {_PRIMUS}, for transformers of any size"),
    **_shorter(_PRIMUSX, 30, 3),
    **_shorter(_PRIMUSX, 150, 15),
    **_shorter(_PRIMUSX, 300, 15),
    **_shorter(_PRIMUSX, 150, 50, f"{_PRIMUSX}_150ep_lr3e4", **rate(3e-4)),
    f"{_PRIMUSX}_smallerlr": (_PRIMUSX, rate(3e-5), f"{_PRIMUSX} with learning rate 3e-5"),
    _DYNAMIC: (_FIRST, {}, f"the same as {_FIRST}; networks that differ: spec.pretrained.mismatched: Skip"),
    **_shorter(_DYNAMIC, 150, 15, f"{_DYNAMIC}_adam_150ep", **_ADAM),
    **_unmirrored(
        _FIRST,
        f"{_FIRST}_150ep",
        f"{_FIRST}_adam_150ep",
        _PRIMUSX,
        f"{_PRIMUSX}_150ep",
        _DYNAMIC,
        f"{_DYNAMIC}_adam_150ep",
    ),
}
