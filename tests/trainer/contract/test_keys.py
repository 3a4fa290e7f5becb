from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunet_trainer.contract import keys
from nnunet_trainer.contract.faults import ExitCode, Fault, unknown_name

files = st.lists(st.tuples(st.text(max_size=10), st.integers(0), st.text("0123456789abcdef", max_size=8)), max_size=6)


@given(files, st.integers())
def test_a_datasets_digest_does_not_depend_on_the_order_of_its_files(found: list[tuple[str, int, str]], seed: int) -> None:
    shuffled = found[:]
    random.Random(seed).shuffle(shuffled)
    assert keys.dataset_digest(found) == keys.dataset_digest(shuffled)


@given(files, files)
def test_other_files_have_another_digest(a: list[tuple[str, int, str]], b: list[tuple[str, int, str]]) -> None:
    assert (keys.dataset_digest(a) == keys.dataset_digest(b)) == (sorted(a) == sorted(b))


def test_every_part_of_a_run_counts() -> None:
    given = ("p", "q", "3d_fullres", {"epochs": 5}, 1, None)
    changed = [
        ("x", *given[1:]),
        (*given[:2], "2d", *given[3:]),
        (*given[:3], {"epochs": 6}, 1, None),
        (*given[:4], 2, None),
        (*given[:5], "sha"),
    ]
    found = {keys.run_digest(*parts) for parts in (given, *changed)}
    assert len(found) == 6


def test_keys_are_as_the_design_says() -> None:
    full = "0123456789abcdef" * 4
    assert keys.dataset("Dataset004_Hippocampus", full) == "datasets/Dataset004_Hippocampus/0123456789abcdef"
    assert keys.plans("D", full) == "plans/D/0123456789abcdef"
    assert keys.preprocessed("D", full) == "preprocessed/D/0123456789abcdef"
    assert keys.run("ns", "run", full) == "runs/ns/run/0123456789abcdef"
    assert keys.fold_folder("D", "T", "P", "C", "all") == "nnUNet_results/D/T__P__C/fold_all"


def test_digests_are_stable() -> None:
    """Changing these would orphan every artifact that exists."""
    assert keys.short(keys.digest("x")) == "cd65ea2c2ad99e94"
    assert keys.short(keys.dataset_digest([("a", 1, "00")])) == "aabbbec8fe6d1ebe"
    assert keys.short(keys.preprocessed_digest("d", {"spacing": [1, 1, 1]})) == "20e5cf5e7dfc076e"
    assert keys.short(keys.run_digest("p", "q", "c", {"e": 1}, 1, None)) == "4e854b3dceb7e096"


@pytest.mark.parametrize(
    ("code", "permanent"), [(64, True), (65, True), (71, True), (78, True), (0, False), (74, False), (75, False), (143, False)]
)
def test_permanence(code: int, permanent: bool) -> None:
    assert ExitCode(code).permanent is permanent


def test_a_fault_shows_findings_and_hint() -> None:
    assert str(Fault("R", "message", hint="hint", findings=["one", "two"])) == "message\n  one\n  two\nhint"


def test_an_unknown_name_gets_the_nearest_ones() -> None:
    text = unknown_name("planner", "ExperimentPlaner", ["ExperimentPlanner", "ResEncUNetPlanner"])
    assert "Did you mean ExperimentPlanner" in text
    assert "Known: ExperimentPlanner, ResEncUNetPlanner." in text
    assert "Known: none." in unknown_name("planner", "x", [])


def test_the_contract_imports_nothing_heavy() -> None:
    code = (
        "import sys, nnunet_trainer.contract.work_order, nnunet_trainer.contract.report, nnunet_trainer.contract.progress;"
        "assert not {'numpy', 'torch', 'boto3', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
