"""Where nnU-Net keeps a dataset, its plans and its models; which dataset an id is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_trainer.contract.faults import BadUsage, unknown_name

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
"""nnU-Net's environment variables."""

NO_PLANS = ("dataset", "dataset_fingerprint", "splits_final")
"""JSON files beside a dataset's plans."""


@dataclass(frozen=True)
class DatasetFolders:
    """A dataset in nnU-Net's folders.

    Attributes:
        said: what the person wrote after -d, for the commands in messages.
        name: DatasetXXX_Name.
    """

    said: str
    name: str

    @classmethod
    def of(cls, said: str, needs: Sequence[str]) -> DatasetFolders:
        """The dataset that an id or a name is, as nnU-Net looks for it: by id in all of the folders.

        Args:
            said: "4", "004" or "Dataset004_Hippocampus".
            needs: the variables without which the command cannot work.

        Raises:
            BadUsage: a variable is not set; there is no such dataset, or more than one.
        """
        if missing := [variable for variable in needs if not os.environ.get(variable)]:
            are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
            raise BadUsage(
                "VariableNotSet",
                f"-d {said} is looked for in nnU-Net's folders, but {' and '.join(missing)} {are} not set.",
                hint=f"Set {them}, as in export {missing[0]}=/…/{missing[0]}, or name paths in the place of -d.",
            )
        places = _datasets()
        if said.startswith("Dataset"):
            if said not in places:
                raise BadUsage("UnknownDataset", f"{unknown_name('dataset', said, places)} {_looked_in()}")
            return cls(said, said)
        if not re.fullmatch(r"[0-9]{1,9}", said):
            raise BadUsage("UnknownDataset", f"-d is {said!r}; a dataset's id (4) or name (Dataset004_Hippocampus) was expected.")
        found = {name: where for name, where in places.items() if re.match(f"Dataset{int(said):03d}(?![0-9])", name)}
        if not found:
            known = ", ".join(sorted(places)) or "none"
            raise BadUsage("UnknownDataset", f"There is no dataset with the id {int(said)}. Known: {known}. {_looked_in()}")
        if len(found) > 1:
            listed = ", ".join(f"{name} (in {' and '.join(where)})" for name, where in sorted(found.items()))
            raise BadUsage(
                "AmbiguousDataset",
                f"The id {int(said)} is of {len(found)} datasets: {listed}.",
                hint=f"Say the name, as in -d {min(found)}; nnU-Net itself wants one name an id.",
            )
        return cls(said, next(iter(found)))

    @property
    def raw(self) -> Path:
        """`nnUNet_raw/DatasetXXX_Name`."""
        return Path(os.environ[RAW]) / self.name

    @property
    def preprocessed(self) -> Path:
        """`nnUNet_preprocessed/DatasetXXX_Name`."""
        return Path(os.environ[PREPROCESSED]) / self.name

    @property
    def results(self) -> Path:
        """nnUNet_results: folders of datasets."""
        return Path(os.environ[RESULTS])

    @property
    def fingerprint(self) -> Path:
        """Where the dataset's fingerprint lies."""
        return self.preprocessed / "dataset_fingerprint.json"

    def existing_raw(self) -> Path:
        """The raw dataset's folder.

        Raises:
            BadUsage: it is not there.
        """
        if not self.raw.is_dir():
            raise BadUsage("UnknownDataset", f"{self.name} is not in {RAW}: there is no folder {self.raw}.")
        return self.raw

    def existing_fingerprint(self) -> Path:
        """The fingerprint's file.

        Raises:
            BadUsage: it is not there; the message says how it is made.
        """
        if not self.fingerprint.is_file():
            hint = f"Make it: nnunet-trainer fingerprint -d {self.said}"
            raise BadUsage("MissingFile", f"{self.name} has no fingerprint: there is no {self.fingerprint}.", hint=hint)
        return self.fingerprint

    def existing_plans(self, name: str) -> Path:
        """The file of plans.

        Raises:
            BadUsage: it is not there; the message says which are, and how they are made.
        """
        path = self.preprocessed / f"{name}.json"
        if path.is_file():
            return path
        there = sorted(file.stem for file in self.preprocessed.glob("*.json") if file.stem not in NO_PLANS)
        made = "" if name == "nnUNetPlans" else f" --plans-name {name}"
        raise BadUsage(
            "MissingFile",
            f"{self.name} has no plans {name}: there is no {path}. Plans there: {', '.join(there) or 'none'}.",
            hint=f"{'Say which with -p, or make' if there else 'Make'} them: nnunet-trainer plan -d {self.said}{made}",
        )

    def existing_data(self, identifier: str, configuration: str, plans: str) -> Path:
        """The folder of a configuration's preprocessed cases.

        Args:
            identifier: its name, the configuration's data_identifier.
            configuration: for the message.
            plans: for the message.

        Raises:
            BadUsage: it is not there; the message says how it is made.
        """
        folder = self.preprocessed / identifier
        if folder.is_dir():
            return folder
        raise BadUsage(
            "MissingPreprocessedData",
            f"{self.name} is not preprocessed for {configuration} of {plans}: there is no folder {folder}.",
            hint=f"Make it: nnunet-trainer preprocess -d {self.said} -c {configuration} -p {plans}",
        )

    def existing_model(self, trainer: str, plans: str, configuration: str) -> Path:
        """The folder of a trained model.

        Raises:
            BadUsage: it is not there; the message says which are, and how it is trained.
        """
        folder = self.results / self.name / f"{trainer}__{plans}__{configuration}"
        if folder.is_dir():
            return folder
        there = sorted(path.name for path in folder.parent.glob("*__*__*") if path.is_dir())
        raise BadUsage(
            "NotAModel",
            f"There is no model {folder}. Models of {self.name}: {', '.join(there) or 'none'}.",
            hint=f"{'Say which with -tr, -p and -c, or train' if there else 'Train'} it: "
            f"nnunet-trainer train -d {self.said} -c {configuration} -f 0 -tr {trainer} -p {plans}",
        )


def _datasets() -> dict[str, list[str]]:
    """Names of datasets, and the variables in whose folders each is."""
    found: dict[str, list[str]] = {}
    for variable in (RAW, PREPROCESSED, RESULTS):
        folder = os.environ.get(variable)
        for path in _folders(Path(folder)) if folder else ():
            found.setdefault(path.name, []).append(variable)
    return found


def _folders(folder: Path) -> Iterable[Path]:
    return [path for path in folder.glob("Dataset*") if path.is_dir()]


def _looked_in() -> str:
    said = [f"{variable}={os.environ.get(variable) or '(not set)'}" for variable in (RAW, PREPROCESSED, RESULTS)]
    return f"Looked in {', '.join(said)}."
