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
  1  failed; stderr has the reason: mistakes in the configuration, an address in use, a file
     that cannot be written; scrape, vms, doctor: libvirt does not respond; doctor: problems
     were found (hints do not count)
  2  invalid command line or value of a flag
  130  interrupted with Ctrl-C (all but serve)

signals of serve:
  SIGHUP  reloads the configuration; if it has mistakes, the previous one stays in force

Each flag overrides the matching option of the configuration file. No path is searched for a
configuration file, and no environment variable is read. scrape, vms and doctor log errors only;
--log.level changes this. `libvirt-exporter help COMMAND` describes a command."""

_SERVE: Final = """\
serve the metrics over HTTP (the default)

If libvirt does not respond, the exporter keeps running and /metrics shows libvirt_up 0. SIGHUP or
POST /-/reload reloads the configuration; SIGTERM and SIGINT stop the exporter."""

_SCRAPE: Final = """\
sample the VMs once and write their metrics

For node_exporter's textfile collector: --output /var/lib/prometheus/node-exporter/libvirt.prom.
The output has the same metrics as /metrics, except process_*. If libvirt does not respond, it
has libvirt_up 0, and the exit status is 1."""

_METRICS: Final = """\
list every metric that the exporter can show

To enable a group that is off by default, add it to groups.include in the configuration; to enable
a single metric, add it to fields.include."""

_VMS: Final = """\
show the host's VMs as a table

Rates and CPU (100% is one CPU of the host) come from two samples one second apart. RSS is the
resident memory of QEMU on the host, MEM the memory assigned to the guest, MAX its maximum. Columns
are dropped on a narrow terminal. Colours show states unless NO_COLOR is set.

--json prints the fields of /api/v1/vms, one answer per line: all fields first and, with --watch,
then the changes. Rates appear with the first sample that is 5 s later than another one."""

_CHECK_CONFIG: Final = """\
report every mistake in configuration files

Each mistake is reported with file, line and the nearest valid name. The web configuration that a
file names is checked too. Notes report settings that are valid but may not be intended. The exit
status is 1 if there is a mistake."""

_CONFIG: Final = """\
print a configuration file with every option and its default

Redirect the output to a file and edit it; unchanged, it has the same effect as no file."""

_FILES: Final = """\
print the paths of rules, dashboards, examples and units

With a NAME, print only that path, for other commands:
  promtool check rules "$(libvirt-exporter files rules)"/*.yml"""

_DOCTOR: Final = """\
report what cannot be collected on this host and the command that fixes it

A problem is something that does not work (exit status 1). A hint is data that could be collected
but is not (exit status 0)."""

_WATCH: Final = 2.0
"""Seconds."""

_NO_HOST: Final = ("libvirt.uri", "")
_DEMO: Final = """\
simulate a host, with Prometheus and Alertmanager

Prometheus and Alertmanager, if they are installed, run on the loopback interface with the shipped
rules and routes; notifications are printed. Nothing is read from this host. Ctrl-C stops all of it.
--libvirt.uri=demo:/// gives the same simulated host to every other command."""

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
    if early := _early(argv, parser.flags, commands):
        flag, owner = early
        parser.error(f"write {flag} after {owner}")
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
        parser.error(f"{arguments.command} has no flag {unknown[0]}")
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
        help="configuration file (YAML); without it, the defaults apply",
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
        help="write to FILE, which is replaced atomically, instead of stdout",
    )
    for name in ("scrape", "vms"):
        _add_target(own[name], "use this configured target instead of the host of libvirt.uri")
    _add_target(
        own["doctor"], "check only this configured target; without it, all configured hosts"
    )
    own["metrics"].add_argument(
        "--format",
        choices=("table", "markdown", "json"),
        default="table",
        help="table (default), markdown (as docs/metrics.md) or json",
    )
    own["vms"].add_argument(
        "names",
        nargs="*",
        default=(),
        metavar="NAME",
        help="show only VMs with these names or UUIDs; * and ? are wildcards; not with --json",
    )
    own["vms"].add_argument(
        "--sort",
        choices=tuple(SORTED_BY),
        default="name",
        metavar="COLUMN",
        help=f"sort by {', '.join(SORTED_BY)}; numbers in descending order (default: name)",
    )
    own["vms"].add_argument(
        "--watch",
        nargs="?",
        type=_interval,
        default=None,
        const=_WATCH,
        metavar="N",
        help=f"refresh every N seconds (default: {_WATCH:g})",
    )
    own["vms"].add_argument(
        "--json", action="store_true", default=False, help="print fields as JSON"
    )
    own["vms"].add_argument(
        "--fields",
        type=_names,
        default=(),
        metavar="A,B",
        help="fields to print with --json (default: all, except those that must be named)",
    )
    own["check-config"].add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="configuration file; - is standard input",
    )
    own["check-config"].add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="text (default) or json",
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


def _early(
    argv: Sequence[str], general: Collection[str], commands: Mapping[str, _Parser]
) -> tuple[str, str] | None:
    """A flag of a command that stands before it, and the command."""
    owner = next((word for word in argv if word in commands), None)
    if owner is None:
        return None
    own = {*commands[owner].flags} - {*general}
    flag = next((flag for flag in _flags(argv[: argv.index(owner)]) if flag in own), None)
    return None if flag is None else (flag, owner)


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
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 86400")
    return seconds
