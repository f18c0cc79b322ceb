#!/bin/sh
# Builds what is published of a tag: sdist, wheel, SBOM and their checksums, in dist/.
# The same tag gives the same files to the byte. docs/releasing.md says what comes before.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/.venv/bin

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: deploy/release.sh TAG"
tag=$1
time=$(git -C "$root" log -1 --format=%ct "refs/tags/$tag") || fail "There is no tag $tag."
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git clone --quiet --branch "$tag" --config advice.detachedHead=false "$root" "$source"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source/exporter/libvirt_exporter/__init__.py")
[ "$tag" = "v$version" ] || fail "The tag is $tag, but the version there is $version."
grep -q "^## \[$version\]" "$source/CHANGELOG.md" || fail "CHANGELOG.md has no section $version."

export SOURCE_DATE_EPOCH="$time"
rm -rf "$root/dist"
(cd "$source" && "$bin/python" -m hatchling build -d "$root/dist")
# What requirements.lock pins is what the tests ran with.
"$bin/cyclonedx-py" requirements --pyproject "$source/pyproject.toml" --output-reproducible \
    --output-format JSON --output-file "$root/dist/libvirt_exporter-$version.cdx.json" \
    "$source/requirements.lock"
cd "$root/dist"
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
