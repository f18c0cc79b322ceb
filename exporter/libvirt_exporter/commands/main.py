"""The command `libvirt-exporter`: what its subcommands do, and with which exit status."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from msgspec.structs import replace

from libvirt_exporter.commands import blind, check_config, demo, doctor, logs, shipped, vms_table
from libvirt_exporter.commands import serve as serving
from libvirt_exporter.commands.arguments import options, parse
from libvirt_exporter.commands.doctor_agents import LANE, agent_findings
from libvirt_exporter.commands.service_manager import ServiceManager, inherited_sockets
from libvirt_exporter.commands.version import PROGRAM
from libvirt_exporter.config import (
    FLAGS,
    Config,
    ConfigError,
    Place,
    Problem,
    aliases,
    files_of,
    load,
    notes,
    of_target,
    override,
    place_of,
)
from libvirt_exporter.contract import QueryRequest, RequestError, ScrapeRequest, UnavailableError
from libvirt_exporter.model import HostSample
from libvirt_exporter.nearest import nearest
from libvirt_exporter.query.overview import ASKS
from libvirt_exporter.reference import metrics as metric_list
from libvirt_exporter.reference.configuration import configuration_file
from libvirt_exporter.service.exporter import Exporter
from libvirt_exporter.service.target import Target
from libvirt_exporter.service.telemetry import Telemetry
from libvirt_exporter.uri import redacted
from libvirt_exporter.web.listening import ListenError, listen, remove
from libvirt_exporter.web.security.security import Security


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status.

    Commands that use libvirt end the process themselves: a thread may be stuck in libvirt, and
    the interpreter would wait for it.
    """
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        if arguments.command != "serve":
            serving.unblock_signals()
        return _COMMANDS[arguments.command](arguments)
    except _FAILURES as error:
        return _failed(error)
    except KeyboardInterrupt:
        return 130


class _OutputError(Exception):
    """What was asked for cannot be written."""


_NOT_SHIPPED: Final = "the files are not installed; the wheel and the packages contain them"
_AGENTS_WITHIN: Final = 15.0
"""Seconds that the doctor waits for guest agents."""

_FAILURES: Final = (ConfigError, ListenError, _OutputError)
"""What a command may fail with, in words for a person."""


# Commands


def _serve(arguments: Namespace) -> int:
    def configuration() -> Config:
        config = _configuration(arguments)
        logs.setup(config.log.level, config.log.format)
        return config

    config = configuration()
    by_flag = "web.config_file" in options(arguments)
    security = _security(config, None if by_flag else arguments.config_file)
    systemd, web = ServiceManager(os.environ, os.getpid()), config.web
    if web.systemd_socket:
        sockets = inherited_sockets(os.environ, os.getpid())
        return _run(serving.run(configuration, sockets, security, systemd))
    sockets = listen(web.listen, int(web.socket_mode, 8))

    async def serve() -> None:
        try:
            await serving.run(configuration, sockets, security, systemd)
        finally:
            remove(web.listen)

    return _run(serve())


def _scrape(arguments: Namespace) -> int:
    return _run_with_target(arguments, lambda target: _write_scrape(target, arguments.output))


async def _write_scrape(target: Target, output: Path | None) -> int:
    exposition = await target.scrape(ScrapeRequest())
    if output is None:
        _write(exposition.body)
    else:
        try:
            _write_atomically(output, exposition.body)
        except OSError as error:
            raise _OutputError(f"{output}: cannot be written: {error.strerror}") from None
    sample = target.latest
    return _failed(sample.error) if sample is not None and not sample.up else 0


def _write_atomically(path: Path, content: bytes) -> None:
    """Replace the file in one step, so that nobody ever reads half of it. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # The collector that reads the file runs as another user.
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _metrics(arguments: Namespace) -> int:
    write = {
        "table": lambda: metric_list.table(_columns()),
        "markdown": metric_list.markdown,
        "json": metric_list.as_json,
    }[arguments.format]
    _print(write())
    return 0


def _vms(arguments: Namespace) -> int:
    if arguments.json:
        if arguments.names:
            return _failed("vms --json prints all VMs; remove the names")
        request = QueryRequest(fields=arguments.fields, strict=True)
        return _run_with_target(
            arguments, lambda target: _print_fields(target, request, arguments.watch)
        )
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    look = vms_table.Look(None, arguments.sort, arguments.names, colour)
    return _run_with_target(arguments, lambda target: _print_vms(target, look, arguments.watch))


async def _print_vms(target: Target, look: vms_table.Look, watch: float | None) -> int:
    before = target.shown(await target.sample(ASKS))
    # The first table follows soon, for whoever watches too.
    await asyncio.sleep(1.0 if before.up else 0.0)
    while True:
        now = target.shown(await target.sample(ASKS))
        if watch is None:
            if not now.up:
                return _failed(now.error)
            _print(vms_table.text(before, now, look._replace(width=_columns())))
            return 0
        if sys.stdout.isatty():
            # To the upper left corner, and everything from there on cleared.
            _print("\x1b[H\x1b[J")
        _print(
            vms_table.text(before, now, look._replace(width=_columns()))
            if now.up
            else f"{vms_table.printable(now.error)}\n"
        )
        before = now
        await asyncio.sleep(watch)


async def _print_fields(target: Target, request: QueryRequest, watch: float | None) -> int:
    while True:
        status = 0
        try:
            answer = json.loads((await target.query(request, anew=True)).body)
        except UnavailableError as error:
            status = _failed(error.reason or error.message)
        except RequestError as error:
            return _failed(f"{error.message}; {error.hint}" if error.hint else error.message)
        else:
            if answer["full"] or answer["dataList"] or answer["removed"]:
                # Only ASCII: names could command the terminal.
                _print(f"{json.dumps(answer)}\n")
            request = replace(request, changed_since=answer["queryStamp"])
        if watch is None:
            return status
        await asyncio.sleep(watch)


def _columns() -> int | None:
    """The width of the terminal; None where there is none, so that grep finds all of a line."""
    # `watch` runs its command in a pipe and tells the width of its terminal by COLUMNS.
    width, _ = shutil.get_terminal_size((0, 0))
    return width or None


def _check_config(arguments: Namespace) -> int:
    verdicts = [check_config.judge(file) for file in arguments.files]
    mistakes = [mistake for verdict in verdicts for mistake in verdict.mistakes]
    if arguments.format == "json":
        _print(f"{check_config.as_json(verdicts)}\n")
        return int(bool(mistakes))
    for line in check_config.as_text(verdicts):
        _print(f"{line}\n")
    return _failed("\n".join(map(str, mistakes))) if mistakes else 0


def _config(_arguments: Namespace) -> int:
    _print(configuration_file())
    return 0


def _files(arguments: Namespace) -> int:
    directory = shipped.find()
    if directory is None:
        return _failed(_NOT_SHIPPED)
    name: str | None = arguments.name
    _print(f"{directory / shipped.FILES[name][0]}\n" if name else shipped.table(directory))
    return 0


def _demo(_arguments: Namespace) -> int:
    directory = shipped.find()
    if directory is None:
        return _failed(_NOT_SHIPPED)
    try:
        demo.show(directory, lambda line: _print(f"{line}\n"))
    except demo.DemoError as error:
        return _failed(error)
    return 0


def _doctor(arguments: Namespace) -> int:
    config = _configuration(arguments)
    of_all = [*doctor.state_directory_findings(config.events.state_directory)]
    if config.applications.enabled:
        directory = config.applications.state_directory
        of_all += doctor.state_directory_findings(directory, "lists of applications")
    of_all += [doctor.Finding("hint", what, remedy) for _, what, remedy in notes(config)]
    of_all += [
        doctor.Finding("hint", what, f"change {option}, or ignore this if it is intended")
        for option, what in blind.notes(config)
    ]
    chosen = aliases(config) if arguments.target is None else (_known(config, arguments.target),)
    files = {
        alias: [*doctor.file_findings(files_of(target))] for alias, target in config.targets.items()
    }

    async def examine(exporter: Exporter) -> int:
        reports = [_examined(exporter.target(alias), files.get(alias, ())) for alias in chosen]
        if len(reports) == 1:
            return _print_report(await reports[0], of_all)
        status = _print_lines(doctor.lines_of(of_all), of_all)
        for alias, report in zip(chosen, await asyncio.gather(*reports), strict=True):
            _print(f"{alias or 'libvirt.uri'}:\n")
            status |= _print_report(report)
        return status

    served = {alias: target for alias, target in config.targets.items() if alias in chosen}
    uri = config.libvirt.uri if "" in chosen else ""
    config = replace(config, targets=served, libvirt=replace(config.libvirt, uri=uri))
    return _run_with_exporter(arguments, config, examine)


class _Report(NamedTuple):
    """What the doctor found of one host."""

    sample: HostSample
    hidden: int
    """Domains that the configuration leaves out."""
    uri: str
    besides: Sequence[doctor.Finding]


async def _examined(target: Target, besides: Sequence[doctor.Finding]) -> _Report:
    uri = redacted(target.config.libvirt.uri)
    everything = await target.sample()
    besides = [*besides, *doctor.choice_findings(target.config, everything)]
    sample = target.shown(everything)
    if target.config.guest_agent.enabled:
        everything = await _with_agents(target, everything)
        sample = target.shown(everything)
        besides = [*besides, *agent_findings(sample, uri)]
    return _Report(sample, len(everything.domains) - len(sample.domains), uri, besides)


def _print_report(report: _Report, besides: Sequence[doctor.Finding] = ()) -> int:
    sample, hidden, uri, own = report
    found = doctor.findings(
        sample,
        uri=uri,
        schedstats=doctor.schedstats_of(uri),
        hidden=hidden,
        besides=[*own, *besides],
    )
    return _print_lines(doctor.report(sample, found, uri=uri, hidden=hidden), found)


def _print_lines(lines: Iterable[str], found: Iterable[doctor.Finding]) -> int:
    for line in lines:
        _print(f"{vms_table.printable(line)}\n")
    return int(any(finding.severity == "problem" for finding in found))


async def _with_agents(target: Target, sample: HostSample) -> HostSample:
    """A sample after a reading of the guest agents, if one ends in time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _AGENTS_WITHIN
    while sample.up and LANE not in sample.lanes and loop.time() < until:
        await asyncio.sleep(0.5)
        sample = await target.sample()
    return sample


_COMMANDS: Final[Mapping[str, Callable[[Namespace], int]]] = {
    "serve": _serve,
    "scrape": _scrape,
    "metrics": _metrics,
    "vms": _vms,
    "check-config": _check_config,
    "config": _config,
    "files": _files,
    "doctor": _doctor,
    "demo": _demo,
}


# What commands have in common


def _configuration(arguments: Namespace) -> Config:
    """The configuration file, if one is named, with the flags on top. Raises ConfigError."""
    file: Path | None = arguments.config_file
    config = Config() if file is None else load(file)
    return override(config, options(arguments))


def _security(config: Config, file: Path | None) -> Security:
    """The web configuration, which `file` names, or else a flag. Raises ConfigError."""
    option = "web.config_file"
    if file is None:
        return check_config.secured(config.web.config_file, Place(FLAGS[option], 0))
    return check_config.secured(config.web.config_file, place_of(option, file), option)


def _known(config: Config, alias: str) -> str:
    """The alias, if it is one. Raises ConfigError."""
    if alias not in config.targets:
        hint = nearest(alias, config.targets) if config.targets else "none is configured"
        raise ConfigError([Problem("--target", 0, f"there is no target {alias}", hint)])
    return alias


def _run_with_target(
    arguments: Namespace, use: Callable[[Target], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that samples one host and ends. Raises ConfigError."""
    config = _configuration(arguments)
    alias = "" if arguments.target is None else _known(config, arguments.target)
    if not (alias or config.libvirt.uri):
        hint = f"--target names one of {', '.join(config.targets)}"
        raise ConfigError([Problem("libvirt.uri", 0, "is empty", hint)])
    config = of_target(config, alias)
    return _run_with_exporter(arguments, config, lambda exporter: use(exporter.target()))


def _run_with_exporter(
    arguments: Namespace, config: Config, use: Callable[[Exporter], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that samples hosts and ends."""
    # The state is the running exporter's: a moment has nothing to add, and root would own the file.
    config = replace(
        config,
        events=replace(config.events, state_directory=""),
        applications=replace(config.applications, enabled=False),
        # Counters of a moment would say that nothing has ever happened.
        groups=replace(config.groups, exclude=(*config.groups.exclude, "event")),
    )
    # The command itself says what failed.
    level = config.log.level if "log.level" in options(arguments) else "error"
    logs.setup(level, config.log.format)

    async def used() -> int:
        # Without process_*: node_exporter, which may read the output, has its own.
        with contextlib.closing(Exporter(lambda: config, Telemetry(process=False))) as exporter:
            return await use(exporter)

    return _run(used())


def _run(work: Coroutine[Any, Any, int | None]) -> NoReturn:
    """Run the work on an event loop, then end the process with the status that it returns.

    An ordinary exit would wait for threads that are stuck in libvirt.
    """
    status = 1
    try:
        status = asyncio.new_event_loop().run_until_complete(work) or 0
    except _FAILURES as error:
        _failed(error)
    except KeyboardInterrupt:
        status = 130
    except Exception:
        # The last boundary: os._exit would swallow it.
        logging.getLogger(__name__).exception("failed unexpectedly")
    finally:
        logging.shutdown()
        os._exit(status)


def _print(text: str) -> None:
    """Write to stdout what its encoding can carry of the text. Raises _OutputError."""
    _write(text.encode(sys.stdout.encoding or "utf-8", "replace"))


def _write(content: bytes) -> None:
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # The interpreter would try once more when it exits, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Whoever closes a pipe has seen enough, and needs no telling.
        told = not isinstance(error, BrokenPipeError)
        reason = f"stdout: cannot be written: {error.strerror}" if told else ""
        raise _OutputError(reason) from None


def _failed(reason: object) -> int:
    for line in str(reason).splitlines():
        print(f"{PROGRAM}: {vms_table.printable(line)}", file=sys.stderr)
    return 1
