"""Fits the source of the Debian package to the release of Debian or Ubuntu that builds it.

What pyproject.toml asks for and the release does not have goes into a private directory of the
package, in the versions that requirements.lock pins. Runs on the release's own Python, whose only
library it takes is `packaging`.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PACKAGES: Final[Mapping[str, str]] = {
    "google-re2": "python3-re2",
    "libvirt-python": "python3-libvirt",
    "pyyaml": "python3-yaml",
}
"""Library → Debian's package of it, where it is not called python3-LIBRARY."""

OLDEST: Final[Mapping[str, str]] = {
    "h11": "0.14.0",
    "pyyaml": "6.0",
    "starlette": "0.46.1",
    "uvicorn": "0.32.0",
}
"""Library → the oldest version that a distribution may bring, below what pyproject.toml allows.

The tests pass with them (tests/deploy). pyproject.toml asks for more on account of faults in
security, which a distribution fixes in the version that it has, or of what compiling them takes.
"""


def package_of(library: str) -> str:
    """Return the name of Debian's package of the library."""
    name = canonicalize_name(library)
    return PACKAGES.get(name, f"python3-{name}")


def lacking(asked: Collection[str], candidates: Mapping[str, str]) -> list[str]:
    """Return which of the requirements no package meets.

    `candidates` is package → the version that apt would install; a package without one is left out.
    """

    def met(requirement: Requirement) -> bool:
        version = upstream(candidates.get(package_of(requirement.name), ""))
        if not version:
            return False
        oldest = OLDEST.get(canonicalize_name(requirement.name))
        bounds = requirement.specifier
        if oldest:
            bounds = SpecifierSet(
                ",".join([f">={oldest}", *(str(one) for one in bounds if one.operator == "<")])
            )
        return bounds.contains(version)

    requirements = [Requirement(each) for each in asked]
    return [canonicalize_name(each.name) for each in requirements if not met(each)]


def upstream(version: str) -> str:
    """Return what a version of a package says of the version of the library; '' where nothing."""
    found = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return found[1] if found else ""


def pinned(lock: str, libraries: Collection[str]) -> dict[str, str]:
    """Return what in the lock file pins the libraries and what they take along, by library."""
    blocks = {
        canonicalize_name(found[1]): found[0]
        for found in re.finditer(r"^([\w.-]+)==.*\n(?:[ ].*\n)*", lock, re.M)
    }
    taken: set[str] = set()
    found = set(libraries)
    while found != taken:
        taken = found
        found = taken | {name for name, block in blocks.items() if taken & _via(block)}
    return {name: block for name, block in sorted(blocks.items()) if name in taken}


def _via(block: str) -> set[str]:
    """Which libraries ask for the one of this block of the lock file."""
    return {
        canonicalize_name(name) for name in re.findall(r"#(?:\s+via)?\s+([\w.-]+)$", block, re.M)
    }


def fitted_control(control: str, libraries: Collection[str], minor: int | None) -> str:
    """Return the control file without the packages of the libraries that are brought along.

    `minor` is that of the Python 3 that they are compiled for; None where none is compiled.
    """
    brought = {package_of(library) for library in libraries}
    head, binary = control.split("\n\n", 1)
    head = "".join(
        line
        for line in head.splitlines(keepends=True)
        if re.sub(r"[\s,]|\(.*\)", "", line) not in brought
    )
    if minor is not None:
        binary = binary.replace("Architecture: all", "Architecture: any")
        python = f"python3 (<< 3.{minor + 1})"
        binary = binary.replace("\nDepends: ", f"\nDepends: {python},\n         ")
    # The last line may end in a comma now, which is no mistake there.
    return f"{head.rstrip()}\n\n{binary}"


def fitted_changelog(changelog: str, release: Mapping[str, str]) -> str:
    """Return the changelog with a version that a newer release's package of the same one exceeds.

    `release` is what /etc/os-release says; testing and unstable have no VERSION_ID.
    """
    if "VERSION_ID" not in release:
        return changelog
    name = {"debian": "deb"}.get(release["ID"], release["ID"])
    return re.sub(r"\(([^)]+)\)", rf"(\1~{name}{release['VERSION_ID']})", changelog, count=1)


def main(source: Path) -> None:
    """Fit the source of the package; raises CalledProcessError where apt or pip fails."""
    debian = source / "debian"
    asked = tomllib.loads((source / "pyproject.toml").read_text())["project"]["dependencies"]
    libraries = lacking(asked, dict(_candidates(asked)))
    if "libvirt-python" in libraries:
        sys.exit("This release has no libvirt binding that pyproject.toml allows.")
    minor = None
    brought = pinned((source / "requirements.lock").read_text(), libraries)
    if brought:
        lock = debian / "private.txt"
        lock.write_text("".join(brought.values()))
        minor = sys.version_info.minor if _download(lock, debian / "wheels") else None
        # Nothing of the distribution stands in for them.
        (debian / "py3dist-overrides").write_text("".join(f"{name}\n" for name in brought))
    print(f"In the private directory: {' '.join(brought) or 'nothing'}")
    control, changelog = debian / "control", debian / "changelog"
    control.write_text(fitted_control(control.read_text(), brought, minor))
    changelog.write_text(fitted_changelog(changelog.read_text(), platform.freedesktop_os_release()))


def _candidates(asked: Collection[str]) -> Iterator[tuple[str, str]]:
    """Package → the version that apt would install."""
    packages = [package_of(Requirement(each).name) for each in asked]
    shown = _output("apt-cache", "policy", *packages)
    for found in re.finditer(r"^(\S+):\n  Installed: .*\n  Candidate: (\S+)$", shown, re.M):
        yield found[1], found[2]


def _download(lock: Path, directory: Path) -> bool:
    """Fetch the wheels for this Python; return whether any of them is compiled."""
    _output(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"),
        *("--only-binary", ":all:", "--dest", directory, "--requirement", lock),
    )
    return any(not wheel.stem.endswith("-none-any") for wheel in directory.iterdir())


def _output(*command: str | Path) -> str:
    # Only what is printed: what goes wrong is for people to see.
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def pins(source: Path) -> str:
    """Return what pins all libraries but libvirt's binding, which only the target can compile."""
    asked = tomllib.loads((source / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [canonicalize_name(Requirement(each).name) for each in asked]
    lock = (source / "requirements.lock").read_text()
    return "".join(pinned(lock, [name for name in names if name != "libvirt-python"]).values())


if __name__ == "__main__":
    if sys.argv[1] == "--pins":
        print(pins(Path(sys.argv[2])), end="")
    else:
        main(Path(sys.argv[1]))
