"""`python -m tests.contract.golden`: writes the expositions of all cases anew.

Each case has four: the default field groups and all there is, in the text format (`.prom`) and in
OpenMetrics (`.openmetrics`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from libvirt_exporter.catalogue import GROUPS
from libvirt_exporter.model import HostSample
from libvirt_exporter.render.exposition import expose
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.text import TextRenderer
from tests.contract.cases import cases

DIRECTORY: Final = Path(__file__).parent / "goldens"

PROFILES: Final = {
    "default": Selection({group.name for group in GROUPS if group.default}),
    "all": Selection({group.name for group in GROUPS}, include=["*"]),
}
"""Selections by name; `all` has the metrics, too, that are shown only when somebody names them."""

FORMATS: Final = ("prom", "openmetrics")
"""File name extensions by format."""


def exposition(sample: HostSample, profile: str, extension: str) -> bytes:
    """The body of a scrape that gives this sample."""
    rendered = TextRenderer(PROFILES[profile]).render(sample.domains, sample.stats)
    return expose(sample, rendered, as_openmetrics=extension == "openmetrics").body


def golden(case: str, profile: str, extension: str) -> Path:
    """Where an exposition is kept."""
    return DIRECTORY / f"{case}.{profile}.{extension}"


def kept(case: str, profile: str, extension: str) -> str:
    """The exposition that is kept; raises AssertionError where there is none."""
    path = golden(case, profile, extension)
    assert path.is_file(), f"tests/contract/goldens/{path.name} is missing: run `make golden`"
    return path.read_text()


def main() -> None:
    """Write all files, and remove those of cases that are gone."""
    wanted = {
        golden(case, profile, extension): exposition(sample, profile, extension)
        for case, sample in cases().items()
        for profile in PROFILES
        for extension in FORMATS
    }
    DIRECTORY.mkdir(exist_ok=True)
    for path in set(DIRECTORY.iterdir()) - wanted.keys():
        path.unlink()
    for path, body in wanted.items():
        path.write_bytes(body)


if __name__ == "__main__":
    main()
