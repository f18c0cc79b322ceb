"""`python -m tests.bench.changing …`: the exporter on paused domains whose figures all change.

Two hundred guests at work would starve the machine that measures. Here the bulk statistics of
paused ones get another value for whatever changes while a guest works, each time that libvirt
is asked; the arguments are those of libvirt-exporter. What that takes counts as the exporter's:
0.1 µs for each value.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any, Final

import libvirt

from libvirt_exporter.__main__ import main
from libvirt_exporter.model import Stats

CHANGING: Final = frozenset(
    {
        "time",
        "user",
        "system",
        "wait",
        "delay",
        "bytes",
        "pkts",
        "errs",
        "drop",
        "reqs",
        "times",
        "allocation",
        "rss",
        "unused",
        "available",
        "usable",
        "disk_caches",
        "major_fault",
        "minor_fault",
        "swap_in",
        "swap_out",
    }
)
"""Last parts of the keys whose values change while a guest works."""


@functools.cache
def changes(key: str) -> bool:
    """Whether the value of a key changes while a guest works."""
    return key.rpartition(".")[2] in CHANGING


def changed(stats: Stats, by: int) -> Stats:
    """The statistics of a domain, some time later."""
    return {
        key: value + by if changes(key) and isinstance(value, int) else value
        for key, value in stats.items()
    }


def change(name: str) -> None:
    """Have a method of libvirt's connections answer so."""
    method: Callable[..., list[tuple[libvirt.virDomain, Stats]]] = getattr(libvirt.virConnect, name)
    steps = itertools.count(1)

    @functools.wraps(method)
    def answer(*arguments: Any, **options: Any) -> list[tuple[libvirt.virDomain, Stats]]:
        by = 1_000_003 * next(steps)
        return [(domain, changed(stats, by)) for domain, stats in method(*arguments, **options)]

    setattr(libvirt.virConnect, name, answer)


if __name__ == "__main__":
    for each in ("getAllDomainStats", "domainListGetStats"):
        change(each)
    sys.exit(main())
