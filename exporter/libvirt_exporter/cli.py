"""The command `libvirt-exporter`: flags, subcommands, exit statuses."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NoReturn

from libvirt_exporter import __version__, doctor, logs, metric_list, serving, vms_table
from libvirt_exporter.config import FLAGS, Config, ConfigError, load, override
from libvirt_exporter.config_docs import configuration_schema
from libvirt_exporter.exchange import ScrapeRequest
from libvirt_exporter.model import HostSample
from libvirt_exporter.service import VOCABULARY, Exporter
from libvirt_exporter.telemetry import Telemetry
from libvirt_exporter.web.security import Security
from libvirt_exporter.web.server import ListenError, listen

_DESCRIPTION: Final = """\
Prometheus exporter for libvirt. Without a COMMAND it serves the metrics of this host's VMs.
It opens libvirt read-only and changes nothing."""

_EPILOG: Final = """\
exit status:
  0  done; serve: stopped by SIGTERM or SIGINT
  1  failed; the reason is on stderr. The configuration has mistakes, an address cannot be
     listened on, a file cannot be written; scrape, vms, doctor: libvirt does not answer;
     doctor: something does not work (hints are no failure)
  2  the command line cannot be understood
  130  interrupted with Ctrl-C (all but serve)

signals of serve:
  SIGHUP  reads the configuration again; with mistakes in it, the old one stays

Each flag overrides the option of the configuration file that does the same. No file is searched
for and no environment variable is looked at. scrape, vms and doctor log errors only, unless
--log.level says otherwise. `libvirt-exporter COMMAND --help` has more."""

_SERVE: Final = """
A libvirt that does not answer is no failure: /metrics then says libvirt_up 0. SIGHUP (or POST
/-/reload) reads the configuration again, SIGTERM and SIGINT stop the exporter."""

_SCRAPE: Final = """\
sample the VMs once and write their metrics

For node_exporter's textfile collector: --output /var/lib/prometheus/node-exporter/libvirt.prom.
The text has the same families as /metrics, process_* excepted. Where libvirt does not answer it
says libvirt_up 0, and the exit status is 1."""

_METRICS: Final = """\
list every metric that the exporter can show

A group whose metrics are off by default is asked for with groups.include of the configuration,
a single metric with fields.include."""

_VMS: Final = """\
show the host's VMs as a table

What is per second, and CPU (100% is one CPU of the host), takes two samples a second apart.
RSS is what QEMU holds of the host's memory, MEM what the guest has, MAX what it may have. A
narrow terminal leaves columns out."""

_CHECK_CONFIG: Final = """\
report every mistake in a configuration file

Each with file, line and the nearest valid name; the web configuration that it names is checked
as well. Exit status 1 if there is any."""

_DOCTOR: Final = """\
say what this host does not show, and how to mend it

A problem is something that does not work (exit status 1), a hint something that could be shown
and is not (exit status 0)."""

_HOST_OPTIONS: Final = ("libvirt.uri", "log.level", "log.format")
_PROGRAM: Final = "libvirt-exporter"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status.

    Commands that use libvirt end the process themselves: a thread may be stuck in libvirt, and
    the interpreter would wait for it.
    """
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    try:
        status: int = arguments.run(arguments)
    except _FAILURES as error:
        return _failed(error)
    except KeyboardInterrupt:
        return 130
    return status


class _OutputError(Exception):
    """What was asked for cannot be written."""


_FAILURES: Final = (ConfigError, ListenError, _OutputError)
"""What a command may fail with, in words for a person."""


# Commands


def _serve(arguments: argparse.Namespace) -> int:
    def configuration() -> Config:
        config = _configuration(arguments)
        logs.setup(config.log.level, config.log.format)
        return config

    web = configuration().web
    security = Security(web.config_file)
    sockets = listen(web.listen)
    return _run(serving.run(configuration, sockets, security))


def _scrape(arguments: argparse.Namespace) -> int:
    return _run_with_exporter(arguments, lambda exporter: _write_scrape(exporter, arguments.output))


async def _write_scrape(exporter: Exporter, output: Path | None) -> int:
    exposition = await exporter.scrape(ScrapeRequest())
    if output is None:
        _write(exposition.body)
    else:
        try:
            _write_atomically(output, exposition.body)
        except OSError as error:
            raise _OutputError(f"{output}: cannot be written: {error.strerror}") from None
    sample = exporter.latest
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


def _metrics(arguments: argparse.Namespace) -> int:
    write = {
        "table": metric_list.table,
        "markdown": metric_list.markdown,
        "json": metric_list.as_json,
    }[arguments.format]
    _print(write())
    return 0


def _vms(arguments: argparse.Namespace) -> int:
    return _run_with_exporter(arguments, lambda exporter: _print_vms(exporter, arguments.watch))


async def _print_vms(exporter: Exporter, watch: float | None) -> int:
    before = exporter.shown(await exporter.sample())
    # The first table follows soon, for whoever watches too.
    await asyncio.sleep(1.0 if before.up else 0.0)
    while True:
        now = exporter.shown(await exporter.sample())
        if watch is None:
            if not now.up:
                return _failed(now.error)
            _print(_vms_text(before, now))
            return 0
        if sys.stdout.isatty():
            # To the upper left corner, and everything from there on cleared.
            _print("\x1b[H\x1b[J")
        _print(_vms_text(before, now) if now.up else f"{vms_table.printable(now.error)}\n")
        before = now
        await asyncio.sleep(watch)


def _vms_text(before: HostSample, now: HostSample) -> str:
    if not now.domains:
        return "There are no VMs to show.\n"
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return vms_table.render(vms_table.rows(before, now), width)


def _check_config(arguments: argparse.Namespace) -> int:
    config = load(arguments.file, vocabulary=VOCABULARY)
    Security(config.web.config_file)
    _print(f"{arguments.file}: no mistakes\n")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    return _run_with_exporter(arguments, _print_findings)


async def _print_findings(exporter: Exporter) -> int:
    uri = exporter.config.libvirt.uri
    sample = await exporter.sample()
    found = doctor.findings(sample, uri=uri, schedstats=doctor.keeps_schedstats(uri))
    for line in doctor.report(sample, found, uri=uri):
        _print(f"{vms_table.printable(line)}\n")
    return int(any(finding.severity == "problem" for finding in found))


# What commands have in common


def _configuration(arguments: argparse.Namespace) -> Config:
    """The configuration file, if one is named, with the flags on top. Raises ConfigError."""
    file: Path | None = arguments.config_file
    config = Config() if file is None else load(file, vocabulary=VOCABULARY)
    return override(config, _changes(arguments), vocabulary=VOCABULARY)


def _changes(arguments: argparse.Namespace) -> Mapping[str, object]:
    """The options of the configuration that flags were given for."""
    return {option: value for option, value in vars(arguments).items() if option in FLAGS}


def _run_with_exporter(
    arguments: argparse.Namespace, use: Callable[[Exporter], Coroutine[Any, Any, int]]
) -> int:
    """Run a command that samples this host and ends. Raises ConfigError."""
    config = _configuration(arguments)
    # The command itself says what failed.
    level = config.log.level if "log.level" in _changes(arguments) else "error"
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
        print(f"{_PROGRAM}: {vms_table.printable(line)}", file=sys.stderr)
    return 1


# The command line


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=False,
            # What was not given must not hide what was given before the command.
            argument_default=argparse.SUPPRESS,
            **settings,
        )
        self.add_argument("-h", "--help", action="help", help="show this help and exit")

    def error(self, message: str) -> NoReturn:
        """Say it in one line; argparse would print the usage first."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog=_PROGRAM, description=_DESCRIPTION, epilog=_EPILOG)
    known = {*_add_options(parser, tuple(FLAGS)), "--output", "--format", "--watch"}
    parser.set_defaults(run=_serve, command="serve", takes=tuple(FLAGS), config_file=None)
    _add_commands(parser)
    # Before argparse does: it would take the flag's value for the command.
    for flag in _flags(argv):
        if flag not in known:
            close = get_close_matches(flag, known, n=1)
            parser.error(f"unknown flag {flag}" + (f", did you mean {close[0]}?" if close else ""))
    arguments, unknown = parser.parse_known_args(argv)
    unknown += [FLAGS[option] for option in _changes(arguments) if option not in arguments.takes]
    if arguments.config_file and not arguments.takes:
        unknown.append("--config.file")
    if unknown:
        parser.error(f"{unknown[0]} means nothing to {arguments.command}")
    return arguments


def _add_options(parser: _Parser, options: Sequence[str]) -> list[str]:
    """Add the flags of these options, and those that always come along; return all flags."""
    parser.add_argument(
        "--version",
        action="version",
        version=f"{_PROGRAM} {__version__} (Python {platform.python_version()}, "
        f"libvirt-python {metadata.version('libvirt-python')})",
        help="show the version and exit",
    )
    parser.add_argument(
        "--config.file",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help="YAML file with the configuration; none: the defaults",
    )
    sections = configuration_schema()["$defs"]
    for option in options:
        section, name = option.split(".")
        schema = sections[section.capitalize()]["properties"][name]
        default, repeatable = schema["default"], isinstance(schema["default"], list)
        default = ", ".join(default) if repeatable else default
        text = schema["description"].replace("`", "").replace("%", "%%").rstrip(".")
        if "enum" in schema:
            text += f": {', '.join(schema['enum'])}"
        parser.add_argument(
            FLAGS[option],
            dest=option,
            action="append" if repeatable else "store",
            metavar=name.upper(),
            help=f"{text}{'; repeatable' if repeatable else ''} (default: {default or 'none'})",
        )
    return [flag for action in parser._actions for flag in action.option_strings]


def _add_commands(parser: _Parser) -> None:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], takes: Sequence[str], text: str
    ) -> _Parser:
        summary, _, rest = text.partition("\n")
        command: _Parser = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.\n{rest}"
        )
        if takes:
            _add_options(command, takes)
        command.set_defaults(run=run, takes=takes)
        return command

    add("serve", _serve, tuple(FLAGS), "serve the metrics over HTTP (the default)\n" + _SERVE)
    add("scrape", _scrape, _HOST_OPTIONS, _SCRAPE).add_argument(
        "--output",
        type=Path,
        default=None,
        metavar="FILE",
        help="write to FILE, replaced in one step, instead of to stdout",
    )
    add("metrics", _metrics, (), _METRICS).add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="table for people (the default), markdown as in docs/metrics.md, json for programs",
    )
    add("vms", _vms, _HOST_OPTIONS, _VMS).add_argument(
        "--watch", type=_interval, default=None, metavar="N", help="show it again every N seconds"
    )
    add("check-config", _check_config, (), _CHECK_CONFIG).add_argument(
        "file", type=Path, metavar="FILE", help="the configuration, as for --config.file"
    )
    add("doctor", _doctor, _HOST_OPTIONS, _DOCTOR)


def _flags(argv: Sequence[str]) -> Iterator[str]:
    """What looks like a flag, without its value; -1 is a number."""
    for argument in argv:
        if argument == "--":
            return
        if re.match(r"--?[^-0-9]", argument):
            yield argument.partition("=")[0]


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 86400")
    return seconds
