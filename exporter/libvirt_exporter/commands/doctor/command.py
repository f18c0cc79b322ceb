"""What the doctor examines, host by host, and prints."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from libvirt_exporter.commands import blind
from libvirt_exporter.commands.doctor.agents import LANE, agent_findings
from libvirt_exporter.commands.doctor.files import file_findings, state_directory_findings
from libvirt_exporter.commands.doctor.finding import Finding, hint, lines_of, problem
from libvirt_exporter.commands.doctor.host import findings, report, schedstats_of
from libvirt_exporter.commands.once import configuration, known, run_with_exporter
from libvirt_exporter.commands.output import printable, show
from libvirt_exporter.config import Config, aliases, files_of, notes
from libvirt_exporter.model import HostSample
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.unmatched import unmatched
from libvirt_exporter.uri import redacted

_AGENTS_WITHIN: Final = 15.0
"""Seconds that the doctor waits for guest agents."""


def doctor(arguments: Namespace) -> int:
    """Print what was found; 1 is the status where something does not work."""
    config = configuration(arguments)
    of_all = [*_configuration_findings(config)]
    chosen = aliases(config) if arguments.target is None else (known(config, arguments.target),)
    files = {alias: [*file_findings(files_of(target))] for alias, target in config.targets.items()}

    async def examine(exporter: Exporter) -> int:
        reports = [_examined(exporter.target(alias), files.get(alias, ())) for alias in chosen]
        if len(reports) == 1:
            return _show_report(await reports[0], of_all)
        status = _show_lines(lines_of(of_all), of_all)
        for alias, of_host in zip(chosen, await asyncio.gather(*reports), strict=True):
            show(f"{alias or 'libvirt.uri'}:\n")
            status |= _show_report(of_host)
        return status

    served = {alias: target for alias, target in config.targets.items() if alias in chosen}
    uri = config.libvirt.uri if "" in chosen else ""
    config = replace(config, targets=served, libvirt=replace(config.libvirt, uri=uri))
    return run_with_exporter(arguments, config, examine)


def _configuration_findings(config: Config) -> Iterator[Finding]:
    yield from state_directory_findings(config.events.state_directory)
    if config.applications.enabled:
        directory = config.applications.state_directory
        yield from state_directory_findings(directory, "lists of applications")
    for _, what, remedy in notes(config):
        yield hint(what, remedy)
    for option, what, names in blind.notes(config):
        remedy = f"change {option}, or ignore this if it is intended"
        yield hint(what, remedy, tuple(blind.wrapped(names)))


class _Report(NamedTuple):
    """What the doctor found of one host."""

    sample: HostSample
    hidden: int
    """Domains that the configuration leaves out."""
    uri: str
    besides: Sequence[Finding]


async def _examined(target: Target, besides: Sequence[Finding]) -> _Report:
    uri = redacted(target.config.libvirt.uri)
    everything = await target.sample()
    besides = [*besides]
    for found in unmatched(target.config, everything):
        besides.append((problem if found.alone else hint)(found.what, found.remedy))
    sample = target.shown(everything)
    if target.config.guest_agent.enabled:
        everything = await _with_agents(target, everything)
        sample = target.shown(everything)
        besides = [*besides, *agent_findings(sample, uri)]
    return _Report(sample, len(everything.domains) - len(sample.domains), uri, besides)


async def _with_agents(target: Target, sample: HostSample) -> HostSample:
    """A sample after a reading of the guest agents, if one ends in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _AGENTS_WITHIN
    while sample.up and LANE not in sample.lanes and loop.time() < until:
        await asyncio.sleep(0.5)
        sample = await target.sample()
    return sample


def _show_report(of_host: _Report, of_all: Sequence[Finding] = ()) -> int:
    sample, hidden, uri, besides = of_host
    found = findings(
        sample,
        uri=uri,
        schedstats=schedstats_of(uri),
        hidden=hidden,
        besides=[*besides, *of_all],
    )
    return _show_lines(report(sample, found, uri=uri, hidden=hidden), found)


def _show_lines(lines: Iterable[str], found: Iterable[Finding]) -> int:
    for line in lines:
        show(f"{printable(line)}\n")
    return int(any(finding.severity == "problem" for finding in found))
