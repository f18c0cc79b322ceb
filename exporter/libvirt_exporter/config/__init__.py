"""The configuration: its schema and defaults, how a file is read, and what is wrong with it."""

from libvirt_exporter.config.changes import changed_keys
from libvirt_exporter.config.loading import (
    Source,
    load,
    override,
    place_of,
    read,
    read_document,
    written,
)
from libvirt_exporter.config.meaning import chosen_by_vm_fields, metrics_of, notes
from libvirt_exporter.config.problem import ConfigError, Place, Problem
from libvirt_exporter.config.schema import FLAGS, Config
from libvirt_exporter.config.targets import TARGET_FILES, aliases, files_of, of_target

__all__ = [
    "FLAGS",
    "TARGET_FILES",
    "Config",
    "ConfigError",
    "Place",
    "Problem",
    "Source",
    "aliases",
    "changed_keys",
    "chosen_by_vm_fields",
    "files_of",
    "load",
    "metrics_of",
    "notes",
    "of_target",
    "override",
    "place_of",
    "read",
    "read_document",
    "written",
]
