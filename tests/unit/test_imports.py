"""The import rules of docs/architecture.md: who of us may import whom, and which library."""

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

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "model": set(),
    "contract": set(),
    "query": {"model"},
    "catalogue": {"model"},
    "logs": set(),
    "field_pattern": set(),
    "label_path": set(),
    "domain_filter": {"model", "label_path"},
    "config": {"catalogue", "field_pattern", "label_path", "domain_filter"},
    "hypervisor": {"model", "label_path"},
    "render": {"model", "catalogue", "field_pattern"},
    "queries": {"model", "contract", "query", "config"},
    "telemetry": {"catalogue"},
    "exposition": {"model", "contract", "render"},
}
"""Part of the package → the other parts it may import; every part may import `__version__`."""
MAY_IMPORT["service"] = MAY_IMPORT.keys() - {"__main__"}
MAY_IMPORT["web"] = MAY_IMPORT.keys() - {"__main__"}
MAY_IMPORT["serving"] = MAY_IMPORT.keys() - {"__main__"}
MAY_IMPORT |= {
    "config_docs": {"config", "catalogue", "domain_filter", "model"},
    "doctor": {"model", "catalogue", "render"},
    "metric_list": {"catalogue"},
    "vms_table": {"model", "catalogue"},
}
MAY_IMPORT["arguments"] = {"config", "config_docs"}
MAY_IMPORT["cli"] = MAY_IMPORT.keys() - {"__main__"}

ONLY_IN: dict[str, set[str]] = {
    "libvirt": {"hypervisor"},
    "libvirt_lxc": {"hypervisor"},
    "libvirt_qemu": {"hypervisor"},
    "libvirtaio": {"hypervisor"},
    "libvirtmod": {"hypervisor"},
    "yaml": {"config"},
    "starlette": {"web"},
    "uvicorn": {"web"},
}
"""Library → the parts that may import it."""

LIBRARIES_OF: dict[str, set[str]] = {"model": {"msgspec"}, "catalogue": set()}
"""Part → the only libraries it may import, for parts that are data."""


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
    if part not in MAY_IMPORT:
        return [f"{part} is not in the table of import rules"]
    own = names[:1] if part == "__init__" else names
    return [
        f"{part} may not import {'.'.join(name)}"
        for name in imports(source, own, is_package=is_package)
        if not is_allowed(part, name)
    ]


def is_allowed(part: str, name: tuple[str, ...]) -> bool:
    """Whether the part of the package may import the module or attribute of this name."""
    library = name[0]
    if library == PACKAGE:
        target = name[1] if len(name) > 1 else "*"
        return target in {part, "__version__"} | MAY_IMPORT[part]
    if library == "importlib":
        return name[1:2] in {("metadata",), ("resources",)}
    if library in sys.stdlib_module_names:
        return True
    return part in ONLY_IN.get(library, {part}) and library in LIBRARIES_OF.get(part, {library})


@pytest.mark.parametrize(
    "path", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES))
)
def test_module_imports_only_what_the_rules_allow(path: Path) -> None:
    """No module of the exporter breaks the rules."""
    is_package = path.name == "__init__.py"
    names = path.relative_to(SOURCES / PACKAGE).with_suffix("").parts
    module = ".".join(names[:-1] if is_package and len(names) > 1 else names)

    assert violations(path.read_text(), module, is_package=is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("render.text", "import libvirt"),
        ("render.text", "import libvirt as virt"),
        ("render.text", "def late():\n    from libvirt import open"),
        ("query.changes", "from libvirt_qemu import qemuAgentCommand"),
        ("web.app", "import libvirt"),
        ("service", "import libvirtaio"),
        ("cli", "import libvirt"),
        ("cli", "import yaml"),
        ("web.security", "from yaml import safe_load"),
        ("hypervisor.sampler", "from libvirt_exporter.render import plan"),
        ("hypervisor.sampler", "from ..render.plan import Plan"),
        ("hypervisor.sampler", "from .. import catalogue"),
        ("hypervisor.sampler", "import libvirt_exporter.web.app"),
        ("hypervisor.sampler", "import uvicorn"),
        ("render.plan", "from libvirt_exporter import hypervisor"),
        ("render.plan", "from libvirt_exporter.config import Config"),
        ("render.plan", "if TYPE_CHECKING:\n    from libvirt_exporter import service"),
        ("service", "from libvirt_exporter.web import app"),
        ("catalogue.state", "from libvirt_exporter.render import keys"),
        ("catalogue.state", "import msgspec"),
        ("model", "import prometheus_client"),
        ("model", "import libvirt_exporter"),
        ("telemetry", "import importlib\nimportlib.import_module('libvirt')"),
        ("telemetry", "from importlib import import_module"),
        ("telemetry", "__import__('libvirt')"),
        ("helpers", "import os"),
    ],
)
def test_forbidden_import_is_reported(module: str, source: str) -> None:
    """Whatever its form, an import against the rules is one violation."""
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hypervisor.connection", "import libvirt"),
        ("hypervisor.sampler", "from libvirt_exporter.hypervisor import calls"),
        ("hypervisor.sampler", "from .calls import call\nfrom ..model import HostSample"),
        ("config.document", "import yaml"),
        ("web.app", "from starlette.applications import Starlette"),
        ("cli", "from libvirt_exporter import __version__, service, web"),
        ("web.pages", "from importlib import resources"),
        ("service", "from libvirt_exporter.hypervisor.sampler import Host"),
    ],
)
def test_allowed_import_is_not_reported(module: str, source: str) -> None:
    """What the rules allow is no violation."""
    assert violations(source, module) == []


def test_relative_import_in_a_package_starts_at_the_package() -> None:
    """`from . import` in an `__init__` means the package itself, not its parent."""
    assert violations("from . import plan", "render", is_package=True) == []
    assert violations("from .. import hypervisor", "render", is_package=True) != []


def test_architecture_documents_every_part() -> None:
    """The table of docs/architecture.md has a row for each part of the rules, and no other."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}

    assert documented == {part for part in MAY_IMPORT if not part.startswith("__")}
