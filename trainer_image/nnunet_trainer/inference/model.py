"""A trained model: a `Trainer__Plans__Configuration` folder, ours or nnU-Net's, with one network a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_trainer.architecture import build, differing_weights
from nnunet_trainer.architecture.memory_format import channels_last_format
from nnunet_trainer.checkpoints import checkpoint as checkpoints
from nnunet_trainer.checkpoints.network import of_checkpoint, weights_digest
from nnunet_trainer.contract.faults import BadConfiguration, BadUsage
from nnunet_trainer.contract.precision import PrecisionName
from nnunet_trainer.dataset.description import read_json
from nnunet_trainer.dataset.labels import LabelManager
from nnunet_trainer.extensions import provenance
from nnunet_trainer.planning.plans import Configuration, Plans, plugins

from .large_images import Goal, goal, segment
from .precision import of_recipe
from .sliding_window import SlidingWindow, TilesHook, predict_logits, widest_features
from .tile_progress import summed


@dataclass(frozen=True, kw_only=True)
class Model:
    """Networks of one or more folds, whose logits are averaged."""

    plans: Plans
    configuration: Configuration
    dataset_json: dict[str, Any]
    labels: LabelManager
    networks: list[torch.nn.Module]
    folds: list[str]
    mirror_axes: tuple[int, ...]
    device: torch.device
    folder: Path | None = None
    precision: PrecisionName = "auto"
    together: bool = True
    """Whether all networks are on the device; else each is brought there when its turn comes."""

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        folds: Sequence[str] | None = None,
        checkpoint: str = checkpoints.FINAL,
        device: torch.device | str = "cpu",
        allow_pickle: bool = False,
    ) -> Model:
        """Load a model folder.

        Args:
            folder: holds plans.json, dataset.json and `fold_K/`.
            folds: "0" … or "all"; None: every numbered fold that has the checkpoint, else `all`.
            checkpoint: file name.
            device: where the networks go.
            allow_pickle: execute what the checkpoint contains.

        Raises:
            BadUsage: no model folder, or no such fold in it.
            BadData: a checkpoint that is missing or damaged.
            BadConfiguration: weights that do not fit the plans.
        """
        for name in ("plans.json", "dataset.json"):
            if not (folder / name).is_file():
                hint = "Name the folder Trainer__Plans__Configuration that holds plans.json, dataset.json and fold_0."
                raise BadUsage("NotAModel", f"{folder} has no {name}.", hint=hint)
        plans, dataset_json = Plans.load(folder / "plans.json"), read_json(folder / "dataset.json")
        plugins.require(plans.content, plugins.FOR_NETWORKS)
        labels, chosen = LabelManager(dataset_json), list(folds) if folds else available_folds(folder, checkpoint)
        networks: list[torch.nn.Module] = []
        configuration: Configuration | None = None
        mirror_axes: Sequence[int] | None = None
        precision: PrecisionName = "auto"
        for fold in chosen:
            file = folder / f"fold_{fold}" / checkpoint
            if not file.is_file():
                known = ", ".join(available_folds(folder, checkpoint))
                raise BadUsage("UnknownFold", f"There is no {file}. Folds with a {checkpoint}: {known}.")
            content = checkpoints.load(file, allow_pickle=allow_pickle)
            if configuration is None:
                try:
                    configuration = plans.configuration(content["init_args"]["configuration"])
                except (KeyError, TypeError) as error:
                    raise BadConfiguration("NotACheckpoint", f"{file} does not say which configuration it is of.") from error
                mirror_axes = content.get("inference_allowed_mirroring_axes")
                extra = content.get(checkpoints.EXTRA)
                recorded = extra.get("plugins") if isinstance(extra, dict) else None
                provenance.require(recorded, ("network",), str(file))
                precision = of_recipe(extra.get("recipe") if isinstance(extra, dict) else None, torch.device(device))
            network = _network(file, content, configuration, dataset_json, labels)
            # On a CPU, convolutions take about two thirds of the time so; GPUs' tensor cores want it too.
            layout = channels_last_format(configuration.dimensions)
            networks.append(network.to(memory_format=layout))
        assert configuration is not None
        together = len(networks) == 1 or fit_together(networks, torch.device(device))
        if together:
            networks = [network.to(device) for network in networks]
        return cls(
            plans=plans,
            configuration=configuration,
            dataset_json=dataset_json,
            labels=labels,
            networks=networks,
            folds=chosen,
            mirror_axes=tuple(mirror_axes or ()),
            device=torch.device(device),
            folder=folder,
            precision=precision,
            together=together,
        )

    @cached_property
    def weights(self) -> str:
        """Tells these weights from others."""
        return weights_digest(self.networks)

    @property
    def file_ending(self) -> str:
        """Of images and segmentations."""
        return str(self.dataset_json["file_ending"])

    def window(
        self,
        *,
        mirroring: bool = True,
        step: float = 0.5,
        batch: int | None = None,
        precision: PrecisionName | None = None,
    ) -> SlidingWindow:
        """How this model's images are tiled.

        Args:
            mirroring: average the mirrored copies that training has seen.
            step: `SlidingWindow.step`.
            batch: `SlidingWindow.batch`.
            precision: of the network; None: that which it was trained in.
        """
        return SlidingWindow(
            patch_size=tuple(self.configuration.patch_size),
            step=step,
            mirror_axes=self.mirror_axes if mirroring else (),
            batch=batch,
            features=widest_features(self.configuration.architecture),
            precision=precision or self.precision,
        )

    def logits(self, image: torch.Tensor, window: SlidingWindow | None = None, on_tiles: TilesHook | None = None) -> torch.Tensor:
        """Mean logits over the folds, float32 (heads, z, y, x), of a preprocessed image (c, z, y, x)."""
        total: torch.Tensor | None = None
        heads, window = self.labels.num_segmentation_heads, window or self.window()
        for network, hook in zip(self.networks, summed(on_tiles, len(self.networks)), strict=True):
            self._bring(network)
            logits = predict_logits(network, image, heads, window, self.device, hook)
            total = logits if total is None else total.add_(logits)
        assert total is not None
        return total.div_(len(self.networks)) if len(self.networks) > 1 else total

    def goal(self, shape: Sequence[int], properties: dict[str, Any]) -> Goal | None:
        """How an image of a preprocessed shape (z, y, x) is segmented plane after plane; None: by its logits as a whole."""
        return goal(shape, properties, self.plans, self.configuration, self.labels)

    def segment(
        self, image: torch.Tensor, goal: Goal, window: SlidingWindow | None = None, on_tiles: TilesHook | None = None
    ) -> np.ndarray:
        """The segmentation (z, y, x) of the cropped case, of an image whose logits do not fit in memory."""
        about = (self.labels, window or self.window(), self.device)
        (found,) = segment(self.networks, image, [goal], *about, on_tiles, self._bring)
        return found

    def _bring(self, network: torch.nn.Module) -> None:
        """Have a network on the device."""
        if self.together:
            return
        for other in self.networks:
            if other is not network:
                other.to("cpu")
        network.to(self.device)


def fit_together(networks: Sequence[torch.nn.Module], device: torch.device) -> bool:
    """Whether the weights of networks take no more than a quarter of what a GPU has free; main memory holds them in any case."""
    if device.type != "cuda":
        return True
    weights = sum(value.numel() * value.element_size() for network in networks for value in network.state_dict().values())
    return weights <= torch.cuda.mem_get_info(device)[0] / 4


def available_folds(folder: Path, checkpoint: str = checkpoints.FINAL) -> list[str]:
    """Numbered folds that have the checkpoint; `all` where there are none.

    Raises:
        BadUsage: no fold has it.
    """
    found = {path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}")}
    numbered = sorted((f for f in found if f.isdigit()), key=int)
    if not numbered and "all" not in found:
        raise BadUsage("NoFolds", f"No fold of {folder} has a {checkpoint}.", hint="Is the training finished? See --checkpoint.")
    return numbered or ["all"]


def _network(
    file: Path, content: dict[str, Any], configuration: Configuration, dataset_json: dict[str, Any], labels: LabelManager
) -> torch.nn.Module:
    weights = content["network_weights"]
    architecture = of_checkpoint(content, configuration.architecture, configuration.patch_size)
    channels = configuration.num_input_channels(dataset_json)
    network = build(architecture, channels, labels.num_segmentation_heads, deep_supervision=False, initialize=False)
    if findings := differing_weights(weights, network):
        shown = findings[:20] + ([f"… and {len(findings) - 20} more"] if len(findings) > 20 else [])
        message = f"{file} does not fit the network of plans.json beside it: {len(findings)} weights differ."
        raise BadConfiguration("WeightsDoNotFit", message, findings=shown)
    network.load_state_dict(weights)
    return network.eval()
