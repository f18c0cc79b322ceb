"""podman and buildah with a storage of the tests' own, also where the host does not let them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.lab.daemon import CACHE

MIRROR: Final = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_HYBRID: Final = Path("/sys/fs/cgroup/unified")


def root_file_system(suite: str) -> Path:
    """A tar of a minimal Debian, made once by mmdebstrap: it stands in for a registry's image."""
    archive = CACHE / f"{suite}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = archive.with_suffix(".part.tar")
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", suite, str(part), MIRROR], check=True
        )
        part.rename(archive)
    return archive


class Podman:
    """Runs podman on images and containers below a directory; `remove` takes all of it away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        storage, settings = directory / "storage.conf", directory / "containers.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\n'
            f'runroot = "{directory}/run"\n'
        )
        # What is asked for otherwise may be more than the tests are allowed themselves.
        settings.write_text(
            '[containers]\ncgroupns = "host"\nnetns = "host"\n'
            'default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        self.environment: Mapping[str, str] = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(storage),
            "CONTAINERS_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
        }

    def command(self, *arguments: str) -> list[str]:
        """A command in an environment where podman works."""
        if not _HYBRID.is_dir():
            return [*arguments]
        # crun refuses version 1 and 2 of cgroups side by side.
        without = f'mount --make-rprivate / && umount {_HYBRID} && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", without, "sh", *arguments]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run such a command to its end; its errors are among its output."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def remove(self) -> None:
        """Remove containers and images, and what is mounted of them."""
        self.run("podman", "rm", "--all", "--force", check=False)
        self.run("podman", "rmi", "--all", "--force", check=False)
