"""The import rules of docs/architecture.md: farther down never imports farther up."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "exporter"
PACKAGE = "libvirt_exporter"

STACK: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("commands",),
    ("web",),
    ("service", "reference"),
    ("render", "config", "hypervisor"),
    ("query", "patterns", "catalogue"),
    (
        *("contract", "model", "nearest", "build", "files", "background", "uri", "shared"),
        *("pieces", "interning"),
    ),
)
"""The packages, from the top of the house down: each may import what is in a lower row."""

NARROWER: dict[str, set[str]] = {
    "render": {"catalogue", "patterns.fields", "contract", "model", "pieces", "interning"},
    "config": {"catalogue", "query.fields", "patterns", "nearest", "files", "uri", "model"},
    "hypervisor": {
        *("model", "patterns.expressions", "patterns.labels", "files", "uri", "interning"),
    },
    "query": {"contract", "nearest", "model"},
    "patterns": {"model"},
    "catalogue": {"model"},
}
"""Package → all that it may import, where that is less than all lower rows."""

ROOMS: tuple[str, ...] = (
    *("host", "sources", "events", "sampling", "domains", "connection", "invented"),
)
"""The rooms of `hypervisor`, from the top down."""

ONLY_IN: dict[str, set[str]] = {
    "libvirt": {"hypervisor"},
    "libvirt_lxc": {"hypervisor"},
    "libvirt_qemu": {"hypervisor"},
    "libvirtaio": {"hypervisor"},
    "libvirtmod": {"hypervisor"},
    "re2": {"patterns"},
    "yaml": {"config"},
    "starlette": {"web"},
    "uvicorn": {"web"},
}
"""Library → the packages that may import it."""

LIBRARIES_OF: dict[str, set[str]] = {"model": {"msgspec"}, "catalogue": set()}
"""Package → the only libraries it may import, for packages that are data."""

HEIGHT = {part: -row for row, parts in enumerate(STACK) for part in parts}


def imports(source: str, module: tuple[str, ...], *, is_package: bool) -> Iterator[tuple[str, ...]]:
    """Absolute names of all that `source` imports, anywhere in it, as tuples of their parts.

    `module` is its own name; what is imported by a name computed at run time appears as
    `("importlib",)`.
    """
    package = module if is_package else module[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield ("importlib",)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What `source` imports against the rules, were it the module of that dotted name."""
    names = (PACKAGE, *module.split("."))
    part = names[1]
    if part not in {"__init__", *HEIGHT}:
        return [f"{part} has no place: move it into one of {', '.join(HEIGHT)}"]
    if part == "hypervisor" and names[2:] and names[2] not in ROOMS:
        return [f"{module} has no room: move it into one of hypervisor's {', '.join(ROOMS)}"]
    own = names[:1] if part == "__init__" else names
    found = (
        _against_the_rules(names, name) for name in imports(source, own, is_package=is_package)
    )
    return [sentence for sentence in found if sentence]


def _against_the_rules(importer: tuple[str, ...], name: tuple[str, ...]) -> str:
    """What is wrong with this import and where to go instead; '' where nothing is."""
    part, module = importer[1], ".".join(importer[1:])
    library = name[0]
    if library != PACKAGE:
        return _against_the_libraries(part, module, name)
    if name[1:2] == ("__version__",):
        return ""
    target = name[1] if len(name) > 1 else "*"
    imported = ".".join(name[1:])
    if target == part:
        return _against_the_rooms(importer, name) if part == "hypervisor" else ""
    if HEIGHT.get(target, 1) >= HEIGHT.get(part, -len(STACK)):
        return (
            f"{module} may not import {imported}, which is not below it: hand it in from above as "
            f"an argument, or move what both need down, to the lowest package that can hold it"
        )
    allowed = NARROWER.get(part)
    if allowed is not None and not any(_is_within(imported, place) for place in allowed):
        return (
            f"{module} may not import {imported}: {part} has {', '.join(sorted(allowed))} only; "
            f"let `service`, which knows both, hand over what is needed"
        )
    return ""


def _against_the_rooms(importer: tuple[str, ...], name: tuple[str, ...]) -> str:
    room = importer[2] if len(importer) > 2 else ROOMS[0]
    target = name[2] if len(name) > 2 else ROOMS[0]
    if target == room:
        return ""
    if target not in ROOMS or ROOMS.index(target) < ROOMS.index(room):
        return (
            f"{'.'.join(importer[1:])} may not import {'.'.join(name[1:])}, which is above it: "
            f"let `hypervisor.host` hand it in, or move what both need into a room below"
        )
    return ""


def _against_the_libraries(part: str, module: str, name: tuple[str, ...]) -> str:
    library = name[0]
    if library == "importlib":
        if name[1:2] in {("metadata",), ("resources",)}:
            return ""
        return f"{module} may not import by a computed name: these rules could not see it"
    if library in sys.stdlib_module_names:
        return ""
    homes = ONLY_IN.get(library, {part})
    if part not in homes:
        return f"{module} may not import {library}: only {', '.join(homes)} knows it"
    if library not in LIBRARIES_OF.get(part, {library}):
        return f"{module} may not import {library}: {part} is data and needs no library"
    return ""


def _is_within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES))
)
def test_module_imports_only_what_the_rules_allow(path: Path) -> None:
    """No module of the exporter breaks the rules."""
    is_package = path.name == "__init__.py"
    names = path.relative_to(SOURCES / PACKAGE).with_suffix("").parts
    module = ".".join(names[:-1] if is_package and len(names) > 1 else names)

    assert violations(path.read_text(), module, is_package=is_package) == []


def test_no_two_modules_import_each_other_round_a_circle() -> None:
    """Within a package, too, the modules can be put in an order; a circle is named."""
    arrows: dict[str, set[str]] = {}
    for path in SOURCES.rglob("*.py"):
        names = path.relative_to(SOURCES).with_suffix("").parts
        is_package = names[-1] == "__init__"
        module = names[:-1] if is_package else names
        found = imports(path.read_text(), module, is_package=is_package)
        arrows[".".join(module)] = {".".join(name) for name in found if name[0] == PACKAGE}
    modules = set(arrows)
    graph = {
        module: {
            target
            for name in names
            for target in (name, name.rpartition(".")[0])
            if target in modules and target != module
        }
        for module, names in arrows.items()
    }

    assert _circle(graph) == []


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules that are left when those that import no other are taken away, again and again."""
    rest = dict(graph)
    while free := [module for module, targets in rest.items() if not targets & rest.keys()]:
        for module in free:
            del rest[module]
    return sorted(rest)


def test_a_circle_is_found() -> None:
    """Of three modules two that import each other are named, not the one that only imports them."""
    assert _circle({"a": {"b"}, "b": {"a"}, "c": set()}) == ["a", "b"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("render.text", "import libvirt"),
        ("render.text", "import libvirt as virt"),
        ("render.text", "def late():\n    from libvirt import open"),
        ("query.changes", "from libvirt_qemu import qemuAgentCommand"),
        ("web.app", "import libvirt"),
        ("service.target", "import libvirtaio"),
        ("commands.main", "import libvirt"),
        ("commands.main", "import yaml"),
        ("web.security.security", "from yaml import safe_load"),
        ("hypervisor.sampling.sampler", "from libvirt_exporter.render import plan"),
        ("hypervisor.sampling.sampler", "from ...render.plan import Plan"),
        ("hypervisor.sampling.sampler", "from ... import catalogue"),
        ("hypervisor.sampling.sampler", "import libvirt_exporter.web.app"),
        ("hypervisor.sampling.sampler", "import uvicorn"),
        ("hypervisor.sampling.lane", "from libvirt_exporter.hypervisor.sources import jobs"),
        ("hypervisor.connection.pool", "from libvirt_exporter.hypervisor import host"),
        ("hypervisor.domains.inventory", "from libvirt_exporter.patterns.domains import Filter"),
        ("hypervisor.monitor", "import os"),
        ("render.plan", "from libvirt_exporter import hypervisor"),
        ("render.plan", "from libvirt_exporter.config import Config"),
        ("render.plan", "from libvirt_exporter.patterns.labels import LabelPath"),
        ("render.plan", "if TYPE_CHECKING:\n    from libvirt_exporter import service"),
        ("config.schema", "from libvirt_exporter.query.changes import Changes"),
        ("query.changes", "from libvirt_exporter.patterns import fields"),
        ("service.target", "from libvirt_exporter.web import app"),
        ("service.target", "from libvirt_exporter.reference import metrics"),
        ("catalogue.state", "from libvirt_exporter.render import keys"),
        ("catalogue.state", "import msgspec"),
        ("model", "import prometheus_client"),
        ("model", "import libvirt_exporter"),
        ("contract", "from libvirt_exporter.model import HostSample"),
        ("service.telemetry", "import importlib\nimportlib.import_module('libvirt')"),
        ("service.telemetry", "from importlib import import_module"),
        ("service.telemetry", "__import__('libvirt')"),
        ("helpers", "import os"),
    ],
)
def test_forbidden_import_is_reported(module: str, source: str) -> None:
    """Whatever its form, an import against the rules is one violation."""
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hypervisor.connection.session", "import libvirt"),
        ("hypervisor.sampling.sampler", "from libvirt_exporter.hypervisor.connection import pool"),
        ("hypervisor.sampling.sampler", "from .bulk import ask\nfrom ...model import HostSample"),
        ("hypervisor.host", "from libvirt_exporter.hypervisor.sources.jobs import JobsLane"),
        ("hypervisor.domains.domain_xml", "from libvirt_exporter.patterns.labels import LabelPath"),
        ("config.document", "import yaml"),
        ("config.schema", "from libvirt_exporter.query.fields.table import FIELDS"),
        ("web.app", "from starlette.applications import Starlette"),
        ("commands.main", "from libvirt_exporter import __version__, service, web"),
        ("web.pages", "from importlib import resources"),
        ("service.target", "from libvirt_exporter.hypervisor.host import Host"),
    ],
)
def test_allowed_import_is_not_reported(module: str, source: str) -> None:
    """What the rules allow is no violation."""
    assert violations(source, module) == []


def test_a_violation_says_where_to_go_instead() -> None:
    """The sentence names the module, what it imported, and the way out."""
    (sentence,) = violations("from libvirt_exporter.hypervisor import host", "render.plan")

    assert "render.plan may not import hypervisor.host" in sentence
    assert "hand it in from above" in sentence


def test_relative_import_in_a_package_starts_at_the_package() -> None:
    """`from . import` in an `__init__` means the package itself, not its parent."""
    assert violations("from . import plan", "render", is_package=True) == []
    assert violations("from .. import hypervisor", "render", is_package=True) != []


def test_architecture_documents_every_part() -> None:
    """The table of docs/architecture.md has a row for each package and room, and no other."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}

    assert documented == {*HEIGHT, *ROOMS} - {"__main__"}
