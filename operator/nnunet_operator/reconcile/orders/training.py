"""The order of a training: one fold of a TrainingRun."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nnunet_trainer.contract import keys
from nnunet_trainer.contract.work_order import Continuation, Location, PretrainedWeights, PreviousStage, TrainOrder

from ...api.fields import plugins
from ..blocker import Blocker
from ..references import configuration, continued, network_compatibility, pretrained, previous_stage
from ..references.configuration import Preprocessed
from ..references.resolved import RunReferences
from ..spec_to_order import build
from ..work import Startable, Work
from .startable import SHARED_MEMORY, startable


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInput:
    """All that the folds of a run are trained on."""

    storage: Location
    preprocessed: Preprocessed
    pretrained: PretrainedWeights | None
    previous_stage: PreviousStage | None

    def digest(self, continues: Continuation | None) -> str:
        """Another one, another training. It is the same for all folds of a run, and so is what they continue."""
        weights, previous = self.pretrained, self.previous_stage
        start = (weights.sha256 or weights.location.uri) if weights else None
        before = [{fold: given.digest for fold, given in previous.folds.items()}] if previous else []
        on = [{"digest": continues.digest}] if continues else []
        return keys.digest("train", self.preprocessed.plans.digest, self.preprocessed.data.digest, start, *before, *on)


def train(references: RunReferences, folds: Iterable[tuple[str, Work]], seed: int) -> dict[str, Startable | Blocker]:
    """Train each fold; or what is missing for that, which is the same for all folds of a run, as is the seed."""
    given = training_input(references)
    return {name: given if isinstance(given, Blocker) else _train(references, given, work, name, seed) for name, work in folds}


def training_input(references: RunReferences) -> TrainingInput | Blocker:
    """What the folds are trained on, once all of it is there and fits."""
    if references.blocker:
        return references.blocker
    store = references.storage
    if isinstance(store, Blocker):
        return store
    found, weights = configuration.preprocessed(references), pretrained.weights(references, store)
    previous = previous_stage.predictions(references, store)
    plans = found.plans.digest if isinstance(found, Preprocessed) else None
    misfits = (
        continued.misfit(references, plans),
        configuration.batch_too_small(references),
        configuration.network_does_not_fit(references),
        configuration.plugin_missing(references),
        network_compatibility.networks_differ(references),
    )
    blockers = [blocker for blocker in (found, weights, previous, *misfits) if isinstance(blocker, Blocker)]
    if blockers:
        # What only a person can mend is said while something else is waited for.
        return next((blocker for blocker in blockers if blocker.stalls), blockers[0])
    assert isinstance(found, Preprocessed)
    assert not isinstance(weights, Blocker)
    assert not isinstance(previous, Blocker)
    return TrainingInput(storage=store, preprocessed=found, pretrained=weights, previous_stage=previous)


def _train(references: RunReferences, given: TrainingInput, work: Work, fold: str, seed: int) -> Startable | Blocker:
    continues = continued.of_fold(references, fold, given.storage)
    if isinstance(continues, Blocker):
        return continues
    run, spec, workers = references.run, references.run.spec, references.run.spec.workers
    order = build(
        TrainOrder,
        spec,
        workers,
        namespace=run.metadata.namespace,
        run=run.metadata.name,
        owner=run.metadata.uid,
        dataset_name=given.preprocessed.dataset_name,
        preprocessed=given.preprocessed.data,
        plans=given.preprocessed.plans,
        fold=fold,
        seed=seed,
        storage=given.storage,
        pretrained=given.pretrained,
        previous_stage=given.previous_stage,
        continues=continues,
        validation="Run" if spec.validates else "Skip",
        plugins=plugins.names(spec.plugins),
    )
    return startable(
        run,
        references.settings,
        work,
        order,
        given.digest(continues),
        pods=workers.nodes,
        rendezvous=workers.nodes > 1,
        gpus=workers.gpus_per_node,
        gpu_resource=workers.gpu_resource_name,
        gpu_claim=workers.gpu_resource_claim,
        shared_memory=SHARED_MEMORY,
    )
