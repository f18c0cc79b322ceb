"""Writes the Prometheus rules, or with --check says which files differ from their source.

The source stands in source/: rules with the names of settings in them, and the settings. Of each
file of rules comes one of rules/, and of all together prometheus-rule.yml for the Prometheus
operator. compatibility.py has the names of other exporters.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.prometheus import compatibility

DIRECTORY: Final = Path(__file__).parent
SOURCE: Final = DIRECTORY / "source"

_HEADER: Final = (
    "# Written by deploy/prometheus/build.py from source/{name}: change that, then `make rules`.\n"
)


def settings(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return each setting by its name, some of them changed.

    Raises KeyError for a change of a setting that does not exist.
    """
    known = {
        name: str(value)
        for name, value in yaml.safe_load((SOURCE / "settings.yml").read_text("utf-8")).items()
    }
    for name in changes or {}:
        if name not in known:
            raise KeyError(name)
    return known | dict(changes or {})


def files(values: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each written file by its path below this directory."""
    written = {
        f"rules/{path.name}": _HEADER.format(name=path.name)
        + _filled_in(path.read_text("utf-8"), values)
        for path in sorted(SOURCE.glob("libvirt-*.yml"))
    }
    groups = [group for text in written.values() for group in yaml.safe_load(text)["groups"]]
    return (
        written
        | {f"compatibility/{name}.yml": compatibility.rules(name) for name in compatibility.PEERS}
        | {"prometheus-rule.yml": _prometheus_rule(groups)}
    )


def _filled_in(text: str, values: Mapping[str, str]) -> str:
    """Return the text with the values of its settings, and the address beside each runbook."""
    for _ in range(2):  # a setting may have others in it
        text = re.sub(r"@\{(\w+)\}", lambda found: values[found[1]], text)
    base = values["runbook_base"].rstrip("/")
    return re.sub(r"^( *)runbook: (.+)$", rf"\g<0>\n\1runbook_url: {base}/\2", text, flags=re.M)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if text.endswith("\n") else None
    ),
)


def _prometheus_rule(groups: list[dict[str, Any]]) -> str:
    """Return the groups as a resource of the Prometheus operator."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "libvirt-exporter",
            "labels": {"app.kubernetes.io/name": "libvirt-exporter"},
        },
        "spec": {"groups": groups},
    }
    text = yaml.dump(resource, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return _HEADER.format(name="*.yml") + text


def main(argv: Sequence[str] | None = None) -> int:
    """Write, or check; 1 when a checked file differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on differences")
    parser.add_argument("--output", type=Path, default=DIRECTORY, metavar="DIRECTORY")
    parser.add_argument("--runbook-base", metavar="URL", help="the setting runbook_base")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args(argv)
    changes = dict(change.partition("=")[::2] for change in arguments.set)
    if arguments.runbook_base:
        changes["runbook_base"] = arguments.runbook_base
    try:
        wanted = files(settings(changes))
    except KeyError as unknown:
        parser.error(f"no setting is called {unknown}: source/settings.yml has them")
    changed = [
        path
        for path, text in wanted.items()
        if not (arguments.output / path).is_file()
        or (arguments.output / path).read_text("utf-8") != text
    ]
    for path in changed:
        what = "differs from its source; run `make rules`" if arguments.check else "written"
        print(f"{path}: {what}")
        if not arguments.check:
            (arguments.output / path).parent.mkdir(parents=True, exist_ok=True)
            (arguments.output / path).write_text(wanted[path], encoding="utf-8")
    return int(arguments.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
