#!/bin/sh
# Builds the Debian package of the source in DIRECTORY beside it, and has lintian judge it. Needs
# lintian, python3-packaging, and what debian/control lists under Build-Depends, which is installed
# with INSTALL=yes.
set -eu
cd "$1"
python3 deploy/packages/suite.py .
# Only an index reads them, and an older hatchling refuses those that it does not know.
sed -i '/"Programming Language :: Python :: 3\.[0-9]*",/d' pyproject.toml
# The commit is filled in already, and an older hatchling packs the file that the hook fills twice.
sed -i '/^\[tool\.hatch\.build\.hooks\.custom\]$/d' pyproject.toml
[ -z "${INSTALL:-}" ] || apt-get build-dep -qq --yes --no-install-recommends . >/dev/null
python3 -m pip install --quiet --require-hashes --target debian/tools \
    --requirement deploy/packages/tools.lock
dpkg-buildpackage --build=binary --no-sign
# A bug to close is for packages that are uploaded to Debian.
lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs ../*.changes
