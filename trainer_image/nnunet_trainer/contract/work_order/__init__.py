"""What one Job is to do, frozen in a ConfigMap when the Job is made.

Defaults stand here alone: the API takes those of its fields from here (`default`), and an order that lacks a field means
its default. What a later version adds is declared by `contract.json_text.additions`.

Every URI comes with the way to reach it (`Location`), so that a dataset, plans and a checkpoint may lie in three
buckets with three Secrets. A work order holds no credential: it names a Secret, and the pod mounts it.
"""

from .encoding import REQUIRES, decode, encode
from .orders import (
    ORDERS,
    DatasetOrder,
    DeleteResultsOrder,
    PlanOrder,
    PreprocessOrder,
    TrainOrder,
    TransferOrder,
    WorkOrder,
    default,
)
from .parts import (
    CheckpointPolicy,
    Continuation,
    Input,
    Location,
    PlannerChoice,
    PretrainedPolicies,
    PretrainedWeights,
    PreviousStage,
    TrainerChoice,
)

__all__ = [
    "ORDERS",
    "REQUIRES",
    "CheckpointPolicy",
    "Continuation",
    "DatasetOrder",
    "DeleteResultsOrder",
    "Input",
    "Location",
    "PlanOrder",
    "PlannerChoice",
    "PreprocessOrder",
    "PretrainedPolicies",
    "PretrainedWeights",
    "PreviousStage",
    "TrainOrder",
    "TrainerChoice",
    "TransferOrder",
    "WorkOrder",
    "decode",
    "default",
    "encode",
]
