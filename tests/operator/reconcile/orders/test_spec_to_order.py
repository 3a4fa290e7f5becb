"""A field of the spec reaches the work order by its name, and its default stands in the contract alone."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from nnunet_operator.api.base import Resource, SpecModel
from nnunet_operator.api.dataset import DatasetSpec, FingerprintSpec, SplitsSpec
from nnunet_operator.api.fields.uris import SourceSpec
from nnunet_operator.api.plan_transfer import PlanTransferSpec
from nnunet_operator.api.plans import PlannerOverride, PlannerSpec, PlansSpec, PreprocessingSpec, TransferFrom
from nnunet_operator.api.starting_point import ContinuesSpec, PretrainedSpec
from nnunet_operator.api.training_run import CheckpointSpec, TrainerSpec, TrainingRunSpec, WorkersSpec
from nnunet_operator.reconcile import reconcile
from nnunet_operator.reconcile.orders import dataset, planning, preprocessing, training
from nnunet_operator.reconcile.outcome import Outcome
from nnunet_operator.reconcile.spec_to_order import build
from nnunet_operator.reconcile.view import Key
from nnunet_operator.reconcile.view_builder import build_view
from nnunet_trainer.contract.work_order import (
    CheckpointPolicy,
    Continuation,
    DatasetOrder,
    Location,
    PlannerChoice,
    PlanOrder,
    PreprocessOrder,
    PretrainedPolicies,
    PretrainedWeights,
    TrainerChoice,
    TrainOrder,
    TransferOrder,
    default,
)
from pydantic import create_model
from support import objects
from support.world import MemoryWorld

OF_THE_OPERATOR = ("storage", "template", "failure_policy", "rerun", "queue_name", "managed_by", "suspend", "resources")
"""Fields of every kind that say where, how and when its Jobs run; the storage's location is an order's, but more than the field."""

PAIRS: list[tuple[type[SpecModel], tuple[type, ...], dict[str, str]]] = [
    (DatasetSpec, (DatasetOrder,), {"fingerprint": "part", "splits": "part"}),
    (SourceSpec, (DatasetOrder, PlanOrder, TransferOrder, PreprocessOrder, Location), {}),
    (FingerprintSpec, (DatasetOrder,), {"parameters": "extractor_parameters"}),
    (SplitsSpec, (DatasetOrder,), {}),
    (
        PlansSpec,
        (PlanOrder, TransferOrder),
        {"dataset_ref": "resolved: dataset", "transfer_from": "resolved: from_plans; part", "preprocessing": "part"},
    ),
    (PlannerSpec, (PlannerChoice, PlanOrder), {}),
    (PlannerOverride, (PlannerChoice,), {}),
    (TransferFrom, (TransferOrder,), {"plans_ref": "resolved: from_plans"}),
    (PreprocessingSpec, (PreprocessOrder,), {"configurations": "an order each: configuration", "resources": "of the pod"}),
    (
        PlanTransferSpec,
        (TransferOrder,),
        {"from_": "resolved: from_plans", "to": "resolved: dataset", "preprocessing": "of its Plans"},
    ),
    (
        TrainingRunSpec,
        (TrainOrder,),
        {
            "plans_ref": "resolved: plans, preprocessed",
            "folds": "an order each: fold",
            "workers": "part",
            "max_parallel_folds": "when Jobs are made",
            "retention": "when the object is deleted",
            "active_deadline_seconds": "when Jobs are deleted",
            "ttl_seconds_after_finished": "when the object is deleted",
        },
    ),
    (TrainerSpec, (TrainerChoice,), {}),
    (
        PretrainedSpec,
        (PretrainedPolicies, PretrainedWeights, Location),
        {"run_ref": "resolved: location", "checkpoint": "resolved"},
    ),
    (ContinuesSpec, (Continuation,), {"run_ref": "resolved: run, location, digest, sha256"}),
    (WorkersSpec, (TrainOrder,), {"gpu_resource_name": "of the pod", "gpu_resource_claim": "of the pod"}),
    (CheckpointSpec, (CheckpointPolicy,), {}),
]
"""Each part of a spec, where its fields go in the order, and those that do not go there, with what becomes of them."""


def fields(kind: Any) -> dict[str, Any]:
    return {item.name: item for item in dataclasses.fields(kind)}


@pytest.mark.parametrize(("spec", "orders", "others"), PAIRS, ids=[spec.__name__ for spec, _, _ in PAIRS])
def test_each_field_reaches_the_order_or_it_is_said_what_becomes_of_it(
    spec: type[SpecModel], orders: tuple[type, ...], others: dict[str, str]
) -> None:
    reach = {name for order in orders for name in fields(order)}
    for name in spec.model_fields:
        assert name in reach or name in others or name in OF_THE_OPERATOR, name
    assert others.keys() <= spec.model_fields.keys() - reach, "nothing is said of fields that are gone, or that arrive"


SHARED = [
    (spec, name, order)
    for spec, orders, _ in PAIRS
    for name in spec.model_fields
    for order in orders
    if name in fields(order) and fields(order)[name].default is not dataclasses.MISSING and fields(order)[name].default is not None
]


each_shared_field = pytest.mark.parametrize(
    ("spec", "name", "order"), SHARED, ids=[f"{spec.__name__}.{name}-{order.__name__}" for spec, name, order in SHARED]
)


@each_shared_field
def test_what_is_absent_means_the_same_in_the_spec_and_in_the_order(spec: type[SpecModel], name: str, order: type) -> None:
    own = spec.model_fields[name].default
    assert own is None or own == default(order, name), "take it from the contract: work_order.default"


def literals(hint: Any) -> set[Any]:
    if typing.get_origin(hint) is Literal:
        return set(typing.get_args(hint))
    return {value for argument in typing.get_args(hint) for value in literals(argument)}


@each_shared_field
def test_what_the_spec_takes_the_order_takes(spec: type[SpecModel], name: str, order: type) -> None:
    assert literals(spec.model_fields[name].annotation) <= literals(typing.get_type_hints(order)[name])


def test_a_transfer_and_the_plans_that_it_makes_have_the_same_policies() -> None:
    for name in TransferFrom.model_fields.keys() & PlanTransferSpec.model_fields.keys():
        one, other = TransferFrom.model_fields[name], PlanTransferSpec.model_fields[name]
        assert (one.annotation, one.default, one.alias) == (other.annotation, other.default, other.alias)


PARTS = [
    ("Dataset", "", dataset, DatasetOrder),
    ("Dataset", "source", dataset, DatasetOrder),
    ("Dataset", "fingerprint", dataset, DatasetOrder),
    ("Dataset", "splits", dataset, DatasetOrder),
    ("Dataset", "source", planning, PlanOrder),
    ("Dataset", "source", planning, TransferOrder),
    ("Dataset", "source", preprocessing, PreprocessOrder),
    ("Plans", "", planning, PlanOrder),
    ("Plans", "", planning, TransferOrder),
    ("Plans", "transfer_from", planning, TransferOrder),
    ("Plans", "preprocessing", preprocessing, PreprocessOrder),
    ("TrainingRun", "", training, TrainOrder),
    ("TrainingRun", "workers", training, TrainOrder),
]
"""The parts of each kind's spec, and the orders (and the modules that make them) that their fields reach."""


class WorldOfTomorrow(MemoryWorld):
    """One kind has a field `novel` with the value 7, in the spec itself or in a part of it."""

    def __init__(self, kind: str, part: str) -> None:
        super().__init__()
        self.kind, self.part = kind, part

    def outcome(self, kind: str, name: str) -> Outcome | None:
        view = build_view(self, Key(kind, "default", name), self.now, self.settings, self.heard)
        if view is None:
            return None
        references = {key: self.extend(found) for key, found in view.references.items()}
        return reconcile(dataclasses.replace(view, object=self.extend(view.object), references=references))

    def extend(self, resource: Resource) -> Resource:
        if resource.kind != self.kind:
            return resource
        spec = resource.spec
        if not self.part:
            return resource.model_copy(update={"spec": extended(spec)})
        part = getattr(spec, self.part)
        changed = spec.model_copy(update={self.part: extended(part)}) if part else spec
        return resource.model_copy(update={"spec": changed})


def extended(model: SpecModel) -> SpecModel:
    """The same with a field more."""
    kind = create_model(type(model).__name__, __base__=type(model), novel=(int, 0))
    return kind.model_construct(**{name: getattr(model, name) for name in type(model).model_fields}, novel=7)


@pytest.mark.parametrize(("kind", "part", "module", "order"), PARTS)
def test_one_line_in_the_api_and_one_in_the_contract(
    monkeypatch: pytest.MonkeyPatch, kind: str, part: str, module: Any, order: type
) -> None:
    more = dataclasses.make_dataclass(order.__name__, [("novel", int, 0)], bases=(order,), frozen=True, kw_only=True)
    monkeypatch.setattr(module, order.__name__, more)
    world = WorldOfTomorrow(kind, part)
    world.put(objects.dataset(splits={"groupBy": "^(.*)_"}))
    world.put(objects.plans())
    world.put(objects.plans("moved", transferFrom={"plansRef": {"name": "plans"}}))
    world.put(objects.run())
    found: dict[str, set[Any]] = {}
    for _ in range(6):
        world.settle()
        for job in world.jobs():
            found.setdefault(job["metadata"]["labels"]["nnunet.dev/step"], set()).add(world.order(job).get("novel"))
            if not job.get("status"):
                world.finish(job)
    step = default(order, "step")
    assert found.pop(step) == {7}
    assert set().union(*found.values()) == {None}


class NewCheckpointSpec(CheckpointSpec):
    compress: bool = True


class BlockSpec(SpecModel):
    name: str
    width: int = 3


class NewSpec(TrainingRunSpec):
    checkpoint: NewCheckpointSpec = NewCheckpointSpec()
    label_smoothing: float | None = None
    blocks: list[BlockSpec] | None = None
    by_fold: dict[str, BlockSpec] | None = None


@dataclass(frozen=True, kw_only=True)
class NewCheckpointPolicy(CheckpointPolicy):
    compress: bool = True


@dataclass(frozen=True, kw_only=True)
class Block:
    name: str
    width: int = 3


@dataclass(frozen=True, kw_only=True)
class NewOrder:
    configuration: str
    gpus_per_node: int = 1
    checkpoint: NewCheckpointPolicy = field(default_factory=NewCheckpointPolicy)
    label_smoothing: float = 0.25
    blocks: list[Block] = field(default_factory=list)
    by_fold: dict[str, Block] = field(default_factory=dict)


def order_of(**spec: Any) -> NewOrder:
    parsed = NewSpec.model_validate({"plansRef": {"name": "plans"}, "folds": ["0"], **spec})
    return build(NewOrder, parsed, parsed.workers)


def test_a_field_that_is_added_to_both_reaches_the_order() -> None:
    assert order_of() == NewOrder(configuration="3d_fullres"), "what the spec lacks has the contract's default"
    made = order_of(
        checkpoint={"compress": False, "keep": 4},
        labelSmoothing=0.0,
        blocks=[{"name": "a", "width": 5}],
        byFold={"0": {"name": "b"}},
        workers={"gpusPerNode": 0},
    )
    assert made == NewOrder(
        configuration="3d_fullres",
        gpus_per_node=0,
        checkpoint=NewCheckpointPolicy(compress=False, keep=4),
        label_smoothing=0.0,
        blocks=[Block(name="a", width=5)],
        by_fold={"0": Block(name="b")},
    )


def test_what_is_given_is_not_looked_for_and_the_first_part_decides() -> None:
    spec = NewSpec.model_validate({"plansRef": {"name": "plans"}, "folds": ["0"], "labelSmoothing": 0.5})
    given = NewCheckpointPolicy(keep=9)
    made = build(NewOrder, spec, None, checkpoint=given, configuration="2d")
    assert (made.checkpoint, made.configuration, made.label_smoothing) == (given, "2d", 0.5)
    override, base = PlannerOverride(gpu_memory_gb=8), PlannerSpec(name="Mine", gpu_memory_gb=24, target_spacing=[1, 2, 3])
    assert build(PlannerChoice, override, base) == PlannerChoice(name="Mine", gpu_memory_gb=8, target_spacing=[1, 2, 3])


@dataclass(frozen=True, kw_only=True)
class Plain:
    checkpoint: str = ""


def test_a_part_without_a_counterpart_and_a_field_that_nobody_gives_are_faults() -> None:
    spec = NewSpec.model_validate({"plansRef": {"name": "plans"}, "folds": ["0"]})
    with pytest.raises(TypeError, match="NewCheckpointSpec has no counterpart"):
        build(Plain, spec)
    with pytest.raises(TypeError, match="configuration"):
        build(NewOrder)


def test_a_default_is_asked_for_by_a_field_that_has_one() -> None:
    assert default(CheckpointPolicy, "keep") == CheckpointPolicy().keep
    for name in ("keeps", "seed"):
        with pytest.raises(KeyError, match=name):
            default(TrainOrder, name)
