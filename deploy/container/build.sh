#!/bin/sh
# Builds the container image of the commit that is checked out, as localhost/libvirt-exporter with
# the version as its tag. Arguments go to `podman build`, as
# `--build-arg BASE=registry.example.com/debian:13`. BUILDER is another program than podman.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# An archive has the commit written into it, and nothing that lies about in the checkout.
git -C "$root" archive HEAD | tar -x -C "$context"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$context/exporter/libvirt_exporter/__init__.py")
"${BUILDER:-podman}" build --file "$context/deploy/container/Containerfile" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$(git -C "$root" rev-parse HEAD)" \
    --tag "localhost/libvirt-exporter:$version" --tag localhost/libvirt-exporter:latest \
    "$@" "$context"
