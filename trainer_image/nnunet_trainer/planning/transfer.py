"""Plans of one dataset for another (nnUNetv2_move_plans_between_datasets), with what it left unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nnunet_trainer.contract.faults import BadConfiguration
from nnunet_trainer.dataset.description import channel_names

from .planners.normalization_rules import recomputed
from .plans import Plans, plugins, preprocessing_steps
from .plans.component_entries import name_of
from .plans.names import MASKED, NORMALIZATION
from .plans.normalization_schemes import Scheme, shown
from .plans.patch import merge
from .plans.validate import validate

Policy = Literal["Transfer", "Recompute"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the compatibility report. `verdict`: same, transferred, recomputed, differs or incompatible."""

    field: str
    source: str
    target: str
    verdict: str

    def __str__(self) -> str:
        return f"{self.field}: {self.source} → {self.target}: {self.verdict}"

    def as_dict(self) -> dict[str, str]:
        """For reports."""
        return asdict(self)


def transfer(
    plans: Mapping[str, Any],
    *,
    dataset_name: str,
    dataset_json: Mapping[str, Any],
    reader: str,
    plans_name: str | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    source_dataset_json: Mapping[str, Any] | None = None,
    normalization: Policy = "Transfer",
    intensity_properties: Policy = "Transfer",
    on_mismatch: Literal["Warn", "Fail"] = "Warn",
    patch: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Comparison]]:
    """Make plans fit another dataset.

    As in nnU-Net, network, patch, batch, spacing, normalization and CT statistics are taken over; name, reader and data
    identifiers become the target's. What plans of more channels say of those that the target lacks stays, and is read by nobody.

    Args:
        plans: of the source.
        dataset_name: the target's DatasetXXX_Name.
        dataset_json: the target's.
        reader: the target's image reader.
        plans_name: of the result; the source's own when None.
        fingerprint: the target's; needed to recompute, and for the report's spacings.
        source_dataset_json: for the report's channels and labels.
        normalization: Recompute takes schemes and masks from the target's channels.
        intensity_properties: Recompute takes them from the target's fingerprint.
        on_mismatch: Fail refuses what differs; Warn goes on where it can work.
        patch: merged into the result.

    Returns:
        the new plans, and the compatibility report.

    Raises:
        BadConfiguration: a plug-in that the plans need is missing or another, what cannot work (fewer channels than the target
            has), what differs with Fail, a patch that breaks the plans.
    """
    source = Plans(dict(plans))
    if "Recompute" in (normalization, intensity_properties) and fingerprint is None:
        raise BadConfiguration("MissingFingerprint", "To recompute, the transfer needs the fingerprint of the target.")
    plugins.require(plans, plugins.FOR_DATA)
    content = deepcopy(dict(plans))
    content["dataset_name"] = dataset_name
    old_name, new_name = source.name, plans_name or source.name
    if new_name != old_name:
        for configuration in content["configurations"].values():
            if "data_identifier" in configuration:
                configuration["data_identifier"] = _renamed(configuration["data_identifier"], old_name, new_name)
    content["image_reader_writer"] = reader
    content["plans_name"] = new_name
    report = [*_compare_datasets(source, source_dataset_json, dataset_json, reader, normalization)]

    planned = recomputed(content, fingerprint, dataset_json) if fingerprint is not None else None
    if normalization == "Recompute" and planned is not None:
        for configuration in content["configurations"].values():
            if "normalization_schemes" in configuration:
                configuration["normalization_schemes"], configuration["use_mask_for_norm"] = map(list, planned)
    if intensity_properties == "Recompute" and fingerprint is not None:
        content.pop("foreground_intensity_properties_by_modality", None)
        found = fingerprint["foreground_intensity_properties_per_channel"]
        content["foreground_intensity_properties_per_channel"] = {str(c): dict(p) for c, p in found.items()}
        preprocessing_steps.refreshed(content, fingerprint)
        kept = preprocessing_steps.kept(content, fingerprint)
        report += [Comparison(what, "as in the plans", "others in its fingerprint", "transferred") for what in kept]
    if lacking := _channels_without_intensities(content, len(channel_names(dict(dataset_json)))):
        report.append(Comparison("intensities", "of fewer channels", f"CT in channel {', '.join(lacking)}", "incompatible"))
    report += _compare_normalization(source, dataset_json, planned, normalization)
    report += _compare_intensities(source, fingerprint, intensity_properties)
    report += _compare_spacing(source, fingerprint)

    wrong = [line for line in report if line.verdict == "incompatible" or (on_mismatch == "Fail" and line.verdict == "differs")]
    if wrong:
        hint = _hint(wrong, normalization, intensity_properties, on_mismatch)
        message = f"Plans {old_name} of {source.dataset_name} do not fit {dataset_name}: {'; '.join(map(str, wrong))}."
        raise BadConfiguration("IncompatiblePlans", message, hint=hint)
    if patch:
        content = merge(content, patch)
    validate(content, dataset_json, spare_channels=True)
    plugins.record(content, ())
    return content, report


def _hint(wrong: list[Comparison], normalization: Policy, intensities: Policy, on_mismatch: str) -> str:
    """What would make the transfer possible."""
    impossible = {line.field for line in wrong if line.verdict == "incompatible"}
    ways = []
    if "channels" in impossible and normalization == "Transfer":
        ways.append("set normalization: Recompute and intensityProperties: Recompute (first-layer weights will not fit)")
    if "intensities" in impossible and intensities == "Transfer":
        ways.append("set intensityProperties: Recompute")
    if not impossible and on_mismatch == "Fail":
        ways.append("set onMismatch: Warn")
    return ", or ".join(["Choose plans of a dataset that fits", *ways]) + "."


def _channels_without_intensities(content: Mapping[str, Any], channels: int) -> list[str]:
    """Channels whose CT normalization has no statistics to work with."""
    plans = Plans(dict(content))
    known = plans.foreground_intensity_properties
    schemes = _schemes(plans)
    return [str(c) for c, scheme in enumerate(schemes[:channels]) if name_of(scheme) == "CTNormalization" and not known.get(str(c))]


def _renamed(identifier: str, old: str, new: str) -> str:
    return new + identifier[len(old) :] if identifier.startswith(old) else f"{new}_{identifier}"


def _line(field: str, source: Any, target: Any, otherwise: str) -> Comparison:
    return Comparison(field, str(source), str(target), "same" if source == target else otherwise)


def _compare_datasets(
    source: Plans, source_json: Mapping[str, Any] | None, target_json: Mapping[str, Any], reader: str, normalization: Policy
) -> list[Comparison]:
    names = list(channel_names(dict(target_json)).values())
    count = len(_schemes(source))
    # A network is built for as many channels as its dataset has. What plans hold a channel is recomputed, or there for all of them.
    works = count > len(names) or normalization == "Recompute"
    lines = [_line("channels", count, len(names), "differs" if works else "incompatible")]
    if source_json is not None:
        before = list(channel_names(dict(source_json)).values())
        lines.append(_line("modality", ", ".join(map(str, before)), ", ".join(map(str, names)), "differs"))
        lines.append(_line("labels", _labels(source_json), _labels(target_json), "differs"))
    lines.append(_line("reader", source.image_reader_writer, reader, "recomputed"))
    return lines


def _compare_normalization(
    source: Plans, target_json: Mapping[str, Any], planned: tuple[list[str], list[bool]] | None, policy: Policy
) -> list[Comparison]:
    verdict = "recomputed" if policy == "Recompute" else "differs"
    own = [NORMALIZATION.get(str(name).casefold(), MASKED) for name in channel_names(dict(target_json)).values()]
    lines = [_line("normalization", ", ".join(map(shown, _schemes(source))), ", ".join(own), verdict)]
    if planned is not None:
        masks = next((c["use_mask_for_norm"] for c in source.content["configurations"].values() if "use_mask_for_norm" in c), [])
        lines.append(_line("nonzero mask", masks, planned[1], verdict))
    return lines


def _compare_intensities(source: Plans, fingerprint: Mapping[str, Any] | None, policy: Policy) -> list[Comparison]:
    """Only CT normalization reads them."""
    if fingerprint is None or "CTNormalization" not in map(name_of, _schemes(source)):
        return []
    lines = []
    for channel, own in fingerprint["foreground_intensity_properties_per_channel"].items():
        before = source.foreground_intensity_properties.get(str(channel), {})
        shown = [f"mean {p.get('mean', float('nan')):.4g}, std {p.get('std', float('nan')):.4g}" for p in (before, own)]
        verdict = "recomputed" if policy == "Recompute" else "transferred"
        lines.append(_line(f"intensities of channel {channel}", shown[0], shown[1], verdict))
    return lines


def _compare_spacing(source: Plans, fingerprint: Mapping[str, Any] | None) -> list[Comparison]:
    before = source.content.get("original_median_spacing_after_transp")
    if fingerprint is None or before is None:
        return []
    import numpy as np

    own = np.median(np.array(fingerprint["spacings"], float), 0)[source.transpose_forward]
    if np.allclose(before, own, rtol=1e-5):
        return [Comparison("median spacing", _millimetres(before), _millimetres(own), "same")]
    return [Comparison("median spacing", _millimetres(before), _millimetres(own), "transferred")]


def _schemes(source: Plans) -> list[Scheme]:
    for configuration in source.content["configurations"].values():
        if "normalization_schemes" in configuration:
            return list(configuration["normalization_schemes"])
    raise BadConfiguration("InvalidPlans", f"Plans {source.name}: no configuration has normalization_schemes.")


def _labels(dataset_json: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in dataset_json["labels"].items())


def _millimetres(spacing: Any) -> str:
    return "×".join(f"{s:.4g}" for s in spacing) + " mm"
