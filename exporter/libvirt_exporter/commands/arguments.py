"""The command line: subcommands, flags, and what is wrong with what was typed."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from libvirt_exporter.commands.shipped import FILES
from libvirt_exporter.commands.version import PROGRAM, version
from libvirt_exporter.commands.vms_table import SORTED_BY
from libvirt_exporter.config import FLAGS, Config, ConfigError, override
from libvirt_exporter.nearest import nearest
from libvirt_exporter.reference.configuration import configuration_schema

_DESCRIPTION: Final = """\
Prometheus exporter for libvirt. Without a COMMAND it serves the metrics of this host's VMs.
It opens libvirt read-only and changes nothing."""

_EPILOG: Final = """\
exit status:
  0  done; serve: stopped by SIGTERM or SIGINT
  1  failed; the reason is on stderr. The configuration has mistakes, an address cannot be
     listened on, a file cannot be written; scrape, vms, doctor: libvirt does not answer;
     doctor: something does not work (hints are no failure)
  2  the command line cannot be understood, values of flags included
  130  interrupted with Ctrl-C (all but serve)

signals of serve:
  SIGHUP  reads the configuration again; with mistakes in it, the old one stays

Each flag overrides the option of the configuration file that does the same. No file is searched
for and no environment variable configures anything. scrape, vms and doctor log errors only, unless
--log.level says otherwise. `libvirt-exporter help COMMAND` has more."""

_SERVE: Final = """\
serve the metrics over HTTP (the default)

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
narrow terminal leaves columns out, and colours show states unless NO_COLOR is set.

With --json the same fields as at /api/v1/vms, one answer a line: everything first, then, with
--watch, what changed. Rates come with the first sample that is 5 s after another one."""

_CHECK_CONFIG: Final = """\
report every mistake in configuration files

Each with file, line and the nearest valid name; the web configuration that a file names is checked
as well, and what is valid but may not be intended is noted. Exit status 1 if there is a mistake."""

_CONFIG: Final = """\
print the configuration file that holds every option with its default

Redirected into a file it is a configuration that changes nothing, to be edited."""

_FILES: Final = """\
say where rules, dashboards, examples and units are

With a NAME only that path, for other commands:
  promtool check rules "$(libvirt-exporter files rules)"/*.yml"""

_DOCTOR: Final = """\
say what this host does not show, and how to fix it

A problem is something that does not work (exit status 1), a hint something that could be shown
and is not (exit status 0)."""

_WATCH: Final = 2.0
"""Seconds."""

_NO_HOST: Final = ("libvirt.uri", "")
_DEMO: Final = """\
show a host that is invented, with Prometheus and Alertmanager

Both run on the loopback, where they are installed, with the rules and routes that come with the
exporter; what Alertmanager sends is printed. Nothing of this host is read, and Ctrl-C ends it all.
--libvirt.uri=demo:/// shows the same host to every other command."""

_HOST_OPTIONS: Final = ("libvirt.uri", "log.level", "log.format")

_COMMANDS: Final[Mapping[str, tuple[str, Collection[str]]]] = {
    "serve": (_SERVE, FLAGS),
    "scrape": (_SCRAPE, _HOST_OPTIONS),
    "metrics": (_METRICS, ()),
    "vms": (_VMS, _HOST_OPTIONS),
    "check-config": (_CHECK_CONFIG, ()),
    "config": (_CONFIG, ()),
    "files": (_FILES, ()),
    "doctor": (_DOCTOR, _HOST_OPTIONS),
    "demo": (_DEMO, ()),
}
"""Subcommand → what it does, and the options that it has flags for."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the `command`, its own arguments, `config_file`, and the options that flags give.

    What makes no sense ends the process with status 2, --help and --version with status 0.
    """
    parser, commands = _parsers()
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    known = {flag for each in (parser, *commands.values()) for flag in each.flags}
    command = _command(argv)
    # Before argparse does: it would take an unknown flag's value for the command.
    for flag in _flags(argv):
        if flag not in known:
            meant = _meant(flag, commands[command].flags if command in commands else known)
            parser.error(f"unknown flag {flag}{meant}")
    if command not in _COMMANDS:
        parser.error(f"unknown command {command}{_meant(command, _COMMANDS)}")
    arguments, unknown = parser.parse_known_args(argv)
    given, (_, takes) = options(arguments), _COMMANDS[arguments.command]
    unknown += [FLAGS[option] for option in given if option not in takes]
    if arguments.config_file and not takes:
        unknown.append("--config.file")
    if unknown:
        parser.error(f"{unknown[0]} means nothing to {arguments.command}")
    if arguments.command == "vms" and arguments.fields and not arguments.json:
        parser.error("--fields needs --json")
    # An empty URI is right where the configuration has targets.
    checked = {name: value for name, value in given.items() if (name, value) != _NO_HOST}
    try:
        override(Config(), checked)
    except ConfigError as error:
        parser.error(*map(str, error.problems))
    return arguments


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the command line, of which packages make a man page and completion."""
    parser, _ = _parsers()
    return parser


def options(arguments: argparse.Namespace) -> dict[str, object]:
    """Return the options of the configuration that flags were given for, as `override` takes."""
    return {option: value for option, value in vars(arguments).items() if option in FLAGS}


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

    @property
    def flags(self) -> list[str]:
        """All that it takes."""
        return [flag for action in self._actions for flag in action.option_strings]

    def error(self, *messages: str) -> NoReturn:
        """Say each in one line; argparse would print the usage first."""
        lines = (f"{self.prog}: {message}; see {self.prog} --help\n" for message in messages)
        self.exit(2, "".join(lines))


def _parsers() -> tuple[_Parser, Mapping[str, _Parser]]:
    """The parser of the command line, and those of its commands."""
    parser = _Parser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG)
    _add_options(parser, FLAGS)
    commands = _add_commands(parser)
    parser.set_defaults(command="serve", config_file=None)
    return parser, commands


def _add_options(parser: _Parser, names: Collection[str]) -> None:
    """Add the flags of these options, and those that always come along."""
    parser.add_argument(
        "--version",
        action="version",
        version=version(),
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
    for option in names:
        section, name = option.split(".")
        schema = sections[section.capitalize()]["properties"][name]
        default, repeatable = schema["default"], isinstance(schema["default"], list)
        default = ", ".join(default) if repeatable else default
        text = schema["description"].replace("`", "").replace("%", "%%").rstrip(".")
        if "enum" in schema:
            text += f": {', '.join(schema['enum'])}"
        if schema.get("type") == "boolean":
            parser.add_argument(FLAGS[option], dest=option, action="store_true", help=text)
            continue
        parser.add_argument(
            FLAGS[option],
            dest=option,
            action="append" if repeatable else "store",
            metavar=name.upper(),
            help=f"{text}{'; repeatable' if repeatable else ''} (default: {default or 'none'})",
        )


def _add_commands(parser: _Parser) -> Mapping[str, _Parser]:
    """Add the subcommands with all their flags; return their parsers by name."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    own: dict[str, _Parser] = {}
    for name, (text, takes) in _COMMANDS.items():
        summary, _, rest = text.partition("\n")
        own[name] = commands.add_parser(
            name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.\n{rest}"
        )
        if takes:
            _add_options(own[name], takes)
    own["scrape"].add_argument(
        "--output",
        type=Path,
        default=None,
        metavar="FILE",
        help="write to FILE, replaced in one step, instead of to stdout",
    )
    for name in ("scrape", "vms"):
        _add_target(own[name], "the one of these configured targets, not the host of libvirt.uri")
    _add_target(own["doctor"], "that one alone; without it, every configured host")
    own["metrics"].add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="table for people (the default), markdown as in docs/metrics.md, json for programs",
    )
    own["vms"].add_argument(
        "names",
        nargs="*",
        default=(),
        metavar="NAME",
        help="names or UUIDs of the only VMs to show, with * and ? as in a shell; not for --json",
    )
    own["vms"].add_argument(
        "--sort",
        choices=tuple(SORTED_BY),
        default="name",
        metavar="COLUMN",
        help=f"{', '.join(SORTED_BY)}; figures from the highest (default: name)",
    )
    own["vms"].add_argument(
        "--watch",
        nargs="?",
        type=_interval,
        default=None,
        const=_WATCH,
        metavar="N",
        help=f"show it again every N seconds (default: {_WATCH:g})",
    )
    own["vms"].add_argument(
        "--json", action="store_true", default=False, help="write fields as JSON instead"
    )
    own["vms"].add_argument(
        "--fields",
        type=_names,
        default=(),
        metavar="A,B",
        help="names of the only fields for --json (default: all that need no naming)",
    )
    own["check-config"].add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a configuration, as for --config.file; - is standard input",
    )
    own["check-config"].add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="text for people (the default), json for programs",
    )
    own["files"].add_argument(
        "name", nargs="?", choices=tuple(FILES), default=None, metavar="NAME", help=", ".join(FILES)
    )
    return own


def _add_target(parser: _Parser, text: str) -> None:
    parser.add_argument("--target", default=None, metavar="ALIAS", help=text)


def _flags(argv: Sequence[str]) -> Iterator[str]:
    """What looks like a flag, without its value; -1 is a number."""
    for argument in argv:
        if argument == "--":
            return
        if re.match(r"--?[^-0-9]", argument):
            yield argument.partition("=")[0]


def _command(argv: Sequence[str]) -> str:
    """The word that stands where the command does; that of the default where none does."""
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            return word
        if word in ("-h", "--help", "--version"):
            break
        if "=" not in word and word != "--":
            # The flag's value.
            next(words, None)
    return "serve"


def _meant(word: str, known: Collection[str]) -> str:
    hint = nearest(word, known)
    return hint and f", {hint}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 86400")
    return seconds
