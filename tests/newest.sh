#!/bin/sh
# Runs tests/lab and tests/faults with the newest libvirt and QEMU: those of Debian's unstable
# suite, in a root of its own below the cache directory. Arguments go to pytest in place of the two.
#
# Needs root, debootstrap, git, and 2 GB. The first run takes some minutes more to make the root,
# each later one brings it up to date. All mounts and processes end with the run.
set -eu
checkout=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-/var/tmp}/libvirt-exporter-$(id -u)
root=$cache/newest
there=/libvirt-exporter
certificates=/etc/ssl/of-this-machine.crt
# What ./test does not install because older releases bring it with libvirt-daemon-system.
packages="git libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-daemon-driver-lxc
    libvirt-daemon-driver-storage-logical"

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# The mirror that this machine takes Debian from, else Debian's own.
mirror() {
    # shellcheck disable=SC2016 # apt's own variable
    found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' |
        head -n 1)
    echo "${found:-http://deb.debian.org/debian}"
}

# Runs COMMAND in $root with the file systems that libvirt and QEMU need.
inside() { # COMMAND...
    env HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
}

make_root() {
    command -v debootstrap >/dev/null || fail "Missing on this system: debootstrap"
    say "== Making $root from $(mirror)"
    rm -rf "$root.part"
    mkdir -p "$root.part"
    debootstrap --variant=minbase sid "$root.part" "$(mirror)" >&2 ||
        fail "debootstrap failed; see $root.part/debootstrap/debootstrap.log"
    mv "$root.part" "$root"
}

# Only this process and its children see the mounts.
mount_all() {
    # Otherwise the mount namespace has another root than the processes in it.
    mount --rbind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    # Not the host's: packages of the root would change the groups of its devices.
    mount -t tmpfs -o mode=755 dev "$root/dev"
    while read -r name major minor; do
        mknod -m 666 "$root/dev/$name" c "$major" "$minor"
    done <<EOF
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
fuse 10 229
EOF
    mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
    mknod -m 666 "$root/dev/net/tun" c 10 200
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    mount -t tmpfs shm "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
}

# What apt and pip of this machine need to reach their sources.
share_settings() {
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    apt-config dump | grep -iE '^Acquire::[^ ]*(Proxy|Verify|CaInfo|Valid)' \
        >"$root/etc/apt/apt.conf.d/90-of-this-machine" || true
    for file in /etc/pip.conf /etc/xdg/pip/pip.conf; do
        [ ! -f "$file" ] || install -D -m 644 "$file" "$root$file"
    done
    [ ! -f ~/.config/pip/pip.conf ] ||
        install -D -m 644 ~/.config/pip/pip.conf "$root/root/.config/pip/pip.conf"
    # Not in the place of the root's own, which its packages write anew.
    [ ! -f /etc/ssl/certs/ca-certificates.crt ] ||
        install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root$certificates"
    # Directories and files that pip's settings name.
    for path in $(python3 -m pip config list 2>/dev/null | grep -oE "/[^ ']+" | sed 's,^/*,/,'); do
        # The files of an index lie beside it.
        path=${path%/simple}
        if [ -d "$path" ]; then
            mkdir -p "$root$path"
            mount --bind "$path" "$root$path"
        elif [ -f "$path" ]; then
            install -D -m 644 "$path" "$root$path"
        fi
    done
}

update_root() {
    say "== Bringing $root up to date"
    inside apt-get update -qq
    inside apt-get dist-upgrade -qq --yes --no-install-recommends >/dev/null
    # shellcheck disable=SC2086 # a list
    inside apt-get install -qq --yes --no-install-recommends $packages >/dev/null
    inside apt-get clean
}

# The files of the checkout as they are, without what git ignores.
copy_checkout() {
    mkdir -p "$root$there"
    find "$root$there" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
    git -C "$checkout" ls-files -z --cached --others --exclude-standard --deduplicate |
        tar -C "$checkout" --null --ignore-failed-read -T - -c 2>/dev/null |
        tar -C "$root$there" -x
}

versions() { # COMMAND-PREFIX...
    echo "libvirt $("$@" virsh --version), $("$@" qemu-system-x86_64 --version | head -n 1)"
}

run_there() { # PYTEST-ARGUMENT...
    mount_all
    share_settings
    update_root
    copy_checkout
    log=$cache/newest.log
    say "== $(versions inside)"
    status=0
    cd "$root"
    mkdir -p .host
    [ ! -f "$root$certificates" ] || export PIP_CERT="$certificates"
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
[ -d "$root" ] || make_root
[ $# -gt 0 ] || set -- tests/lab tests/faults -q -rfE --tb=short
NEWEST_INSIDE=yes exec unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
