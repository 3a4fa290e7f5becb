#!/usr/bin/env bash
# Builds the test control plane (kube-apiserver, kube-controller-manager, etcd, kwok) from Go modules.
# Usage: build.sh [DIR]   Prints DIR. A binary that is there already is not built again.
# DIR defaults to a folder of the user's cache whose name holds the digest of the modules' own files,
# so that a change of version is another folder. KUBEBUILDER_ASSETS, where set, wins and nothing is built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then echo "$KUBEBUILDER_ASSETS"; exit 0; fi
digest=$(cat "$here"/*/go.mod "$here"/*/go.sum "$0" | sha256sum | cut -c1-12)
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nnunet-operator/controlplane-$digest}
if [ "${2:-}" = --print ]; then echo "$out"; exit 0; fi
command -v go >/dev/null || { echo "The test control plane is built with Go >= 1.26, and 'go' is not on PATH. Install Go, or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, kube-controller-manager, etcd and kwok." >&2; exit 69; }
mkdir -p "$out"
version=v1.37.2  # the k8s.io/kubernetes version in kubernetes/go.mod: without it the server calls itself v0.0.0
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"

build() { # module, binary, package, extra linker flags
  [ -x "$out/$2" ] && return
  echo "building $2 (a one-time step) ..." >&2
  # Under another name first: an interrupted build must not look like a finished one.
  (cd "$here/$1" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w $4" -o "$out/$2.partial" "$3")
  mv "$out/$2.partial" "$out/$2"
}
build kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$stamp"
build kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$stamp"
build etcd etcd go.etcd.io/etcd/server/v3 ""
build kwok kwok sigs.k8s.io/kwok/cmd/kwok ""
echo "$out"
