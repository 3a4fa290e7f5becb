#!/usr/bin/env bash
# Builds both images of the product from its own Dockerfiles, on the base of base.sh and without CUDA, for the test node.
# Usage: build.sh DIR PYTHON NAME…   DIR keeps buildah's store and what is built; PYTHON has torch and its CUDA libraries (the
# stand-ins are made from them); NAMEs are "operator" and "trainer". Images are tagged localhost/nnunet-NAME:e2e.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) root=$(cd "$(dirname "$0")/../../.." && pwd)
dir=$1 python=$2
shift 2
version=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$here/../programs/kubernetes/go.mod")
# What an interrupted build leaves is found, and removed, with the rest.
export TMPDIR=$dir/tmp
mkdir -p "$TMPDIR"
export BUILDAH="buildah --root $dir/storage --runroot $dir/run --storage-driver overlay"
"$here/base.sh" "$dir/made" "$version"

# What the stand-ins are made from and by: another torch makes others.
digest=$(cat "$here/stand_in_wheels.py" "$root/constraints.txt" | sha256sum | cut -c1-12)
wheels=$dir/made/wheels-$digest
if [ ! -d "$wheels" ]; then
  rm -rf "$dir"/made/wheels-*
  "$python" "$here/stand_in_wheels.py" "$wheels.partial"
  mv "$wheels.partial" "$wheels"
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
(cd "$root" && tar c --exclude __pycache__ --exclude '*.egg-info' .dockerignore pyproject.toml constraints.txt README.md LICENSE images operator trainer_image) | tar x -C "$context"
cp -r "$wheels" "$context/wheels"
# The machine's own certificates and settings of pip: package sources may be reached through a proxy that needs them.
options=(--pull=never --layers --isolation chroot --network host -v /etc/ssl/certs:/etc/ssl/certs:ro)
for file in /etc/pip.conf "$HOME/.config/pip/pip.conf"; do
  if [ -e "$file" ]; then options+=(-v "$file:/etc/pip.conf:ro"); break; fi
done
# buildah's cache does not look at what a mounted stage holds: the sources' digest in an argument says when our layer is an old one.
# It is the image's label, too: where that is the same, nothing is asked of the cache, which reads all of torch to know it again.
label='{{index .OCIv1.Config.Labels "org.opencontainers.image.revision"}}'
sources=$({
  basename "$wheels"
  $BUILDAH inspect --type image --format '{{.FromImageID}}' localhost/python-base:1
  cd "$context" && find . -path ./wheels -prune -o -type f -print0 | sort -z | xargs -0 sha256sum; sha256sum < "$here/build.sh"
} | sha256sum | cut -c1-12)
folder() { if [ "$1" = trainer ]; then echo trainer_image; else echo operator; fi; }
for name in "$@"; do
  if [ "$($BUILDAH inspect --type image --format "$label" "localhost/nnunet-$name:e2e" 2>/dev/null)" = "$sources" ]; then continue; fi
  # The operator has nothing of CUDA: its layers stay in the cache whatever the stand-ins are.
  if [ "$name" = trainer ]; then preferred=wheels; else preferred=constraints.txt; fi
  build=("${options[@]}" --build-arg BASE=localhost/python-base:1 --build-arg WHEELS=$preferred --build-arg REVISION="$sources")
  build+=(-f "$context/$(folder "$name")/Dockerfile")
  # The stage of the dependencies has a name, too: what has none is removed after the build, and it takes minutes to make.
  $BUILDAH build "${build[@]}" --target dependencies -t "localhost/nnunet-$name-dependencies:e2e" "$context"
  $BUILDAH build "${build[@]}" -t "localhost/nnunet-$name:e2e" "$context"
done
