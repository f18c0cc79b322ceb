"""Writes the generated documents, or with --check says which of them differ from the code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from libvirt_exporter.reference import configuration as config_docs
from libvirt_exporter.reference import fields as field_docs
from libvirt_exporter.reference import metrics as metric_list

ROOT = Path(__file__).parents[1]


def documents() -> dict[str, str]:
    """Return the text of each generated file by its path in the checkout."""
    schema = config_docs.configuration_schema()
    return {
        "docs/metrics.md": metric_list.markdown(),
        "docs/api.md": field_docs.markdown(),
        "docs/configuration.md": config_docs.configuration_markdown(),
        "config/exporter.yml": config_docs.configuration_file(),
        "config/exporter.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }


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
