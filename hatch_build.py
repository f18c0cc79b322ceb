"""The build hook that tells wheel and sdist which commit they are made from."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_MODULE = "exporter/libvirt_exporter/build.py"


class Hook(BuildHookInterface[BuilderConfig]):
    """Fills in the texts of `build.py` that `git archive` fills in too.

    An sdist and an archive have them filled in already; outside a repository of git they stay.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the filled-in module in the place of the checked-in one."""
        if version == "editable":
            return
        root = Path(self.root)
        text = (root / _MODULE).read_text(encoding="utf-8")
        for placeholder, value in _commit(root).items():
            text = text.replace(placeholder, value)
        self._directory = tempfile.TemporaryDirectory()
        filled = Path(self._directory.name) / "build.py"
        filled.write_text(text, encoding="utf-8")
        # Where nothing is left to fill in, too: that decides about the order of the archive.
        inside = _MODULE if self.target_name == "sdist" else _MODULE.removeprefix("exporter/")
        build_data["force_include"][str(filled)] = inside


def _commit(root: Path) -> dict[str, str]:
    """What to write for the placeholders of git; nothing where the commit is not known."""
    # A repository that merely surrounds this directory is another project's.
    revision = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else ""
    if not revision:
        return {}
    if _git(root, "status", "--porcelain", "--untracked-files=no"):
        revision += "-dirty"
    tag = _git(root, "describe", "--tags", "--exact-match")
    branch = _git(root, "symbolic-ref", "--short", "HEAD")
    refs = f"tag: {tag}" if tag else f"HEAD -> {branch}" if branch else ""
    return {"$Format:%H$": revision, "$Format:%D$": refs}


def _git(root: Path, *arguments: str) -> str:
    """What git says; '' where it fails or is absent."""
    try:
        asked = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
