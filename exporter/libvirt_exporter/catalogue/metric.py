"""The types of catalogue rows. A row is data: what a series is called, means, and is taken from.

Label values are found by *where* strings: `<num>` is the placeholder of that name in the row's own
key pattern, anything else is a companion key (`block.<num>.name`) whose value is the label's value.
Rows on XML facts name attributes of `model.DomainInfo` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

MetricType = Literal["counter", "gauge", "histogram"]
Stability = Literal["stable", "experimental"]

NEW_QEMU = (
    "with every new QEMU process: start, restore from a save file, arrival by migration; "
    "not when the guest reboots or libvirtd restarts"
)
GUEST_BOOT = "when the guest's operating system boots"
NEW_TAP = "when the host's network device is recreated: start, migration, hot-plug"
PERF_ENABLED = "when the perf event is re-enabled: start of the domain, restart of libvirtd"
NEW_RESCTRL = "when the resctrl group is recreated: start of the domain"


class Scale(Enum):
    """How a source value becomes base units: value × numerator ÷ denominator."""

    ONE = (1, 1)
    NANOSECONDS = (1, 10**9)
    MILLISECONDS = (1, 1000)
    PERCENT = (1, 100)
    KIBIBYTES = (1024, 1)
    MEBIBYTES = (1024 * 1024, 1)

    def __call__(self, value: float) -> float:
        """The value in base units; integers stay integers unless they are divided."""
        numerator, denominator = self.value
        return value / denominator if denominator != 1 else value * numerator


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Metric:
    """What every row has."""

    name: str
    """A counter's, and only that, ends in `_total`."""
    text: str
    """What the value means, in one or two sentences."""
    group: str
    source: str
    """A stats key pattern, or where else the value comes from; '' for the exporter itself."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label name → where its value is found; identity labels come on top for domains."""
    since: str = ""
    """First libvirt version with the source, '' when all versions have it."""
    default: bool = True
    """Whether the series exist when their group is chosen; else `fields.include` names them."""
    stability: Stability = "stable"
    unless_zero: str = ""
    """A companion key; where its value is 0, the row's own says nothing."""
    resets: str = ""
    """When a counter starts again at 0."""

    @property
    def type(self) -> MetricType:
        return "counter" if self.name.endswith("_total") else "gauge"

    @property
    def help(self) -> str:
        return f"{self.text} Source: {self.source}." if self.source else self.text

    @property
    def unit(self) -> str:
        """The base unit that ends the name, '' for plain numbers."""
        base = self.name.removesuffix("_total")
        return next((unit for unit in UNITS if base.endswith(f"_{unit}")), "")

    @property
    def family(self) -> str:
        """The name of the family in OpenMetrics, where counters drop `_total`."""
        return self.name.removesuffix("_total") if self.type == "counter" else self.name


UNITS = ("bytes_per_second", "seconds", "bytes", "ratio", "joules", "farads")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stat(Metric):
    """A number under a stats key."""

    scale: Scale = Scale.ONE
    lower: bool = False
    """For the images below a disk's top one; every other row is for the top one only."""
    zero_is_absent: bool = False
    """libvirt says 0 where it has nothing to say."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StatEnum(Metric):
    """A number under a stats key that stands for a name."""

    label: str
    values: Mapping[int, str] = field(default_factory=dict)
    every: bool = False
    """Show each known value as 0 or 1, instead of the current one as 1."""
    within: StatEnum | None = None
    """The enumeration that this one depends on: `values_within` has values for each of its values,
    and its own label is shown too."""
    values_within: Mapping[int, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StatInfo(Metric):
    """A constant 1 that carries a string from a stats key as a label."""

    lower: bool = False
    """As in `Stat`."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Histogram(Metric):
    """Counts per bin as a Prometheus histogram of buckets only (libvirt gives no sum)."""

    start: str
    """Key pattern of a bin's inclusive lower bound; the next one's is its upper bound."""
    scale: Scale = Scale.NANOSECONDS

    @property
    def type(self) -> MetricType:
        return "histogram"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fact(Metric):
    """Something the domain XML says; `labels` name attributes of the item."""

    each: str = ""
    """Attribute of DomainInfo holding the items; '' for the domain itself."""
    value: str = ""
    """Attribute holding the number; '' for a constant 1. None means no series."""
    exists: bool = False
    """Every item has a series; else one of which no label but `device` says anything has none."""
    operator_labels: bool = False
    """The labels are those that the operator chose in `labels.custom`."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exporter(Metric):
    """Something the exporter says about itself, a host or a scrape; filled by its own code."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A stats key that is not exported, and why."""

    source: str
    reason: str


A_COUNT = "A number of entries: count the entries' series instead."


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Group:
    """A field group: the unit that configuration and `collect[]` choose."""

    name: str
    text: str
    default: bool = True
    asks: tuple[str, ...] = ()
    """libvirt's bulk statistics groups that must be asked for."""
    lanes: tuple[str, ...] = ()
    """Slow lanes of the sampler that must be asked."""
    backing: bool = False
    """Needs the whole backing chain (VIR_CONNECT_GET_ALL_DOMAINS_STATS_BACKING)."""
    implies: tuple[str, ...] = ()
    """Groups that come with this one."""
    left_out: int | None = None
    """Place in the order in which a limit on series leaves groups out; None: it never does."""
