# shellcheck shell=sh
# Roots of other releases of Debian: made below $roots, entered, and given what apt and pip of this
# machine need to reach their sources. Sourced by what builds and tries packages in them.
# Needs root, $checkout and $root set, and for mount_all a mount namespace of its own.

# shellcheck disable=SC2034 # for whoever sources this
roots=${XDG_CACHE_HOME:-/var/tmp}/libvirt-exporter-$(id -u)
certificates=/etc/ssl/of-this-machine.crt

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

# Makes $root, a bare system of SUITE, unless it is there.
make_root() { # SUITE
    [ ! -d "${root:?}" ] || return 0
    command -v mmdebstrap >/dev/null || fail "Missing on this system: mmdebstrap"
    say "== Making $root from $(mirror)"
    rm -rf "$root.part"
    mkdir -p "${root%/*}"
    apt_settings >"$root.conf"
    mmdebstrap --quiet --variant=minbase --aptopt="$root.conf" "$1" "$root.part" "$(mirror)" >&2 ||
        fail "mmdebstrap failed."
    mv "$root.part" "$root"
    rm "$root.conf"
}

# The settings by which apt of this machine reaches its sources.
apt_settings() {
    apt-config dump | sed -nE '/^Acquire::[^ ]*(Proxy|Verify|CaInfo|Valid)/Ip'
    # With the lists of another day packages do not fit to each other.
    echo 'Acquire::Retries "3"; APT::Update::Error-Mode "any";'
}

# Runs COMMAND in $root.
inside() { # COMMAND...
    env HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
}

# Puts $root over the bare system BARE, which stays as it is: what is changed goes to CHANGES.
layer_root() { # BARE CHANGES
    mkdir -p "$root" "$2/upper" "$2/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$root"
    # Nothing is lost with it, and waiting for the disk takes most of the time.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/90-lost-without-harm"
}

# Gives $root the file systems that programs need. Only this process and its children see them.
mount_all() {
    # Otherwise the mount namespace has another root than the processes in it.
    mount --rbind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    # Not the host's: packages of the root would change the groups of its devices.
    mount -t tmpfs -o mode=755 dev "$root/dev"
    while read -r name major minor; do
        mknod -m 666 "$root/dev/$name" c "$major" "$minor"
    done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
fuse 10 229
END
    mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
    mknod -m 666 "$root/dev/net/tun" c 10 200
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    mount -t tmpfs shm "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
}

# Copies the files of the checkout as they are, without what git ignores.
copy_checkout() { # DIRECTORY
    mkdir -p "$1"
    # shellcheck disable=SC2154 # whoever sources this sets it
    git -C "$checkout" ls-files -z --cached --others --exclude-standard --deduplicate |
        tar -C "$checkout" --null --ignore-failed-read -T - -c 2>/dev/null |
        tar -C "$1" -x
}

# What apt and pip of this machine need to reach their sources.
share_settings() {
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    apt_settings >"$root/etc/apt/apt.conf.d/90-of-this-machine"
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
    # The latter goes before the former, if it is set.
    [ ! -f "$root$certificates" ] ||
        export PIP_CERT="$certificates" REQUESTS_CA_BUNDLE="$certificates"
}
