"""The command `files`: where the files lie that come with the exporter, such as rules."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from libvirt_exporter.commands.output import failed, show

FILES: Final[Mapping[str, tuple[str, str]]] = {
    "config": ("config/exporter.yml", "every option with its default"),
    "schema": ("config/exporter.schema.json", "JSON Schema of the configuration, for editors"),
    "examples": ("config/examples", "configurations to start from"),
    "web-config": ("config/web-config.yml", "TLS and users"),
    "scrape": ("deploy/prometheus/scrape.yml", "Prometheus' configuration for the exporter"),
    "scrape-fleet": (
        "deploy/prometheus/scrape-fleet.yml",
        "the same for an exporter of several hosts",
    ),
    "rules": ("deploy/prometheus/rules", "alerting rules for Prometheus"),
    "runbooks": ("docs/runbooks", "what each alert means, and what to do"),
    "alertmanager": ("deploy/alertmanager/alertmanager.yml", "routes and inhibition for alerts"),
    "dashboards": ("dashboards", "for Grafana"),
    "systemd": ("deploy/systemd", "the units"),
}
"""Name → path below the directory of `find`, and what it is."""

NOT_SHIPPED: Final = "the files are not installed; the wheel and the packages contain them"


def files(arguments: Namespace) -> int:
    """Print all paths, or the one of a name."""
    directory = find()
    if directory is None:
        return failed(NOT_SHIPPED)
    name: str | None = arguments.name
    show(f"{directory / FILES[name][0]}\n" if name else table(directory))
    return 0


def find(module: Path = Path(__file__)) -> Path | None:
    """Return the directory that holds the files: a checkout, or PREFIX/share/libvirt-exporter.

    PREFIX is where `module`, a file of this package's `commands`, is installed: a virtual
    environment, ~/.local, /usr. None where only the package itself was installed.
    """
    module = module.resolve()
    checkout = module.parents[3]
    if (checkout / "hatch_build.py").is_file():
        return checkout
    places = (parent / "share" / "libvirt-exporter" for parent in module.parents[2:])
    return next((place for place in places if place.is_dir()), None)


def table(directory: Path) -> str:
    """Return a line for each name: the name, its path and what it is."""
    rows = [(name, str(directory / path), what) for name, (path, what) in FILES.items()]
    names, paths = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "".join(f"{name:{names}}  {path:{paths}}  {what}\n" for name, path, what in rows)
