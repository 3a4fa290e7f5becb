"""plans.json: reading it in every format that nnU-Net wrote, inheritance, patches."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import BadConfiguration, unknown_name
from nnunet_trainer.dataset.description import channel_names
from nnunet_trainer.dataset.labels import LabelManager

from ..gpu_memory import CALIBRATION, estimate_gb
from . import old_format, plugins, preprocessing_steps
from .component_entries import name_of
from .names import STEPWISE, WITHOUT_PROPERTIES
from .normalization_schemes import Scheme

PREPROCESSING_FIELDS = (
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)

ONE_NAME = "expected a name: of files and folders are made of it, so no slash, backslash or control character, not . or .."


class Configuration:
    """One configuration of a plans file, with what it inherits.

    Attributes:
        name: as in the plans.
        content: all fields, inherited ones too, in the current format.
    """

    def __init__(self, name: str, content: dict[str, Any], plans: Plans) -> None:
        self.name = name
        self.content = content
        self.plans = plans

    def __getattr__(self, field: str) -> Any:
        # Only fields without a property below come here.
        if field.startswith("__") or field == "content":
            raise AttributeError(field)
        return self._field(field)

    def _field(self, field: str) -> Any:
        if field not in self.content:
            raise BadConfiguration("InvalidPlans", f"Plans {self.plans.name}: configurations.{self.name}.{field} is missing.")
        return self.content[field]

    @property
    def data_identifier(self) -> str:
        """The folder of the preprocessed data.

        Raises:
            BadConfiguration: it is missing, or no name of one folder.
        """
        identifier = self._field("data_identifier")
        if not keys.is_one_name(identifier):
            where = f"Plans {self.plans.name}: configurations.{self.name}.data_identifier"
            raise BadConfiguration("InvalidPlans", f"{where} is {identifier!r}, {ONE_NAME}.")
        return str(identifier)

    @property
    def patch_size(self) -> list[int]:
        """Voxels along (z,) y, x."""
        return [int(size) for size in self._field("patch_size")]

    @property
    def batch_size(self) -> int:
        """Patches a step, over all GPUs."""
        return int(self._field("batch_size"))

    @property
    def batch_dice(self) -> bool:
        """Whether Dice is taken over the whole batch, not for each patch."""
        return bool(self.content.get("batch_dice", False))

    @property
    def spacing(self) -> list[float]:
        """Millimetres along the transposed (z,) y, x; two numbers mean that slices are not resampled."""
        return [float(s) for s in self._field("spacing")]

    @property
    def median_image_size_in_voxels(self) -> list[float]:
        """Median shape at this spacing."""
        return list(self._field("median_image_size_in_voxels"))

    @property
    def architecture(self) -> dict[str, Any]:
        """network_class_name, arch_kwargs, _kw_requires_import."""
        return dict(self._field("architecture"))

    @property
    def normalization_schemes(self) -> list[Scheme]:
        """One a channel: its name, or an object of its name and parameters."""
        return list(self._field("normalization_schemes"))

    @property
    def use_mask_for_norm(self) -> list[bool]:
        """One value a channel."""
        return list(self._field("use_mask_for_norm"))

    @property
    def previous_stage(self) -> str | None:
        """The configuration whose segmentation is an input of this one (cascade)."""
        return self.content.get("previous_stage")

    @property
    def next_stages(self) -> list[str]:
        """The configurations that take this one's segmentation as an input."""
        following = self.content.get("next_stage")
        return [following] if isinstance(following, str) else list(following or [])

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self._field("patch_size"))

    @property
    def preprocessable(self) -> bool:
        """Whether data can be made for it: every field that decides them is there."""
        return all(field in self.content for field in PREPROCESSING_FIELDS)

    def preprocessing_fields(self) -> dict[str, Any]:
        """All that decides the preprocessed voxels and class locations, apart from the dataset itself.

        Two configurations with equal fields share their data, whatever their patch, batch or network.
        """
        fields = {field: self._field(field) for field in PREPROCESSING_FIELDS}
        fields["transpose_forward"] = self.plans.transpose_forward
        fields["image_reader_writer"] = self.plans.image_reader_writer
        properties, stepwise = self.plans.foreground_intensity_properties, self.content["preprocessor_name"] == STEPWISE
        if stepwise:
            fields[preprocessing_steps.FIELD] = preprocessing_steps.without_origins(self._field(preprocessing_steps.FIELD))
        fields["intensity_properties"] = {
            str(c): properties.get(str(c))
            for c, scheme in enumerate(self.normalization_schemes)
            if stepwise or name_of(scheme) not in WITHOUT_PROPERTIES  # a step may read them
        }
        if digests := plugins.data_digests(self.plans.content, self.content):
            fields["plugins"] = digests
        return deepcopy(fields)

    def num_input_channels(self, dataset_json: dict[str, Any]) -> int:
        """Image channels, and one for each foreground label of the previous stage."""
        count = len(channel_names(dataset_json))
        return count + (len(LabelManager(dataset_json).foreground_labels) if self.previous_stage else 0)

    @cached_property
    def estimated_gpu_memory_gb(self) -> float | None:
        """The planner's own estimate for this patch and batch; None for a network that it does not know."""
        planner = str(self.plans.content.get("experiment_planner_used"))
        return estimate_gb(self.patch_size, self.batch_size, self.architecture, planner, self.plans.content.get(CALIBRATION))

    @property
    def network_digest(self) -> str:
        """Changes when, and only when, the network does."""
        return keys.short(keys.digest("network", self.architecture))


class Plans:
    """A plans.json.

    Args:
        content: its content; an old format is brought to the current one, the argument stays as it is.

    Raises:
        BadConfiguration: a document that is no plans file; the message names the field.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        if not isinstance(content, dict) or not isinstance(content.get("configurations"), dict):
            raise BadConfiguration("InvalidPlans", "This is no plans file: it has no field configurations.")
        self.content = deepcopy(content)
        for field in ("dataset_name", "plans_name", "transpose_forward", "transpose_backward"):
            if field not in content:
                raise BadConfiguration("InvalidPlans", f"Plans {content.get('plans_name', '')}: field {field} is missing.")
        for field in ("plans_name", "dataset_name"):
            if not keys.is_one_name(content[field]):
                raise BadConfiguration("InvalidPlans", f"This plans file's {field} is {content[field]!r}, {ONE_NAME}.")
        for name, configuration in self.content["configurations"].items():
            if not keys.is_one_name(name):
                raise BadConfiguration("InvalidPlans", f"Plans {content['plans_name']}: configurations has {name!r}, {ONE_NAME}.")
            where = f"Plans {content['plans_name']}: configurations.{name}"
            if not isinstance(configuration, dict):
                raise BadConfiguration("InvalidPlans", f"{where} is {configuration!r}, expected an object.")
            parent = configuration.get("inherits_from")
            if parent is not None and not isinstance(parent, str):
                raise BadConfiguration("InvalidPlans", f"{where}.inherits_from is {parent!r}, expected a configuration's name.")
            old_format.modernize(configuration)

    @classmethod
    def load(cls, path: Path) -> Plans:
        """Read a plans file.

        Raises:
            BadConfiguration: missing, not JSON, or no plans.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise BadConfiguration("InvalidPlans", f"{path} cannot be read: {error.strerror}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadConfiguration("InvalidPlans", f"{path}: not JSON: {error}.") from error
        try:
            return cls(content)
        except BadConfiguration as fault:
            fault.message = f"{path}: {fault.message}"
            raise

    @property
    def name(self) -> str:
        """plans_name."""
        return str(self.content["plans_name"])

    @property
    def dataset_name(self) -> str:
        """Of the dataset that these plans are for."""
        return str(self.content["dataset_name"])

    @property
    def transpose_forward(self) -> list[int]:
        """The axis of the file that becomes axis i of the arrays."""
        return [int(axis) for axis in self.content["transpose_forward"]]

    @property
    def transpose_backward(self) -> list[int]:
        """The inverse of transpose_forward."""
        return [int(axis) for axis in self.content["transpose_backward"]]

    @property
    def image_reader_writer(self) -> str:
        """The reader's name."""
        return str(self.content.get("image_reader_writer", "SimpleITKIO"))

    @property
    def foreground_intensity_properties(self) -> dict[str, dict[str, float]]:
        """Channel index to mean, std, percentiles…; under their old name too."""
        old = self.content.get("foreground_intensity_properties_by_modality", {})
        return dict(self.content.get("foreground_intensity_properties_per_channel", old))

    @property
    def configuration_names(self) -> list[str]:
        """In the file's order."""
        return list(self.content["configurations"])

    def configuration(self, name: str) -> Configuration:
        """A configuration with all that it inherits.

        Raises:
            BadConfiguration: no such configuration, or it inherits from nowhere or in a circle.
        """
        return Configuration(name, self._resolved(name, ()), self)

    def _resolved(self, name: str, children: tuple[str, ...]) -> dict[str, Any]:
        configurations = self.content["configurations"]
        if name in children:
            circle = " → ".join([*children[children.index(name) :], name])
            raise BadConfiguration("InvalidPlans", f"Plans {self.name}: configurations inherit in a circle: {circle}.")
        if name not in configurations:
            message = unknown_name("configuration", name, configurations)
            if children:
                raise BadConfiguration(
                    "InvalidPlans", f"Plans {self.name}: configurations.{children[-1]}.inherits_from is {name!r}. {message}"
                )
            raise BadConfiguration("UnknownConfiguration", f"Plans {self.name}: {message}")
        own = deepcopy(configurations[name])
        if own.get("inherits_from") is None:
            return own
        return {**self._resolved(own["inherits_from"], (*children, name)), **own}
