#!/bin/sh
# Builds the RPM package of the commit that is checked out, into dist/, and has rpmlint judge it.
# PYTHON is the version that the target has: 3.12 (EL10, the default), 3.14 (Fedora 43). With
# COMMIT, of that one. Needs rpmbuild, rpmlint, and the virtual environment that ./test makes.
set -eu
checkout=$(cd "$(dirname "$0")/../.." && pwd)
packages=$checkout/deploy/packages
bin=${BIN:-$checkout/.venv/bin}
. "$checkout/deploy/packages/version.sh"
python=${1:-3.12} commit=${2:-HEAD}

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export_source "$commit" "$build/source"
name=libvirt-exporter-${version:?}
wheels=$build/wheels
generated=$build/source/generated
mkdir -p "$wheels" "$generated" "$build/SOURCES"

(cd "$build/source" && "$bin/python" -m hatchling build -t wheel -d "$wheels") >&2
"$bin/python" "$packages/suite.py" --pins "$build/source" >"$build/private.txt"
"$bin/python" -m pip download --quiet --require-hashes --no-deps --only-binary :all: \
    --python-version "$python" --platform manylinux_2_28_x86_64 \
    --platform manylinux2014_x86_64 --platform manylinux_2_34_x86_64 \
    --dest "$wheels" --requirement "$build/private.txt"
PYTHON=$bin/python "$packages/generate.sh" "$build/source" "$generated"

mv "$build/source" "$build/$name"
archive() { # NAME DIRECTORY
    tar -C "$build" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        -c "$2" | gzip -n >"$build/SOURCES/$1"
}
archive "$name.tar.gz" "$name"
archive "wheels-python$python.tar.gz" wheels
macros=
[ "$(rpm --eval '%{?systemd_post:there}')" ] || macros=--load=$packages/rpm/systemd.macros
# shellcheck disable=SC2086 # one word or none
rpmbuild -bb --quiet $macros --define "_topdir $build" --define "upstream_version $version" \
    --define "target_python $python" --define "use_source_date_epoch_as_buildtime 1" \
    --define "clamp_mtime_to_source_date_epoch 1" --define "_buildhost reproducible" \
    --define "_libdir %{_prefix}/lib64" --nodeps "$packages/rpm/libvirt-exporter.spec" >&2
rpmlint --config "$packages/rpm/rpmlint.toml" "$packages/rpm/libvirt-exporter.spec" \
    "$build"/RPMS/*/*.rpm >&2
mkdir -p "$checkout/dist"
for package in "$build"/RPMS/*/*.rpm; do
    mv "$package" "$checkout/dist"
    echo "$checkout/dist/${package##*/}"
done
