# shellcheck shell=sh
# Which commit a package is built of, and how that is called. Sourced with $checkout set.

# Prints the version of the package: that of the program for the commit that is tagged with it. What
# comes before that tag sorts before it, what comes after behind.
version_of() { # COMMIT VERSION
    # shellcheck disable=SC2154 # whoever sources this sets it
    tag=$(git -C "$checkout" rev-parse --verify --quiet "refs/tags/v$2^{commit}") || tag=
    snapshot=git$(TZ=UTC git -C "$checkout" log -1 --date=format-local:%Y%m%d%H%M%S \
        --format=%cd "$1")
    if [ "$tag" = "$(git -C "$checkout" rev-parse "$1^{commit}")" ]; then
        echo "$2"
    elif [ -n "$tag" ] && git -C "$checkout" merge-base --is-ancestor "$tag" "$1"; then
        echo "$2+$snapshot"
    else
        echo "$2~$snapshot"
    fi
}

# Writes the files of COMMIT to DIRECTORY, with the packaging of this checkout; sets $version and
# SOURCE_DATE_EPOCH.
export_source() { # COMMIT DIRECTORY
    mkdir -p "$2"
    git -C "$checkout" archive "$1" | tar -x -C "$2"
    rm -rf "$2/deploy/packages"
    cp -r "$checkout/deploy/packages" "$2/deploy/packages"
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$2/exporter/libvirt_exporter/__init__.py")
    version=$(version_of "$1" "$version")
    SOURCE_DATE_EPOCH=$(git -C "$checkout" log -1 --format=%ct "$1")
    export SOURCE_DATE_EPOCH
}
