#!/bin/sh
# A system of its own over the bare one of SUITE, or over the directory SUITE, whose changes go to
# CHANGES. Runs as root in a mount namespace of its own: `unshare --mount system.sh ...`.
#
#   install SUITE CHANGES PACKAGE...   installs packages there, as a person would in a fresh system
#   boot SUITE CHANGES OPTION...       starts its systemd as process 1, without a network
#   clone SUITE CHANGES ARGUMENT...    copies this checkout there, and has it install what it needs
#   confined SUITE CHANGES SOCKETS COMMAND...
#                                      runs it as a user who may nothing and can write nowhere, with
#                                      the libvirt that has its sockets in SOCKETS
#   archive SUITE CHANGES              writes its files to the output, but for the checkout
set -eu
checkout=$(cd "$(dirname "$0")/../.." && pwd)
. "$checkout/deploy/packages/root.sh"
what=$1 suite=$2 changes=$3
shift 3
bare=$suite
case $suite in
/*) ;;
*)
    bare=$roots/$suite root=$roots/$suite
    make_root "$suite"
    ;;
esac
# Its parent is seen by nobody else, so that the mount is not, either.
root=$changes/root
layer_root "$bare" "$changes"
case $what in
install)
    mount_all
    share_settings
    inside apt-get update -qq
    for package; do
        install -D -m 644 "$package" "$root/packages/${package##*/}"
    done
    inside sh -c 'apt-get install -q --yes --no-install-recommends /packages/*.deb'
    # An init system, which a bare root has none of.
    inside apt-get install -qq --yes --no-install-recommends systemd-sysv
    rm -r "$root/packages"
    ;;
clone)
    mount_all
    share_settings
    copy_checkout "$root/srv/libvirt-exporter"
    inside /srv/libvirt-exporter/run "$@"
    ;;
confined)
    sockets=$1
    shift
    mkdir -p "$root/run/libvirt"
    mount_all
    mount --bind "$sockets" "$root/run/libvirt"
    mount -o remount,bind,ro "$root"
    inside setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all \
        --bounding-set=-all "$@"
    ;;
archive)
    tar -C "$root" --exclude=./srv/libvirt-exporter -c .
    ;;
boot)
    # The hierarchy of control groups that newer versions of systemd need, whatever this host has.
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --register=no --keep-unit \
        --settings=no --private-network --console=pipe --directory="$root" "$@" --boot
    ;;
esac
