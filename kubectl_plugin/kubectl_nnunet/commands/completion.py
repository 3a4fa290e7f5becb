"""`kubectl nnunet completion`: scripts for bash and zsh. kubectl's own completion asks `kubectl_complete-nnunet` instead."""

from __future__ import annotations

import argparse

from nnunet_trainer.contract.faults import ExitCode

BASH = r"""# Completes kubectl-nnunet in bash. In ~/.bashrc: source <(kubectl-nnunet completion bash)
# `kubectl nnunet` is completed by kubectl itself (kubectl completion bash), which asks kubectl_complete-nnunet.
_kubectl_nnunet() {
    local line directive=0
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) directive=${line#:} ;;
            *) COMPREPLY+=("${line%%$'\t'*}") ;;
        esac
    done < <(kubectl_complete-nnunet "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if (( directive & 16 )); then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "${COMP_WORDS[COMP_CWORD]}")
    elif (( directive == 0 )); then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    fi
}
complete -F _kubectl_nnunet kubectl-nnunet
"""
ZSH = r"""#compdef kubectl-nnunet
# Completes kubectl-nnunet in zsh. In ~/.zshrc, after compinit: source <(kubectl-nnunet completion zsh)
# `kubectl nnunet` is completed by kubectl itself (kubectl completion zsh), which asks kubectl_complete-nnunet.
_kubectl_nnunet() {
    local line directive=0
    local -a found
    for line in "${(@f)$(kubectl_complete-nnunet "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            :*) directive=${line#:} ;;
            ?*) found+=("${line%%$'\t'*}") ;;
        esac
    done
    if (( directive & 16 )); then
        _files -/
    elif (( directive == 0 )); then
        _files
    else
        compadd -- "${found[@]}"
    fi
}
compdef _kubectl_nnunet kubectl-nnunet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh"))
    parser.description = "Print a script that completes kubectl-nnunet. `kubectl nnunet` is completed by kubectl's own script."


def run(arguments: argparse.Namespace) -> int:
    """Print a script."""
    print({"bash": BASH, "zsh": ZSH}[arguments.shell], end="")
    return ExitCode.DONE
