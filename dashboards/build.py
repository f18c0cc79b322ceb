"""Writes the Grafana dashboards beside this file: `python -m dashboards.build [--check]`.

The output depends on nothing but this directory and the names of the domain states.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from dashboards import exporter, fleet, host, storage_and_jobs, vm
from dashboards.grafana import Json

DIRECTORY = Path(__file__).parent

DASHBOARDS: Final[tuple[Callable[[], Json], ...]] = (
    fleet.fleet,
    host.host,
    vm.vm,
    storage_and_jobs.storage_and_jobs,
    exporter.exporter,
)
"""What makes each dashboard."""


def files() -> dict[str, str]:
    """What each generated file must hold, by its name."""
    dashboards = (build() for build in DASHBOARDS)
    return {
        f"{built['uid']}.json": json.dumps(built, indent=2, ensure_ascii=False) + "\n"
        for built in dashboards
    }


def main(argv: Sequence[str] | None = None, directory: Path = DIRECTORY) -> int:
    """Write, or check; 1 when a checked file differs."""
    parser = argparse.ArgumentParser(description="Write the Grafana dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 on differences")
    check = parser.parse_args(argv).check
    differs = False
    for name, text in files().items():
        path = directory / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        differs = True
        print(f"{name}: {'differs from the code; run `make dashboards`' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and differs)


if __name__ == "__main__":
    sys.exit(main())
