"""Which commit this was built from, or is run from in a checkout.

`git archive` and hatch_build.py fill the texts in `$`.
"""

import re
from pathlib import Path
from typing import Final


def commit(text: str) -> str:
    """The commit that `%H` of git gives; '' where nobody filled it in, as in a checkout."""
    return "" if text.startswith("$") else text


def ref(text: str) -> str:
    """The tag, or else the branch, among what `%D` of git gives; '' where it has none."""
    found = re.search(r"\btag: ([^,]+)", text) or re.search(r"\bHEAD -> ([^,]+)", text)
    return found[1] if found else ""


def checked_out(checkout: Path) -> tuple[str, str]:
    """The commit that a repository has checked out, with -checkout behind, and its branch.

    It reads the files of git, since starting git would take longer than all the rest of
    `--version`; whether other files differ from the commit is therefore not known. Two empty
    texts where this is no checkout of ours, or git keeps its references in another form.
    """
    if not (checkout / "hatch_build.py").is_file():
        return "", ""
    git = checkout / ".git"
    try:
        if git.is_file():  # another working tree of a repository
            git = checkout / git.read_text().removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        revision = head if name == head else _reference(git, name)
    except (OSError, UnicodeDecodeError):
        return "", ""
    if not re.fullmatch("[0-9a-f]{40,64}", revision):
        return "", ""
    return f"{revision}-checkout", "" if name == head else name.removeprefix("refs/heads/")


def _reference(git: Path, name: str) -> str:
    """The commit of a reference; '' where the repository has it in no file."""
    common = git / "commondir"
    if common.is_file():
        git = git / common.read_text().strip()
    if (git / name).is_file():
        return (git / name).read_text().strip()
    packed = (git / "packed-refs").read_text()
    found = re.search(rf"^([0-9a-f]+) {re.escape(name)}$", packed, re.M)
    return found[1] if found else ""


_BUILT: Final = commit("$Format:%H$"), ref("$Format:%D$")
REVISION, BRANCH = _BUILT if _BUILT[0] else checked_out(Path(__file__).parents[2])
"""40 hexadecimal digits, with -dirty behind where files differed from that commit when it was built
and -checkout where it is run from a checkout; and the tag or branch. Or ''."""
