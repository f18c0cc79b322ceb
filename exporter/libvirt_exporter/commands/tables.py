"""The commands `metrics` and `config`, which print what is generated from tables."""

from __future__ import annotations

from argparse import Namespace

from libvirt_exporter.commands.output import columns, show
from libvirt_exporter.reference import metrics as reference
from libvirt_exporter.reference.configuration import configuration_file


def metrics(arguments: Namespace) -> int:
    """Print the metrics in the chosen format."""
    match arguments.format:
        case "markdown":
            show(reference.markdown())
        case "json":
            show(reference.as_json())
        case _:
            show(reference.table(columns()))
    return 0


def config(arguments: Namespace) -> int:
    """Print a configuration file."""
    show(configuration_file())
    return 0
