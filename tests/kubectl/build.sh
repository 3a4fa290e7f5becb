#!/usr/bin/env bash
# Prints the path of kubectl, for the tests that are about it: what is on PATH, else one that is built from Go modules into a folder of the
# user's cache (once, a few minutes).
# Usage: build.sh [--print]     --print builds nothing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if command -v kubectl; then exit 0; fi
digest=$(cat "$here"/go.mod "$here"/go.sum "$0" | sha256sum | cut -c1-12)
out=${XDG_CACHE_HOME:-$HOME/.cache}/nnunet-operator/kubectl-$digest/kubectl
if [ "${1:-}" = --print ] || [ -x "$out" ]; then echo "$out"; exit 0; fi
command -v go >/dev/null || { echo "kubectl is needed by the tests of kustomize and of GitOps, and neither it nor 'go', to build it, is on PATH. Install kubectl, or Go >= 1.26." >&2; exit 69; }
echo "building kubectl (a one-time step) ..." >&2
mkdir -p "$(dirname "$out")"
# Under another name first: an interrupted build must not look like a finished one.
stamp="-X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
(cd "$here" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w $stamp" -o "$out.partial" k8s.io/kubernetes/cmd/kubectl)
mv "$out.partial" "$out"
echo "$out"
