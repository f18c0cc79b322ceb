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


COMMIT = "8223672f" * 5


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose branch `main` is at COMMIT."""
    (tmp_path / "hatch_build.py").touch()
    heads = tmp_path / ".git/refs/heads"
    heads.mkdir(parents=True)
    (heads / "main").write_text(f"{COMMIT}\n")
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    return tmp_path


def test_checkout_names_its_commit_and_branch(checkout: Path) -> None:
    """Who runs the source sees which one, and that its files may differ from the commit."""
    assert build.checked_out(checkout) == (f"{COMMIT}-checkout", "main")


def test_checkout_of_a_commit_has_no_branch(checkout: Path) -> None:
    """As after `git checkout v1.2.3`."""
    (checkout / ".git/HEAD").write_text(f"{COMMIT}\n")

    assert build.checked_out(checkout) == (f"{COMMIT}-checkout", "")


def test_packed_references_are_read(checkout: Path) -> None:
    """git gc moves all references into one file."""
    (checkout / ".git/refs/heads/main").unlink()
    (checkout / ".git/packed-refs").write_text(
        f"# pack-refs with: peeled\n{'0' * 40} refs/heads/main2\n{COMMIT} refs/heads/main\n"
    )

    assert build.checked_out(checkout) == (f"{COMMIT}-checkout", "main")


def test_second_working_tree_names_its_own_commit(checkout: Path) -> None:
    """`git worktree` keeps HEAD apart and the references together."""
    (checkout / ".git/worktrees/other").mkdir(parents=True)
    (checkout / ".git/worktrees/other/HEAD").write_text("ref: refs/heads/main\n")
    (checkout / ".git/worktrees/other/commondir").write_text("../..\n")
    other = checkout / "other"
    other.mkdir()
    (other / "hatch_build.py").touch()
    (other / ".git").write_text(f"gitdir: {checkout}/.git/worktrees/other\n")

    assert build.checked_out(other) == (f"{COMMIT}-checkout", "main")


@pytest.mark.parametrize("missing", ["hatch_build.py", ".git/HEAD", ".git/refs/heads/main"])
def test_what_is_no_checkout_has_no_commit(checkout: Path, missing: str) -> None:
    """Neither a repository around the installed program nor a broken one is taken for ours."""
    (checkout / missing).unlink()

    assert build.checked_out(checkout) == ("", "")
