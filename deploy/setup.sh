# shellcheck shell=sh
# What ./run and ./test share: system packages and the virtual environment.
# Sourced with $root set to the checkout. Everything said goes to stderr, so that
# the output of a subcommand stays clean.

unset PYTHONHOME PYTHONPATH
PATH=$PATH:/usr/sbin:/sbin # libvirtd and depmod, for who is not root
venv=${root:?}/.venv
missing=

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# Notes PACKAGE as missing unless COMMAND is there.
need_command() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || missing="$missing $2"
}

# Notes PACKAGE as missing unless FILE is there.
need_file() { # FILE PACKAGE
    [ -e "$1" ] || missing="$missing $2"
}

# Installs $missing, or says what is missing and how to install it.
install_missing() {
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || fail "Missing on this system, by their Debian names:$missing
Install what your distribution calls them, then try again."
    advice="An administrator installs them with
    apt-get update && apt-get install --no-install-recommends$missing"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        { [ -t 0 ] && command -v sudo || sudo -n true; } >/dev/null 2>&1 ||
            fail "Missing on this system:$missing
This user is not root and cannot become root with sudo. $advice"
        sudo=sudo
    fi
    say "== System packages (takes a minute):$missing"
    # A source that does not answer need not be the one that has the packages.
    apt_get update || say "apt-get update failed; going on with the package lists that are there."
    # shellcheck disable=SC2086 # a list
    apt_get install $missing || fail "Could not be installed:$missing
$advice"
    missing=
}

apt_get() { # COMMAND PACKAGE...
    $sudo env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq --yes \
        --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" </dev/null >/dev/null
}

# Sets $python: the distribution's before any other, since the distribution has libvirt's
# binding for that one.
find_python() {
    for python in /usr/bin/python3 /usr/bin/python3.1[1-9] python3; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            # What an environment depends on: made anew when any of it changes.
            stamp=$("$python" --version; printf '%s\n' "$root"; sha256sum <"$root/pyproject.toml")
            return 0
        fi
    done
    python=/usr/bin/python3 stamp=
    return 1
}

# Whether the distribution's binding of libvirt is there, and new enough for pyproject.toml.
has_binding() {
    "$python" -I -c 'import sys, libvirt
sys.exit(libvirt.getVersion() < 9000000)' 2>/dev/null
}

need_binding() {
    "$python" -c 'import ensurepip' 2>/dev/null || missing="$missing ${python##*/}-venv"
    has_binding && return
    if [ "$python" = /usr/bin/python3 ]; then
        missing="$missing python3-libvirt"
    else
        need_compiler
    fi
}

# What pip compiles libvirt's binding with: for another Python than the distribution's own, and
# for the tests, since only the newest one is annotated.
need_compiler() {
    "$python" -c 'import os, sysconfig
os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
        missing="$missing ${python##*/}-dev"
    need_command cc gcc
    need_command pkg-config pkg-config
    pkg-config --exists libvirt 2>/dev/null || missing="$missing libvirt-dev"
}

# Installs $missing and makes the virtual environment.
prepare_environment() {
    find_python || missing="$missing python3"
    is_prepared runtime || need_binding
    install_missing
    find_python || fail "Python 3.11 or newer is needed; this system has $("$python" --version)."
    is_prepared runtime && return

    say "== Virtual environment .venv, $("$python" --version)"
    shared=
    has_binding && shared=--system-site-packages
    "$python" -m venv --clear $shared "$venv" >&2 || fail "$venv could not be made."
    pip_install --editable "$root"
    mark_prepared runtime
}

# Adds the groups of pyproject.toml, which pip understands by itself from 25.1 on only.
prepare_development() {
    is_prepared dev && return
    say "== Development packages"
    "$venv/bin/python" -c 'import sys, tomllib
groups = tomllib.load(sys.stdin.buffer)["dependency-groups"]
print(*groups["dev"], *groups["packages"], sep="\n")' \
        <"$root/pyproject.toml" >"$venv/dev.txt"
    pip_install --requirement "$venv/dev.txt"
    mark_prepared dev
}

pip_install() { # PIP-ARGUMENT...
    # For root, pip 23.0 takes a cache on a read-only file system for a writable one.
    cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/pip
    { mkdir -p "$cache" && [ -w "$cache" ]; } 2>/dev/null || export PIP_NO_CACHE_DIR=1
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet "$@" >&2 ||
        fail "pip could not install what pyproject.toml asks for (see above). Where no package index
can be reached, set PIP_INDEX_URL, or PIP_NO_INDEX and PIP_FIND_LINKS, and try again."
}

is_prepared() { # KIND
    [ -n "$stamp" ] && [ -x "$venv/bin/python" ] &&
        [ "$(cat "$venv/$1.stamp" 2>/dev/null)" = "$stamp" ]
}

mark_prepared() { # KIND
    printf '%s\n' "$stamp" >"$venv/$1.stamp"
}
