#!/bin/sh
# Builds the Debian package of the commit that is checked out, into dist/, and has lintian judge
# it. Needs lintian and what deploy/packages/debian/control lists under Build-Depends.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
mkdir -p "$build/source" "$root/dist"
git -C "$root" archive HEAD | tar -x -C "$build/source"
mv "$build/source/deploy/packages/debian" "$build/source/debian"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
export SOURCE_DATE_EPOCH
(cd "$build/source" && dpkg-buildpackage --build=binary --no-sign)
# A bug to close is for packages that are uploaded to Debian.
lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$build"/*.changes
mv "$build"/*.deb "$build"/*.changes "$build"/*.buildinfo "$root/dist"
