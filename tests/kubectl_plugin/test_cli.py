"""`kubectl nnunet` takes the flags that say which cluster before its command, as kubectl does before its verb."""

from __future__ import annotations

import argparse

import pytest
from kubectl_nnunet import connection
from kubectl_nnunet.cli import CLUSTER_FLAGS, command_first


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("why finetune -n team", "why finetune -n team"),
        ("-n team why finetune", "why -n team finetune"),
        ("--namespace team status", "status --namespace team"),
        ("--namespace=team --context=lab status", "status --namespace=team --context=lab"),
        ("-A status", "status -A"),
        ("--kubeconfig file -n team logs finetune --follow", "logs --kubeconfig file -n team finetune --follow"),
        # What is no command, or another flag, is argparse's to refuse.
        ("-n team", "-n team"),
        ("-n", "-n"),
        ("-n team no-command", "-n team no-command"),
        ("--version", "--version"),
        ("--help status", "--help status"),
        ("", ""),
    ],
)
def test_the_command_comes_first(typed: str, meant: str) -> None:
    assert command_first(typed.split()) == meant.split()


def test_every_flag_that_says_which_cluster_is_known() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    connection.add_arguments(parser, all_namespaces=True)
    words = {flag: 1 if action.nargs == 0 else 2 for action in parser._actions for flag in action.option_strings}
    assert words == CLUSTER_FLAGS
