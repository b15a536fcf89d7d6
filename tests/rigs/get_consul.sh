#!/usr/bin/env bash
# Prints the path of a real Consul 1.8.7 (MPL-2.0), after fetching it once from Debian 11's signed archive. Debian 12
# has none. Nothing is installed: apt keeps lists and packages in a directory of their own, so no root is needed.
# The binary stays in $LBKIT_CACHE, or else in ~/.cache/lbkit-tests.
set -euo pipefail

package="consul_1.8.7+dfsg1-2+b3_amd64.deb"
sha256="e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9"
cache="${LBKIT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lbkit-tests}"
binary="$cache/consul-1.8.7/consul"

if [ -x "$binary" ]; then
  echo "$binary"
  exit
fi
if [ "$(dpkg --print-architecture)" != amd64 ]; then
  echo "this fetches Consul for amd64 alone; put a binary at $binary" >&2
  exit 1
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial archives/partial root

own_apt() {
  apt-get -qq \
    -o Dir::Etc::SourceList="$work/bullseye.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::State::Status=/dev/null \
    -o Dir::Cache="$work" -o APT::Sandbox::User="" "$@" >&2
}

# The mirror that a Debian machine already uses has the older release too.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort -u | head -n 1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
for archive in "$mirror" http://deb.debian.org/debian; do
  echo "deb [arch=amd64 signed-by=$keys] $archive bullseye main" >bullseye.list
  if [ -n "$archive" ] && own_apt update && own_apt download consul; then
    break
  fi
done
echo "$sha256  $package" | sha256sum --check --quiet >&2
dpkg-deb --extract "$package" root

# Renamed into place, so that two who fetch at the same time do not meet half a file.
mkdir -p "${binary%/*}"
mv root/usr/bin/consul "${binary%/*}/fetched.$$"
mv -f "${binary%/*}/fetched.$$" "$binary"
echo "$binary"
