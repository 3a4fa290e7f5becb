#!/usr/bin/env bash
# Builds the test control plane (kube-apiserver, kube-controller-manager, kube-scheduler, etcd, kwok) from Go modules, and takes
# Kueue's CRDs from its own.
# Usage: build.sh [DIR]   Prints DIR. What is there already is not built again.
# DIR defaults to a folder of the user's cache whose name holds the digest of the modules' own files (not of this script: delete
# the folder after a change of how things are built), so that a change of version is another folder.
# KUBEBUILDER_ASSETS, where set, wins and nothing is built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then echo "$KUBEBUILDER_ASSETS"; exit 0; fi
digest=$(cat "$here"/{etcd,kubernetes,kwok}/go.{mod,sum} | sha256sum | cut -c1-12)
out=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nnunet-operator/controlplane-$digest}
if [ "${2:-}" = --print ]; then echo "$out"; exit 0; fi
command -v go >/dev/null || { echo "The test control plane is built with Go >= 1.26, and 'go' is not on PATH. Install Go, or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, kube-controller-manager, etcd and kwok." >&2; exit 69; }
mkdir -p "$out"
version=$(sed -n 's/^\(require \|\t\)k8s.io\/kubernetes \(v[0-9.]*\).*/\2/p' "$here/kubernetes/go.mod")
minor=${version#v1.}
minor=${minor%%.*}
# Without it the server calls itself v0.0.0.
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"

build() { # module, binary, package, extra linker flags
  [ -x "$out/$2" ] && return
  echo "building $2 (a one-time step) ..." >&2
  # Under another name first: an interrupted build must not look like a finished one.
  (cd "$here/$1" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w $4" -o "$out/$2.partial" "$3")
  mv "$out/$2.partial" "$out/$2"
}
build kubernetes kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$stamp"
build kubernetes kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$stamp"
build kubernetes kube-scheduler k8s.io/kubernetes/cmd/kube-scheduler "$stamp"
build etcd etcd go.etcd.io/etcd/server/v3 ""
build kwok kwok sigs.k8s.io/kwok/cmd/kwok ""

kueue=$(sed -n 's/^require sigs.k8s.io\/kueue //p' "$here/kueue/go.mod")
if [ ! -d "$out/kueue-$kueue" ]; then
  module=$(cd "$here/kueue" && go mod download -json sigs.k8s.io/kueue | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  rm -rf "$out/kueue-$kueue.partial"
  mkdir "$out/kueue-$kueue.partial"
  cp "$module"/config/components/crd/bases/*_{workloads,localqueues}.yaml "$out/kueue-$kueue.partial/"
  chmod -R u+w "$out/kueue-$kueue.partial"
  mv "$out/kueue-$kueue.partial" "$out/kueue-$kueue"
fi
echo "$out"
