"""docs/architecture.md names what is there."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from tests.unit.test_imports import HEIGHT, PACKAGE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
NAMES = sorted(set(re.findall(r"`((?:[a-z_]+\.)+[A-Za-z_]+)`", TEXT)))
OURS = [
    name
    for name in NAMES
    if name.partition(".")[0] in {*HEIGHT} - {"config"} and not name.endswith((".py", ".md"))
]


@pytest.mark.parametrize("name", OURS)
def test_a_module_or_class_that_is_named_exists(name: str) -> None:
    """A dotted name that begins with one of the packages is a module, or stands in one."""
    place, attribute = f"{PACKAGE}.{name}", ""
    if name.rpartition(".")[2][0].isupper():
        place, _, attribute = place.rpartition(".")
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError:
        pytest.fail(f"docs/architecture.md names `{name}`, which is gone: name where it went")
    assert not attribute or hasattr(module, attribute), (
        f"docs/architecture.md names `{name}`; {place} has no {attribute}: name where it went"
    )


def test_every_library_has_its_reason() -> None:
    """The table of libraries lists the run-time dependencies of pyproject.toml, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=!~;\[ ]", line)[0].lower() for line in project["dependencies"]}
    table = TEXT.partition("## Libraries")[2].partition("\n## ")[0]
    # A row that begins with "none:" says why there is no library for something.
    rows = [row for row in table.splitlines() if re.match(r"\| (?!none:)", row)][1:]
    listed = {name.strip().lower() for row in rows for name in row.split("|")[1].split(",")}

    assert listed == wanted, (
        "docs/architecture.md, Libraries: a row for each dependency of pyproject.toml, with its "
        f"reason; missing {sorted(wanted - listed)}, too many {sorted(listed - wanted)}"
    )
