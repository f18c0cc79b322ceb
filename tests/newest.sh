#!/bin/sh
# Runs tests/lab and tests/faults with the newest libvirt and QEMU: those of Debian's unstable
# suite, in a root of its own below the cache directory. Arguments go to pytest in place of the two.
#
# Needs root, mmdebstrap, git, and 2 GB. The first run takes some minutes more to make the root,
# each later one brings it up to date. All mounts and processes end with the run.
set -eu
checkout=$(cd "$(dirname "$0")/.." && pwd)
. "$checkout/deploy/packages/root.sh"
root=$roots/newest
there=/libvirt-exporter
# What ./test does not install because older releases bring it with libvirt-daemon-system.
packages="git libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-daemon-driver-lxc
    libvirt-daemon-driver-storage-logical"

update_root() {
    say "== Bringing $root up to date"
    inside apt-get update -qq
    inside apt-get dist-upgrade -qq --yes --no-install-recommends >/dev/null
    # shellcheck disable=SC2086 # a list
    inside apt-get install -qq --yes --no-install-recommends $packages >/dev/null
    inside apt-get clean
}

versions() { # COMMAND-PREFIX...
    echo "libvirt $("$@" virsh --version), $("$@" qemu-system-x86_64 --version | head -n 1)"
}

run_there() { # PYTEST-ARGUMENT...
    mount_all
    share_settings
    update_root
    mkdir -p "$root$there"
    find "$root$there" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
    copy_checkout "$root$there"
    log=$roots/newest.log
    say "== $(versions inside)"
    status=0
    cd "$root"
    mkdir -p .host
    # Not chroot, which nsenter leaves.
    # shellcheck disable=SC2016 # the inner shell's
    env HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare --mount sh -c '
        pivot_root . .host
        umount -l /.host
        cd "$1" && shift && exec ./test "$@"' sh "$there" "$@" >"$log" 2>&1 || status=$?
    tail -n 40 "$log"
    say "== Here: $(versions env)
   There: $(versions inside)"
    if [ "$status" -eq 0 ]; then
        say "   Nothing differs: every test passes there."
    else
        say "   Differs, or fails for other reasons (all of it: $log):"
        grep -E '^(FAILED|ERROR) ' "$log" >&2 || say "   no test; see above"
    fi
    return "$status"
}

[ "$(id -u)" -eq 0 ] || fail "Only root can make another system's root and enter it."
if [ "${NEWEST_INSIDE:-}" ]; then
    unset NEWEST_INSIDE
    run_there "$@"
    exit
fi
make_root sid
# What makes packages and images needs a checkout, and the copy there is none.
[ $# -gt 0 ] ||
    set -- tests/lab tests/faults --ignore=tests/lab/test_bare_system.py -q -rfE --tb=short
NEWEST_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
