#!/usr/bin/env bash
# Builds the programs of the test node (kubelet, kube-proxy, kube-scheduler, kubectl, containerd, CoreDNS, a plugin of pretend
# GPUs) and Helm from Go modules. etcd, the API server and the controller manager are the test control plane's own.
# Usage: build.sh [--print]   Prints the folder, one of the user's cache whose name holds the digest of the modules' own files, so
# that a change of version is another folder. A program that is there already is not built again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
digest=$(cat "$here"/programs/*/go.mod "$here"/programs/*/go.sum "$here"/programs/*/*.go "$0" | sha256sum | cut -c1-12)
out=${XDG_CACHE_HOME:-$HOME/.cache}/nnunet-operator/realnode-$digest
if [ "${1:-}" = --print ]; then echo "$out"; exit 0; fi
command -v go >/dev/null || { echo "The test node is built with Go >= 1.26, and 'go' is not on PATH." >&2; exit 69; }
mkdir -p "$out"
kubernetes=v1.37.2  # as in programs/kubernetes/go.mod: without it the programs call themselves v0.0.0
containerd=v2.4.2   # as in programs/containerd/go.mod
version=k8s.io/component-base/version
stamp="-X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=37"

build() { # module, binary, package, extra linker flags, build tags
  [ -x "$out/$2" ] && return
  echo "building $2 (a one-time step) ..." >&2
  # Under another name first: an interrupted build must not look like a finished one.
  (cd "$here/programs/$1" && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -tags "${5:-}" -ldflags "-s -w ${4:-}" -o "$out/$2.partial" "$3")
  mv "$out/$2.partial" "$out/$2"
}
build gpu-plugin gpu-plugin .
for program in kube-scheduler kubelet kube-proxy kubectl; do
  build kubernetes $program k8s.io/kubernetes/cmd/$program "$stamp"
done
for program in containerd containerd-shim-runc-v2 ctr; do
  build containerd $program github.com/containerd/containerd/v2/cmd/$program "-X github.com/containerd/containerd/v2/version.Version=$containerd" \
    "netgo osusergo static_build no_btrfs no_devmapper no_zfs"
done
build coredns coredns .
build helm helm helm.sh/helm/v4/cmd/helm
echo "$out"
