#!/usr/bin/env bash
# Makes the images that the test node needs and that no registry is asked for, in buildah's store:
#   localhost/python-base:1   Debian and its Python, the base of the product's images
#   localhost/pause:1, localhost/busybox:1
# Usage: base.sh DIR VERSION   DIR keeps what is built, VERSION is that of k8s.io/kubernetes in programs/kubernetes/go.mod.
# BUILDAH is the command, with its options, that builds. What is there already is not made again.
set -euo pipefail
dir=$1 version=$2
there() { ${BUILDAH:-buildah} inspect --type image "localhost/$1:1" >/dev/null 2>&1; }
from_folder() { # name, folder, lines of its Containerfile
  printf '%b\n' "FROM scratch" "COPY . /" "$3" > "$dir/$1.Containerfile"
  ${BUILDAH:-buildah} build -q --isolation chroot -f "$dir/$1.Containerfile" -t "localhost/$1:1" "$2" >/dev/null
}
mkdir -p "$dir"
if ! there pause; then
  rm -rf "$dir/pause"; mkdir -p "$dir/pause"
  source=$(cd "$(dirname "$0")/../programs/kubernetes" && go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"Dir": "\(.*\)",/\1/p')
  gcc -Os -static -DVERSION=1 -o "$dir/pause/pause" "$source/build/pause/linux/pause.c"
  strip "$dir/pause/pause"
  from_folder pause "$dir/pause" 'USER 65535:65535\nENTRYPOINT ["/pause"]'
fi
if ! there busybox; then
  rm -rf "$dir/busybox"; mkdir -p "$dir/busybox"/{bin,tmp,etc,proc,sys,dev}
  cp /bin/busybox "$dir/busybox/bin/"
  for applet in $(/bin/busybox --list | grep -vx busybox); do ln -s busybox "$dir/busybox/bin/$applet"; done
  chmod 1777 "$dir/busybox/tmp"
  from_folder busybox "$dir/busybox" 'ENV PATH=/bin\nCMD ["sh"]'
fi
if ! there python-base; then
  rm -rf "$dir/debian"
  debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$dir/debian" > "$dir/debootstrap.log"
  # As in Docker's python images: `python` and `pip`, no documents, no package lists.
  ln -s /usr/bin/python3 "$dir/debian/usr/local/bin/python"
  ln -s /usr/bin/pip3 "$dir/debian/usr/local/bin/pip"
  (cd "$dir/debian" && rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/{doc,man,locale,info}/* dev/*)
  from_folder python-base "$dir/debian" 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8\nCMD ["python"]'
fi
rm -rf "$dir/debian"  # the image has it
