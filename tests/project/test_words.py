"""Plain technical English in all that users see: words that operators search for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]

INSTEAD: Final[Mapping[str, str]] = {
    r"mend(s|ed|ing)?": "fix",
    r"(tell|tells|told|telling) of": "report",
    r"stands? (there|here|in|on|at|beside|again|behind|under|above|below|where)": "is",
    r"(lie|lies|lay) (in|on|under|at|below)": "is, are",
    r"hangs? on": "depends on",
    r"takes? a restart": "requires a restart",
    r"to who": "to those who",
    r"in vain": "without success",
    r"who(ever)? asks for it": "the client",
    r"wish(es|ed)?": "want, request",
    r"whoever": "anyone who, a user who",
    r"for ever": "without end, forever",
    r"nothing but": "only",
    r"dear(er|est)?": "expensive",
    r"(come|comes|came) of (it|that)": "results",
    r"hears?": "receives",
    r"goes? round": "runs",
    r"do(es)? without": "leave out",
    r"gets? on with": "continue",
    r"betrays?": "shows",
    r"heeds?": "respects",
    r"lest": "so that not",
    r"nought": "nothing",
    r"as it were": "",
}
"""Expression of words that are not used → what to write."""

PATTERN: Final = re.compile(rf"(?<!`)\b({'|'.join(INSTEAD)})\b", re.IGNORECASE)

TEXTS = sorted(
    path
    for pattern in (
        *("*.md", "docs/**/*.md", "config/**/*.yml", "config/**/*.json", "dashboards/*.json"),
        *("deploy/**/*.yml", "deploy/**/*.yaml", "deploy/**/*.service", "deploy/**/*.md"),
    )
    for path in ROOT.glob(pattern)
)
CODE = sorted((ROOT / "exporter").rglob("*.py"))


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a module that may be shown to users: all but its docstrings."""
    tree = ast.parse(path.read_text())
    silent = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in silent
        ):
            yield node.lineno, node.value


def complaint(place: str, word: str) -> str:
    """What is wrong with a word, and what to write."""
    instead = next(
        text for form, text in INSTEAD.items() if re.fullmatch(form, word, re.IGNORECASE)
    )
    return f"{place}: {word!r}; write {instead or 'nothing'}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_words_that_operators_search_for(path: Path) -> None:
    """The failure names line, word and what to write."""
    name = path.relative_to(ROOT)
    found = [
        complaint(f"{name}:{number}", match[0])
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in PATTERN.finditer(line)
    ]
    assert not found, "\n".join(found)


def test_messages_use_words_that_operators_search_for() -> None:
    """HELP texts, options, log lines, errors, pages."""
    found = [
        complaint(f"{path.relative_to(ROOT)}:{line}", match[0])
        for path in CODE
        for line, text in messages(path)
        for match in PATTERN.finditer(text)
    ]
    assert not found, "\n".join(found)


def test_every_rule_names_what_it_finds() -> None:
    """A complaint can be made of each."""
    for form in INSTEAD:
        word = re.sub(r"\(([^)|]*)[^)]*\)\??", r"\1", form).replace("s?", "s").replace("?", "")
        assert PATTERN.fullmatch(word), form
        assert word in complaint("here", word)
