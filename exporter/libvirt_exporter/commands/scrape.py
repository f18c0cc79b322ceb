"""The command `scrape`: the metrics of one sample, on stdout or in a file."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from libvirt_exporter.commands.once import run_with_target
from libvirt_exporter.commands.output import failed, replace_file, write
from libvirt_exporter.contract import ScrapeRequest
from libvirt_exporter.service.target import Target


def scrape(arguments: Namespace) -> int:
    """Write the metrics; a libvirt that does not respond has its own and status 1."""
    return run_with_target(arguments, lambda target: _write(target, arguments.output))


async def _write(target: Target, output: Path | None) -> int:
    exposition = await target.scrape(ScrapeRequest())
    if output is None:
        write(exposition.body)
    else:
        replace_file(output, exposition.body)
    sample = target.latest
    return failed(sample.error) if sample is not None and not sample.up else 0
