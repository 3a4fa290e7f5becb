"""Version 1's trainers of a cascade's second stage, as `v2`. Its removal of components removed none; here it does."""

from __future__ import annotations

from typing import Any

from .rows import V1_DEFAULT, Preset, rate

NAME = f"{V1_DEFAULT}CascadeFullRes"
REMOVES = "components are really removed, which v1 failed to do"


def _changed(**numbers: Any) -> dict[str, Any]:
    return {"previousStage": numbers}


_GUESS = {"operatorProbability": 0.5, "operatorLabelProbability": 0.5, "radius": [1, 5]}

CASCADE: dict[str, Preset] = {
    NAME: (
        V1_DEFAULT,
        _changed(operatorLabelProbability=1.0, removalLabelProbability=1.0),
        f"v1: every label of the previous stage is changed in 40 % of samples, loses a component in 20 %; {REMOVES}",
    ),
    f"{NAME}_noConnComp": (NAME, _changed(removalProbability=0.0), "v1: cascade, no component is removed"),
    f"{NAME}_smallerBinStrel": (NAME, _changed(radius=[1, 5]), f"v1: cascade, balls of 1 to 5 voxels, not 8; {REMOVES}"),
    f"{NAME}_EducatedGuess": (
        NAME,
        _changed(**_GUESS, removalLimit=0.1),
        f"v1: cascade, balls of 1 to 5 voxels on half of the labels in half of the samples, components below 10 %; {REMOVES}",
    ),
    f"{NAME}_EducatedGuess2": (
        NAME,
        _changed(**_GUESS, removalProbability=0.0),
        "v1: cascade, balls of 1 to 5 voxels on half of the labels in half of the samples, no component is removed",
    ),
    f"{NAME}_EducatedGuess3": (
        NAME,
        _changed(operatorProbability=1.0, operatorLabelProbability=0.33, radius=[1, 5], removalProbability=0.0),
        "v1: cascade, balls of 1 to 5 voxels on a third of the labels in every sample, no component is removed",
    ),
    f"{NAME}_lowerLR": (NAME, rate(1e-3), f"v1: cascade, learning rate 1e-3; {REMOVES}"),
    f"{NAME}_shorter": (NAME, {"epochs": 500}, f"v1: cascade, 500 epochs; {REMOVES}"),
    f"{NAME}_shorter_lowerLR": (NAME, {"epochs": 500} | rate(1e-3), f"v1: cascade, 500 epochs, learning rate 1e-3; {REMOVES}"),
}
