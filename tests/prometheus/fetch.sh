#!/usr/bin/env bash
# Fetches Prometheus and promtool, for the tests of the chart's alerts and dashboard, and prints the folder that holds them: what is on
# PATH, else Debian's package, unpacked into a folder of the user's cache. Nothing is installed, no daemon starts, no root is needed.
# Usage: fetch.sh [--print]     --print fetches nothing.
set -euo pipefail
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then dirname "$(command -v prometheus)"; exit 0; fi
out=${XDG_CACHE_HOME:-$HOME/.cache}/nnunet-operator/prometheus
if [ "${1:-}" = --print ] || [ -x "$out/usr/bin/promtool" ]; then echo "$out/usr/bin"; exit 0; fi
fail() { echo "Prometheus is needed by the chart's tests, and could not be fetched: $1. Install it (Debian, Ubuntu: apt-get install prometheus) or put prometheus and promtool on PATH." >&2; exit 69; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "there is no apt-get here"
echo "fetching Debian's prometheus (a one-time step) ..." >&2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
download() { (cd "$folder" && apt-get download -qq prometheus >&2); }
if ! download; then
  [ "$(id -u)" = 0 ] || fail "the package lists do not know it, and only root may update them"
  apt-get update -qq >&2 && download || fail "apt-get cannot download it"
fi
# Under another name first: what was interrupted must not look like what is whole.
mkdir -p "$(dirname "$out")"
rm -rf "$out" "$out.partial"
dpkg-deb -x "$folder"/prometheus_*.deb "$out.partial"
mv "$out.partial" "$out"
echo "$out/usr/bin"
