"""podman and buildah with a storage of the tests' own, also where the host does not let them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from libvirt_exporter import __version__
from tests.deploy.system import archive_to
from tests.lab.daemon import PrivateLibvirtd

ROOT: Final = Path(__file__).parents[2]
IMAGE: Final = f"localhost/libvirt-exporter:{__version__}"
CONFINED: Final = (
    *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--memory=1g"),
)
"""Options of docs/deployment.md, but for what it shows of the host."""
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_HYBRID: Final = Path("/sys/fs/cgroup/unified")


def run_libvirt(daemon: PrivateLibvirtd) -> list[str]:
    """Options that give a container the /run/libvirt of this daemon."""
    directory, socket = daemon.root / "run", daemon.socket_directory / "libvirt-sock-ro"
    # What a socket is mounted over.
    (directory / "libvirt-sock-ro").touch()
    return [
        f"--volume={directory}:/run/libvirt:ro",
        f"--volume={socket}:/run/libvirt/libvirt-sock-ro:ro",
    ]


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

    def build(self, suite: str, changes: Path) -> None:
        """Build the image on a system of tests/deploy/system.sh, in place of a registry's image."""
        imported = archive_to(suite, changes, "podman", "import", "-", "localhost/debian:13")
        self.run(*map(str, imported))
        self.run(
            str(ROOT / "deploy" / "container" / "build.sh"),
            "--build-arg=BASE=localhost/debian:13",
            "--network=host",
            # Those who vouch for the package index here.
            f"--volume={AUTHORITIES}:/etc/authorities.crt:ro",
            "--build-arg=PIP_CERT=/etc/authorities.crt",
        )

    def start(self, *arguments: str, check: bool = True) -> str:
        """What a container says that ends by itself, by options, the image, its arguments."""
        return self.run("podman", "run", "--rm", *CONFINED, *arguments, check=check).stdout

    def remove(self) -> None:
        """Remove containers and images, and what is mounted of them."""
        self.run("podman", "rm", "--all", "--force", check=False)
        self.run("podman", "rmi", "--all", "--force", check=False)
