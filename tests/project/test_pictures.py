"""The pictures of the dashboards show what the dashboards have: structure, not pixels."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any, Final

import pytest

from dashboards.pictures.draw import PICTURES, ROW, WIDTH, height
from dashboards.pictures.record import FILE, PAGES
from tests.grafana import DASHBOARDS, TOP, Json, panels

ROOT: Final = Path(__file__).parents[2]
RECORDED: Final[Json] = json.loads(FILE.read_text("utf-8"))

QUIET: Final = {"Running for", "VMs that crashed, and why"}
"""Panels that were empty in the recorded minutes, as they may be."""


def drawn() -> list[Any]:
    """Each panel of each picture, beside the dashboard's."""
    return [
        pytest.param(panel, current, id=f"{file}: {panel['title']}")
        for file, recorded in RECORDED["pages"].items()
        for panel in recorded
        for current in panels(DASHBOARDS[file])
        if current["title"] == panel["title"]
    ]


def without_texts(part: Any) -> Any:
    """A part of a panel without its descriptions, which Grafana shows on request only."""
    if isinstance(part, list):
        return [without_texts(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("id") == "description":
        return {"id": part["id"]}
    return {key: without_texts(value) for key, value in part.items() if key != "description"}


def test_every_page_has_its_panels() -> None:
    """Those that are asked for, and no panel that the dashboard has no more."""
    for file, titles in PAGES.items():
        assert {panel["title"] for panel in RECORDED["pages"][file]} == {*titles}
        assert {*titles} <= {panel["title"] for panel in panels(DASHBOARDS[file])}


@pytest.mark.parametrize(("panel", "current"), drawn())
def test_picture_shows_the_panel_as_it_is(panel: Json, current: Json) -> None:
    """Type, size, unit, bounds and queries are the dashboard's now: else `make pictures`."""
    for key in ("type", "fieldConfig", "options"):
        assert without_texts(panel[key]) == without_texts(current[key]), "run `make pictures`"
    for side in ("w", "h"):  # where it is changes with each panel above it
        assert panel["gridPos"][side] == current["gridPos"][side], "run `make pictures`"
    assert [target["refId"] for target in panel["targets"]] == [
        target["refId"] for target in current["targets"]
    ]
    assert [target["legend"] for target in panel["targets"]] == [
        target["legendFormat"] for target in current["targets"]
    ]


@pytest.mark.parametrize(("panel", "current"), drawn())
def test_picture_has_series(panel: Json, current: Json) -> None:
    """With all that their legend names, and no more of them than `$top`."""
    del current
    assert panel["targets"][0]["series"] or panel["title"] in QUIET
    for target in panel["targets"]:
        assert len(target["series"]) <= TOP
        for series in target["series"]:
            assert {*re.findall(r"{{(\w+)}}", target["legend"])} <= series["labels"].keys()


@pytest.mark.parametrize("file", PAGES)
def test_picture_is_small_and_shown(file: str) -> None:
    """A PNG of the size of its page, below 300 kB, in the text of docs/dashboards.md."""
    picture = PICTURES / Path(file).with_suffix(".png").name
    content = picture.read_bytes()
    width, high = struct.unpack(">II", content[16:24])

    assert content.startswith(b"\x89PNG")
    assert len(content) < 300_000
    assert (width, high) == (WIDTH + 16, height(RECORDED["pages"][file]) * ROW + 16)
    assert f"](pictures/{picture.name})" in (ROOT / "docs" / "dashboards.md").read_text()
