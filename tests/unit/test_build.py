"""What git fills into the build's module, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_exporter import build

ROOT = Path(__file__).parents[2]


def test_commit_that_nobody_filled_in_is_not_known() -> None:
    """The placeholder of a checkout is no commit."""
    assert build.commit("$Format:%H" + "$") == ""
    assert build.commit("8223672f") == "8223672f"


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ("HEAD -> main, origin/main", "main"),
        ("HEAD -> main, tag: v0.1.0, origin/main", "v0.1.0"),
        ("tag: v0.1.0", "v0.1.0"),
        ("HEAD", ""),
        ("", ""),
        ("$Format:%D" + "$", ""),
    ],
)
def test_tag_comes_before_the_branch(names: str, shown: str) -> None:
    """A release is named by its tag, anything else by the branch that was checked out."""
    assert build.ref(names) == shown


def test_archives_of_git_have_the_commit_filled_in() -> None:
    """git is told to fill in this module's placeholders."""
    assert "exporter/libvirt_exporter/build.py export-subst\n" in (
        ROOT / ".gitattributes"
    ).read_text().splitlines(keepends=True)
