#!/bin/sh
# A system of its own over the bare one of SUITE, whose changes go to CHANGES. Runs as root in a
# mount namespace of its own: `unshare --mount system.sh ...`.
#
#   install SUITE CHANGES PACKAGE...   installs packages there, as a person would in a fresh system
#   boot SUITE CHANGES OPTION...       starts its systemd as process 1, without a network
set -eu
checkout=$(cd "$(dirname "$0")/../.." && pwd)
. "$checkout/deploy/packages/root.sh"
what=$1 suite=$2 changes=$3
shift 3
# Its parent is seen by nobody else, so that the mount is not, either.
root=$changes/root

layer_root "$roots/$suite" "$changes"
case $what in
install)
    mount_all
    share_settings
    inside apt-get update -qq
    for package; do
        install -D -m 644 "$package" "$root/packages/${package##*/}"
    done
    inside sh -c 'apt-get install -qq --yes --no-install-recommends /packages/*.deb' >/dev/null
    # An init system, which a bare root has none of.
    inside apt-get install -qq --yes --no-install-recommends systemd-sysv >/dev/null
    rm -r "$root/packages"
    ;;
boot)
    # The hierarchy of control groups that newer versions of systemd need, whatever this host has.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --register=no --keep-unit \
        --settings=no --private-network --console=pipe --directory="$root" "$@" --boot
    ;;
esac
