"""What the doctor finds, and the words that name VMs and commands in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from functools import partial
from typing import Final, Literal, NamedTuple

from libvirt_exporter.model import DomainSample

NAMED: Final = 3
"""VMs that a finding names before it only counts."""


class Finding(NamedTuple):
    """Something that this host does not show."""

    severity: Literal["problem", "hint"]
    """`problem`: something does not work. `hint`: something could be shown that is not."""
    what: str
    remedy: str
    details: tuple[str, ...] = ()
    """Lines between the two."""


problem: Final = partial(Finding, "problem")
hint: Final = partial(Finding, "hint")


def lines_of(found: Iterable[Finding]) -> list[str]:
    """Return the lines that a person reads of findings, with their remedies."""
    return [
        line
        for finding in found
        for line in (
            f"{finding.severity}: {finding.what}",
            *finding.details,
            f"    {finding.remedy}",
        )
    ]


def named(domains: Iterable[DomainSample]) -> str:
    """How many VMs, and the names of the first."""
    names = sorted(quoted_name(domain) for domain in domains)
    rest = len(names) - NAMED
    listed = ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"{vms(len(names))} ({listed})"


def quoted_name(domain: DomainSample) -> str:
    """What names the domain to virsh: its UUID where its name would not survive a shell."""
    name = domain.name
    return shlex.quote(name) if name.isprintable() and not name.startswith("-") else domain.uuid


def vms(count: int) -> str:
    """The number of VMs."""
    return f"{count} VM" if count == 1 else f"{count} VMs"


def looking(uri: str) -> str:
    """How virsh is called to look at something."""
    return f"virsh -c {shlex.quote(uri)} -r"


def changing(uri: str) -> str:
    """How virsh is called to change something, which the read-only socket refuses."""
    return f"virsh -c {shlex.quote(re.sub('-sock-ro(?=&|$)', '-sock', uri))}"
