"""The command `libvirt-exporter`: which subcommand is run, and the exit status of its failures."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from libvirt_exporter.commands.arguments import parse
from libvirt_exporter.commands.output import failed
from libvirt_exporter.commands.process import FAILURES, unblock_signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status.

    Commands that use libvirt end the process themselves: a thread may be stuck in libvirt, and
    the interpreter would wait for it.
    """
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        if arguments.command != "serve":
            unblock_signals()
        return _command(arguments.command)(arguments)
    except FAILURES as error:
        return failed(error)
    except KeyboardInterrupt:
        return 130


def _command(name: str) -> Callable[[Namespace], int]:
    """What the subcommand does; loads only what it needs."""
    match name:
        case "serve":
            from libvirt_exporter.commands.serve import serve as command
        case "scrape":
            from libvirt_exporter.commands.scrape import scrape as command
        case "metrics":
            from libvirt_exporter.commands.tables import metrics as command
        case "vms":
            from libvirt_exporter.commands.vms import vms as command
        case "check-config":
            from libvirt_exporter.commands.check_config import check_config as command
        case "config":
            from libvirt_exporter.commands.tables import config as command
        case "files":
            from libvirt_exporter.commands.shipped import files as command
        case "doctor":
            from libvirt_exporter.commands.doctor.command import doctor as command
        case "demo":
            from libvirt_exporter.commands.demo import demo as command
        case _:
            raise LookupError(name)
    return command
