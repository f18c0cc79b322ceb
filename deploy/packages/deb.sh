#!/bin/sh
# Builds the Debian package of the commit that is checked out, into dist/, and has lintian judge
# it: on this system, or as root in a bare root of SUITE (bookworm, trixie, sid), which it makes.
# With COMMIT, of that one, with the packaging of this checkout.
set -eu
checkout=$(cd "$(dirname "$0")/../.." && pwd)
packages=$checkout/deploy/packages
. "$checkout/deploy/packages/root.sh"
. "$checkout/deploy/packages/version.sh"
suite=${1:-} commit=${2:-HEAD}

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
source=$build/source
export_source "$commit" "$source"
mv "$source/deploy/packages/debian" "$source/debian"
sed -i "1s/([^-]*-/(${version:?}-/" "$source/debian/changelog"

if [ -z "$suite" ]; then
    "$packages/deb_here.sh" "$source"
else
    [ "$(id -u)" -eq 0 ] || fail "Only root can make another system's root and enter it."
    root=$roots/$suite
    make_root "$suite"
    export suite build
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --pid --fork --kill-child --mount-proc sh -euc '
        . "$1"
        root=$roots/build-$suite/root
        layer_root "$roots/$suite" "$roots/build-$suite"
        mount_all
        share_settings
        mkdir -p "$root/build"
        mount --bind "$build" "$root/build"
        inside apt-get update -qq
        inside apt-get dist-upgrade -qq --yes --no-install-recommends >/dev/null
        inside apt-get install -qq --yes --no-install-recommends \
            build-essential lintian python3-packaging python3-pip >/dev/null
        INSTALL=yes inside /build/source/deploy/packages/deb_here.sh /build/source
    ' sh "$packages/root.sh"
fi
mkdir -p "$checkout/dist"
mv "$build"/*.changes "$build"/*.buildinfo "$checkout/dist"
# dist/ may have those of other releases.
for package in "$build"/*.deb; do
    mv "$package" "$checkout/dist"
    echo "$checkout/dist/${package##*/}"
done
