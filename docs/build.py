"""Writes the generated documents, or with --check says which of them differ from the code."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from deploy.prometheus import compatibility
from docs import sample
from libvirt_exporter.reference import configuration as config_docs
from libvirt_exporter.reference import fields as field_docs
from libvirt_exporter.reference import metrics as metric_list

ROOT = Path(__file__).parents[1]

_RULES: Final = {
    "VMs": "libvirt-domains.yml",
    "Hosts": "libvirt-hosts.yml",
    "The exporter": "libvirt-exporter.yml",
}
"""Files of alerting rules, by what they are about."""

_RUNBOOKS: Final = """\
# Runbooks

Each alert of `deploy/prometheus/rules/` has a runbook: what the alert means, its impact, how to
diagnose the cause, and what to do. An alert has the path of its runbook in the annotation
`runbook`, and its address in `runbook_url`: the setting `runbook_base` of
`deploy/prometheus/source/settings.yml` followed by that path.

In the commands, replace `web-1` with the alert's label `domain`, and `kvm1:9177` with its
`instance`. Run them in a shell on the host, as a user who may manage libvirt.
"""


def documents() -> dict[str, str]:
    """Return the text of each generated file by its path in the checkout."""
    schema = config_docs.configuration_schema()
    return {
        "README.md": sample.readme((ROOT / "README.md").read_text("utf-8")),
        "docs/metrics.md": metric_list.markdown(),
        "docs/api.md": field_docs.markdown(),
        "docs/runbooks/README.md": runbooks(),
        "docs/migrating.md": compatibility.markdown(),
        "docs/configuration.md": config_docs.configuration_markdown(),
        "config/exporter.yml": config_docs.configuration_file(),
        "config/exporter.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }


def runbooks() -> str:
    """Return the index of the runbooks: alerts in the order of the rules, each with its gist."""
    parts = [_RUNBOOKS]
    for title, file in _RULES.items():
        groups = yaml.safe_load((ROOT / "deploy/prometheus/rules" / file).read_text())["groups"]
        severities: dict[str, list[str]] = {}
        for rule in (rule for group in groups for rule in group["rules"]):
            severities.setdefault(rule["alert"], []).append(rule["labels"]["severity"])
        rows = ["| alert | severity | in short |", "|---|---|---|"]
        rows += [
            f"| [{alert}]({alert}.md) | {', '.join(severity)} | {_in_short(alert)} |"
            for alert, severity in severities.items()
        ]
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _in_short(alert: str) -> str:
    """Return what the runbook says after `In short: `; '' where it does not."""
    path = ROOT / "docs" / "runbooks" / f"{alert}.md"
    found = re.search(r"^In short: (.+)\.$", path.read_text() if path.is_file() else "", re.M)
    return found[1] if found else ""


def differing(root: Path) -> list[str]:
    """Return the paths of the files below `root` that are absent or not as they should be."""
    return [
        path
        for path, text in documents().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write, or check; 1 when a checked file differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on differences")
    check = parser.parse_args(argv).check
    changed = differing(root)
    for path in changed:
        print(f"{path}: {'differs from the code; run `make docs`' if check else 'written'}")
        if not check:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(documents()[path], encoding="utf-8")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
