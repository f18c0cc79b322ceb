"""The catalogue: every metric of the exporter, one row each, in the order of exposition.

A file holds field groups, their metrics, and in WITHHELD, if it has any, its stats keys that are
neither a value nor a label. A new one is named in `HOST_FILES` or `DOMAIN_FILES`, and everything
else follows.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from libvirt_exporter.catalogue import (
    balloon,
    block,
    cpu,
    device,
    dirtyrate,
    event,
    exporter,
    guest,
    info,
    interface,
    iothread,
    job,
    kvm,
    memory,
    metadata,
    monitor,
    network,
    node,
    perf,
    process,
    state,
    storage,
    vcpu,
)
from libvirt_exporter.catalogue.metric import Fact, Group, Metric, Withheld


class File(Protocol):
    """What every file of the catalogue holds."""

    __name__: str
    GROUPS: tuple[Group, ...]
    METRICS: tuple[Metric, ...]


HOST_FILES: tuple[File, ...] = (node, storage, network)
"""Series per host, storage pool or network."""

DOMAIN_FILES: tuple[File, ...] = (
    state,
    monitor,
    event,
    job,
    process,
    info,
    device,
    metadata,
    cpu,
    vcpu,
    balloon,
    block,
    interface,
    iothread,
    perf,
    memory,
    dirtyrate,
    guest,
    kvm,
)
"""Series per domain or device."""

HOST_METRICS: tuple[Metric, ...] = tuple(row for file in HOST_FILES for row in file.METRICS)
DOMAIN_METRICS: tuple[Metric, ...] = tuple(row for file in DOMAIN_FILES for row in file.METRICS)
SAMPLE_METRICS: tuple[Metric, ...] = (*HOST_METRICS, *DOMAIN_METRICS)
"""What groups and fields choose from."""

METRICS: tuple[Metric, ...] = (*exporter.SCRAPE_METRICS, *SAMPLE_METRICS, *exporter.OWN_METRICS)

_FILES = (*DOMAIN_FILES, *HOST_FILES)

GROUPS: tuple[Group, ...] = tuple(group for file in _FILES for group in file.GROUPS)

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "cpu": ("cpu-total", "vcpu"),
    "disk": ("block",),
    "mem": ("balloon",),
    "net": ("interface",),
}
"""Everyday words → the groups that they stand for wherever groups are named."""


def canonical(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words with aliases replaced by the groups that they stand for."""
    return tuple(name for word in words for name in ALIASES.get(word, (word,)))


def riders(name: str) -> frozenset[str]:
    """The other groups for which libvirt would be asked for its statistics group of this name."""
    return frozenset(group.name for group in GROUPS if name in group.asks) - {name}


LIMIT_ORDER: tuple[str, ...] = tuple(
    name
    for _, name in sorted(
        (group.left_out, group.name) for group in GROUPS if group.left_out is not None
    )
)
"""Groups in the order in which a limit on series leaves them out; the others are never left out."""


def _withheld() -> Iterator[Withheld]:
    """What the files name, then the keys that are labels of series and nothing else."""
    named = set()
    for file in _FILES:
        own: tuple[Withheld, ...] = getattr(file, "WITHHELD", ())
        yield from own
        named |= {entry.source for entry in own} | {row.source for row in file.METRICS}
    for row in SAMPLE_METRICS:
        for where in () if isinstance(row, Fact) else row.labels.values():
            if "." in where and where not in named:
                named.add(where)
                yield Withheld(where, "A name: it is a label of the entry's series.")


WITHHELD: tuple[Withheld, ...] = tuple(_withheld())
"""Stats keys that are structure, not values."""

WITHHELD_VALUES: tuple[Withheld, ...] = (
    Withheld(
        "cpu.* of inactive domains",
        "libvirt returns the CPU time of its own daemon there (seen with 9.0.0).",
    ),
    Withheld("balloon.last-update of 0", "The guest has not reported yet."),
    Withheld(
        "balloon.swap_in of LXC, balloon.available of Xen and bhyve",
        "These drivers use the keys for other values: memory and swap in use, which "
        "libvirt_domain_container_memory_and_swap_bytes shows, and the domain's maximum.",
    ),
    Withheld(
        "dirtyrate.*, except the status, while the status is unstarted", "No measurement has run."
    ),
    Withheld(
        "wait and delay of vcpu.*, and latencies of timed groups, of 0",
        "The host's kernel does not count it, or the window had no requests.",
    ),
    Withheld(
        "block.* of the image that a copy or backup writes to",
        "It is not a layer of its disk: libvirt_domain_block_job_* shows the job.",
    ),
    Withheld(
        "everything except state.* of inactive domains",
        "It is not queried: libvirt would open the disks' images, and block on dead storage.",
    ),
    Withheld(
        "memtune, blkiotune, numatune, cachetune, memorytune, vcpusched and other tunables of the "
        "domain XML that no metric names",
        "Few domains set them; labels.custom can show a value.",
    ),
    Withheld("NaN and infinity", "They are not numbers; the series is absent."),
)
"""What is not exported although its key is mapped or the domain XML has it."""
