"""What a VM field is, and what it is computed from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, field

from libvirt_exporter.model import (
    Applications,
    DomainInfo,
    DomainSample,
    HostSample,
    Stats,
    VanishedDomain,
)

ABSENT: Final = UNSET
"""The value of a field that cannot be had, or not now; it is left out of every answer."""

SECOND: Final = 10**9
"""In ns, which times of events and starts are in."""

GONE: Final = "The domain does not exist any longer; only its end is known."
NOT_IN_XML: Final = "The domain XML does not contain it."
NOT_SEEN: Final = "No event has reported it yet; libvirt reports it only when it happens."

_encode: Final = msgspec.json.Encoder().encode

Change = Literal["static", "event", "agent", "sampled", "time"]
"""What a field is computed from, and so when it may differ from before:

- `static`: the domain's `info`, name and UUID, and nothing else
- `event`: `info` and `stats`; changes when something happens
- `agent`: what the guest agent says
- `sampled`: `info`, `stats`, both timestamps and the earlier sample's `stats`; moves with every
  sample of a busy domain, and once more when the domain comes to rest
- `time`: the clock too, so that a new value is no news
"""


class VmView(Struct, frozen=True):
    """One VM at one moment: all that the value of a field may depend on."""

    host: HostSample
    domain: DomainSample | VanishedDomain
    earlier: DomainSample | None = None
    """The same domain at least some seconds before, for rates; None: there are none."""
    now: float = field(default_factory=time.time)
    """Unix time."""
    applications: Callable[[str], Applications | None] = lambda _uuid: None
    """What is installed in a VM, by its UUID; takes as long as the disk does. None: no list."""

    @property
    def info(self) -> DomainInfo | None:
        """What the domain XML says; None when it is not known."""
        return self.domain.info if isinstance(self.domain, DomainSample) else None

    @property
    def before(self) -> Stats:
        """The earlier sample's statistics, empty when there is none."""
        return self.earlier.stats if self.earlier is not None else {}

    @property
    def active(self) -> bool:
        """Whether the domain runs, or is paused."""
        return isinstance(self.domain, DomainSample) and self.domain.active


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VmField:
    """One row of the table of fields."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema of the value; null besides, once, when a value is not available any more."""
    unit: str = ""
    text: str
    """What the value means."""
    source: str
    """Where it comes from: libvirt's statistics by their key, the domain XML, …"""
    change: Change
    asks: tuple[str, ...] = ()
    """libvirt's statistics groups that it takes, beside `state`."""
    lanes: tuple[str, ...] = ()
    """Slow lanes that it takes, and `processes` for a fresh look at QEMU's process."""
    sensitive: bool = False
    """Names a person, an address, a serial number, a path, or holds free text."""
    on_request: bool = False
    """Part of an answer only when the request names it."""
    own: bool = False
    """Not of VDSM's design: these stand behind those that are."""
    by_clock: bool = False
    """The value may become another one with the time alone, and that is news."""
    metric: str = ""
    """The metric that shows the same, or the first of them."""
    more_metrics: tuple[str, ...] = ()
    """The others, where it takes several."""
    no_metric: str = ""
    """Why there is no such metric."""
    value: Callable[[VmView], Any]
    """The value, as JSON types; ABSENT when it cannot be had. Never raises."""
    sign: Callable[[VmView], Any] | None = None
    """What is another one whenever the value is, of a value that is too large to be kept: that is
    computed only when it is sent."""
    why_absent: str
    """What it takes to have a value."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that show the same."""
        return (self.metric, *self.more_metrics) if self.metric else ()


xml_field: Final = partial(VmField, change="static", why_absent=NOT_IN_XML)
"""A row of which the value is `of_info(…)`."""


def of_info(read: Callable[[DomainInfo], Any]) -> Callable[[VmView], Any]:
    """The value that `read` finds in the domain XML; None there is ABSENT here."""

    def value(view: VmView) -> Any:
        info = view.info
        found = None if info is None else read(info)
        return ABSENT if found is None else found

    return value


def known(parts: dict[str, Any]) -> dict[str, Any]:
    """Those parts of an object that are not None."""
    return {name: value for name, value in parts.items() if value is not None}


def encoded(value: Any) -> bytes:
    """A value as JSON in UTF-8.

    What libvirt-python could not decode stands in a text as lone surrogates, which are no UTF-8:
    they become question marks.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def number(stats: Stats, key: str) -> int | None:
    """The number under a key; None where there is none, or -1 in its place."""
    value = stats.get(key)
    return value if type(value) is int and value >= 0 else None
