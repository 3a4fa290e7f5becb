from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract import CONTRACT_VERSION, work_order
from nnunet_trainer.contract.faults import BadUsage, ExitCode
from nnunet_trainer.contract.work_order import (
    CheckpointPolicy,
    DatasetOrder,
    Input,
    Location,
    PlannerChoice,
    PlanOrder,
    PreprocessOrder,
    PretrainedWeights,
    TrainerChoice,
    TrainOrder,
    TransferOrder,
)

words = st.text("abcxyz019-_/", max_size=12)
optional = st.none() | words
plain = st.dictionaries(words, st.none() | st.integers() | st.booleans() | st.lists(st.integers(), max_size=3), max_size=3)
locations = st.builds(
    Location,
    uri=words,
    endpoint=optional,
    region=optional,
    path_style=st.none() | st.booleans(),
    secret_name=optional,
    ca_config_map=optional,
)
inputs = st.builds(Input, location=locations, digest=words)
planners = st.builds(PlannerChoice, name=words, gpu_memory_gb=st.none() | st.floats(1, 80), parameters=plain)
orders = st.one_of(
    st.builds(
        DatasetOrder,
        name=words,
        source=locations,
        storage=locations,
        layout=st.sampled_from(["nnUNetV2", "MSD"]),
        group_by=optional,
    ),
    st.builds(
        PlanOrder,
        dataset_name=words,
        dataset=inputs,
        source=locations,
        storage=locations,
        planner=planners,
        patch=plain,
        per_configuration=st.dictionaries(words, planners, max_size=2),
    ),
    st.builds(
        TransferOrder,
        from_plans=inputs,
        from_dataset=inputs,
        dataset_name=words,
        dataset=inputs,
        source=locations,
        storage=locations,
        plans_name=words,
        patch=plain,
    ),
    st.builds(
        PreprocessOrder,
        dataset_name=words,
        dataset=inputs,
        source=locations,
        plans=inputs,
        configuration=words,
        storage=locations,
        shards=st.integers(1, 9),
    ),
    st.builds(
        TrainOrder,
        namespace=words,
        run=words,
        dataset_name=words,
        preprocessed=inputs,
        plans=inputs,
        configuration=words,
        fold=words,
        seed=st.integers(),
        storage=locations,
        trainer=st.builds(TrainerChoice, name=words, base=optional, recipe=plain),
        pretrained=st.none() | st.builds(PretrainedWeights, location=locations, sha256=optional),
        checkpoint=st.builds(CheckpointPolicy, every_epochs=st.integers(1, 9), every_minutes=st.floats(0.1, 60)),
        plugins=st.lists(words, max_size=2),
    ),
)


@given(orders)
def test_an_order_is_read_as_it_was_written(order: work_order.WorkOrder) -> None:
    text = work_order.encode(order)
    assert work_order.decode(text) == order
    assert work_order.encode(work_order.decode(text)) == text


def test_an_order_of_before_a_field_was_added_is_read() -> None:
    """A field that is absent has its default: orders in flight survive an upgrade within a contract version."""
    text = '{"step": "dataset", "version": 1, "name": "D", "source": {"uri": "s3://a"}, "storage": {"uri": "s3://b"}}'
    assert work_order.decode(text) == DatasetOrder(name="D", source=Location(uri="s3://a"), storage=Location(uri="s3://b"))


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("", "InvalidWorkOrder", "not JSON"),
        ("[]", "InvalidWorkOrder", "an object was expected"),
        ("{}", "ContractMismatch", "version None"),
        ('{"version": 2, "step": "plan"}', "ContractMismatch", "version 2, this trainer knows 1"),
        ('{"version": 1}', "InvalidWorkOrder", "known: dataset, plan, transfer, preprocess, train"),
        ('{"version": 1, "step": "dataset", "name": "D"}', "InvalidWorkOrder", "source"),
        ('{"version": 1, "step": "dataset", "name": "D", "sauce": 1}', "InvalidWorkOrder", "source"),
    ],
)
def test_what_is_no_order_is_refused_with_a_reason(text: str, reason: str, words: str) -> None:
    with pytest.raises(BadUsage, match=words) as caught:
        work_order.decode(text)
    assert caught.value.reason == reason
    assert caught.value.exit_code == ExitCode.BAD_USAGE


@pytest.mark.parametrize("kind", work_order.ORDERS.values())
def test_every_order_says_what_it_is(kind: type) -> None:
    fields = {f.name: f.default for f in dataclasses.fields(kind)}
    assert work_order.ORDERS[fields["step"]] is kind
    assert fields["version"] == CONTRACT_VERSION


@given(orders)
def test_no_order_holds_a_credential(order: work_order.WorkOrder) -> None:
    text = json.dumps(json.loads(work_order.encode(order))).lower()
    assert "aws_secret" not in text
    assert "accesskey" not in text
