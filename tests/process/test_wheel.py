"""Wheel and sdist: built, compared, installed into an empty environment and run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from libvirt_exporter import __version__

ROOT = Path(__file__).parents[2]
TREE = ("config", "dashboards", "deploy", "docs", "exporter")
SHARED = (
    "config/**/*",
    "dashboards/*.json",
    "deploy/alertmanager/*",
    "deploy/prometheus/*.yml",
    "deploy/prometheus/rules/*",
    "deploy/systemd/*",
    "docs/runbooks/*",
)


def command(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """What the command prints; it must succeed."""
    outcome = subprocess.run(
        arguments,
        cwd=cwd,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


@dataclass
class Repository:
    """A repository with one commit of what is built, tagged as a release."""

    root: Path
    commit: str

    def build(self, directory: Path) -> tuple[Path, Path]:
        """Return the sdist and the wheel, built as for the time of the commit."""
        command(
            *(sys.executable, "-m", "hatchling", "build", "-d", directory),
            cwd=self.root,
            SOURCE_DATE_EPOCH="1767225600",
        )
        [sdist], [wheel] = directory.glob("*.tar.gz"), directory.glob("*.whl")
        return sdist, wheel


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The tree as it is now, as a release of its own."""
    root = tmp_path_factory.mktemp("repository")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in TREE:
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    for name in ("README.md", "LICENSE", "pyproject.toml", "hatch_build.py", ".gitattributes"):
        shutil.copy(ROOT / name, root / name)
    command("git", "init", "-q", "-b", "main", cwd=root)
    command("git", "add", ".", cwd=root)
    identity = ("-c", "user.name=Release", "-c", "user.email=release@localhost")
    command("git", *identity, "commit", "-q", "-m", "Release", cwd=root)
    command("git", "tag", "v9", cwd=root)
    return Repository(root, command("git", "rev-parse", "HEAD", cwd=root).strip())


@pytest.fixture(scope="module")
def wheel(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the release."""
    return repository.build(tmp_path_factory.mktemp("dist"))[1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the wheel in an environment that has nothing else but its dependencies."""
    root = tmp_path_factory.mktemp("environment")
    command(
        *(sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", root), cwd=root
    )
    python = root / "bin" / "python"
    command(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", "--disable-pip-version-check", wheel),
        cwd=root,
    )
    packages = sysconfig.get_path("purelib", vars={"base": str(root)})
    # Its .pth files are not read, so the checkout itself stays out.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return root / "bin" / "libvirt-exporter"


def run(program: Path, *arguments: str) -> str:
    """What the installed program prints, without this checkout in its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *arguments],
        cwd=program.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_two_builds_are_the_same_to_the_byte(repository: Repository, tmp_path: Path) -> None:
    """Whoever builds the same commit gets the same sdist and wheel; so does who has the sdist."""
    first = repository.build(tmp_path / "first")
    clone = tmp_path / "clone"
    command("git", "clone", "-q", repository.root, clone, cwd=tmp_path)
    second = Repository(clone, repository.commit).build(tmp_path / "second")
    command("tar", "xf", first[0], cwd=tmp_path)
    unpacked = Repository(tmp_path / f"libvirt_exporter-{__version__}", repository.commit)
    third = unpacked.build(tmp_path / "third")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[1].read_bytes() == third[1].read_bytes()


def test_archive_of_git_builds_the_same_wheel(
    repository: Repository, wheel: Path, tmp_path: Path
) -> None:
    """An archive without the repository knows its commit, too."""
    archive = tmp_path / "archive"
    archive.mkdir()
    command("git", "archive", "-o", archive / "a.tar", "HEAD", cwd=repository.root)
    command("tar", "xf", "a.tar", cwd=archive)
    (archive / "a.tar").unlink()

    command(sys.executable, "-m", "hatchling", "build", "-t", "wheel", cwd=archive)

    [built] = (archive / "dist").glob("*.whl")
    module = "libvirt_exporter/build.py"
    with zipfile.ZipFile(built) as one, zipfile.ZipFile(wheel) as other:
        assert one.namelist() == other.namelist()
        assert repository.commit.encode() in one.read(module)
        assert repository.commit.encode() in other.read(module)


def test_wheel_has_every_file_that_is_shipped_beside_the_program(wheel: Path) -> None:
    """No configuration, rule, dashboard, unit or runbook of the checkout is left out."""
    expected = {
        str(path.relative_to(ROOT))
        for pattern in SHARED
        for path in ROOT.glob(pattern)
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        names = (
            name.partition(".data/data/share/libvirt-exporter/") for name in archive.namelist()
        )
        found = {inside for _, separator, inside in names if separator}

    assert found == expected


def test_installed_program_names_its_commit(repository: Repository, installed: Path) -> None:
    """--version has the commit and the tag of the release."""
    version = run(installed, "--version")

    assert version.startswith(f"libvirt-exporter {__version__} (")
    assert f"revision {repository.commit}, branch v9)" in version


def test_checkout_names_the_commit_that_git_says(repository: Repository) -> None:
    """--version of a source that nobody built has its commit and branch."""
    version = command(
        *(sys.executable, "-m", "libvirt_exporter", "--version"),
        cwd=repository.root,
        PYTHONPATH=str(repository.root / "exporter"),
    )

    assert f"revision {repository.commit}-checkout, branch main)" in version


def test_installed_program_shows_the_demo_host_that_it_brings(
    repository: Repository, installed: Path
) -> None:
    """A sample of the demo host has its VMs, and the commit that took it."""
    rules = run(installed, "files", "rules").strip()

    text = run(installed, "scrape", "--libvirt.uri=demo:///")

    assert rules.startswith(str(installed.parents[1]))
    assert "\nlibvirt_up 1" in text
    assert 'domain="build-1"' in text
    assert f'revision="{repository.commit}"' in text
    assert 'branch="v9"' in text


def test_installed_program_finds_its_files_and_prints_its_configuration(installed: Path) -> None:
    """All that `files` names is below the environment; `config` is the file among them."""
    paths = [line.split()[1] for line in run(installed, "files").splitlines()]

    assert all(path.startswith(str(installed.parents[1])) for path in paths)
    assert all(Path(path).exists() for path in paths)
    assert run(installed, "config") == Path(paths[0]).read_text()
