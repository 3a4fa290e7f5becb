"""Dataset: raw images, verified and fingerprinted."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from nnunet_trainer.contract.work_order import DatasetOrder, default
from pydantic import Field

from .base import FreeForm, Resource, Rule, SpecModel, StatusModel, fixed
from .common import ArtifactStatus, CommonSpec, CommonStatus, WorkStatus
from .fields.names import Component, DatasetName
from .fields.plugins import Plugins
from .fields.uris import SourceSpec

_ANOTHER = "create another Dataset"


class FingerprintSpec(SpecModel):
    """How the fingerprint is extracted."""

    extractor: Component = default(DatasetOrder, "extractor")
    parameters: Annotated[FreeForm | None, Field(description="Of the extractor, by name.")] = None


class SplitsSpec(SpecModel):
    """How cases are split into folds."""

    group_by: Annotated[
        str | None,
        Field(min_length=1, max_length=256, description="Regular expression on case names; its group names the patient."),
    ] = None


class DatasetSpec(CommonSpec):
    """Which data, and where it lies."""

    rules: ClassVar[tuple[Rule, ...]] = (
        fixed("name", _ANOTHER),
        fixed("fingerprint", _ANOTHER),
        fixed("splits", _ANOTHER, optional=True),
        fixed("plugins", _ANOTHER, optional=True),
    )
    name: Annotated[DatasetName, Field(description="nnU-Net's folder name: DatasetXXX_Name.")]
    source: SourceSpec
    fingerprint: FingerprintSpec = FingerprintSpec()
    splits: SplitsSpec | None = None
    plugins: Plugins = None


class FingerprintStatus(StatusModel):
    """What the fingerprint says, in short. Axes are z, y, x."""

    median_spacing: Annotated[list[float] | None, Field(max_length=8)] = None
    median_shape: Annotated[list[float] | None, Field(max_length=8)] = None
    size_bytes: Annotated[int | None, Field(ge=0)] = None
    reader: Annotated[str | None, Field(max_length=128)] = None
    file_ending: Annotated[str | None, Field(max_length=32)] = None


ShortText = Annotated[str, Field(max_length=256)]


class DatasetStatus(CommonStatus):
    """What is known of the data."""

    artifact: Annotated[ArtifactStatus | None, Field(description="Manifest, dataset.json, fingerprint and splits.")] = None
    cases: Annotated[int | None, Field(ge=0)] = None
    channels: Annotated[dict[str, ShortText] | None, Field(max_length=64)] = None
    labels: Annotated[
        dict[str, ShortText] | None, Field(max_length=512, description="Value of each label; of a region, its values.")
    ] = None
    fingerprint: FingerprintStatus | None = None
    warnings: Annotated[
        list[Annotated[str, Field(max_length=1024)]] | None,
        Field(max_length=16, description="What is odd about the data, although it can be trained on; the report has all of it."),
    ] = None
    report: Annotated[str | None, Field(max_length=2048, description="Where the whole report stands.")] = None
    work: WorkStatus | None = None


class Dataset(Resource):
    """Raw images, verified and fingerprinted."""

    plural: ClassVar[str] = "datasets"
    short_name: ClassVar[str] = "nnds"

    kind: Literal["Dataset"] = "Dataset"
    spec: DatasetSpec
    status: DatasetStatus = Field(default_factory=DatasetStatus)
