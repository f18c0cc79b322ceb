"""VMs at one moment, as the tests of queries need them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hypothesis import strategies as st

from libvirt_exporter.model import (
    CpuTune,
    Device,
    Disk,
    DomainInfo,
    DomainSample,
    Graphics,
    HostInfo,
    HostSample,
    Hugepages,
    Interface,
    NumaCell,
    OvirtInfo,
    Stats,
    StatValue,
    VanishedDomain,
)
from libvirt_exporter.query.fields.field import ABSENT, VmView
from libvirt_exporter.query.fields.table import BY_NAME, reason, values
from tests.support.samples import TYPICAL_INFO, TYPICAL_STATS, UUID, domain, typical

NOW: Final = 1_700_000_000.0
SECOND: Final = 10**9

QEMU: Final = HostSample(
    timestamp=NOW, duration=0.1, up=True, host=HostInfo(name="", driver="QEMU")
)


def view(stats: Stats | None = None, *, earlier: DomainSample | None = None, **more: Any) -> VmView:
    """A domain with these statistics, sampled at NOW; `more` are fields of DomainSample."""
    sample = domain(stats, **{"timestamp": NOW, **more})
    return VmView(QEMU, sample, earlier, NOW)


def later(seconds: float, before: Stats, now: Stats, **more: Any) -> VmView:
    """A domain with a sample some seconds before NOW; `more` are fields of both samples."""
    return view(now, earlier=domain(before, **{"timestamp": NOW - seconds, **more}), **more)


def running(**changes: Any) -> VmView:
    """A typical domain without an earlier sample; `changes` are fields of DomainSample."""
    return VmView(QEMU, typical(**{"timestamp": NOW, **changes}), None, NOW)


def described(**facts: Any) -> VmView:
    """A domain of which only its XML is known."""
    return view(info=DomainInfo(uuid=UUID, name="web", **facts))


def value_of(view: VmView, name: str) -> Any:
    """A field's value, None when it has none."""
    return values(view, [name]).get(name)


def explain(view: VmView, names: Iterable[str]) -> dict[str, str]:
    """Why each of the named fields that has no value has none."""
    fields = [BY_NAME[name] for name in names]
    return {field.name: reason(view, field) for field in fields if field.value(view) is ABSENT}


def value_with(stats: Stats, name: str, **more: Any) -> Any:
    """A field of a domain with these statistics; `more` are fields of DomainSample."""
    return value_of(view(stats, **more), name)


_texts = st.sampled_from(["", "vda", "vnet0", "kvm", "virtio", "block"]) | st.text(max_size=4)
_sizes = st.integers(0, 2**64 - 1)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2),
    max_leaves=4,
)
_disks = st.builds(
    Disk,
    device=_texts,
    kind=st.sampled_from(["disk", "cdrom", "floppy", "lun"]),
    source_type=_texts,
    source=_texts,
    serial=_texts,
    image_id=_texts,
    lun_guid=_texts,
)
_nics = st.builds(
    Interface,
    device=_texts,
    mac=_texts | st.just("52:54:00:00:00:01"),
    model=_texts,
    link_state=_texts,
)
_displays = st.builds(
    Graphics,
    type=_texts,
    listen=_texts,
    port=st.none() | st.integers(0, 65535),
    tls_port=st.none() | st.integers(0, 65535),
)
_ovirt = st.builds(
    OvirtInfo,
    guaranteed_memory=st.none() | st.integers(-(2**70), 2**70),
    balloon_target=st.none() | st.integers(-(2**70), 2**70),
    ballooning_enabled=st.none() | st.booleans(),
    exit_code=st.none() | st.integers(),
    exit_reason=st.none() | st.integers(),
    exit_message=_texts,
    jobs=_texts | st.sampled_from(["[]", "{", '{"a": {"drive": "vda"}}', '{"a": 1}']),
)
infos: Final = st.builds(
    DomainInfo,
    uuid=st.just(UUID),
    name=_texts,
    type=_texts,
    machine=_texts,
    cpu_mode=st.sampled_from(["", "custom", "host-model", "host-passthrough", "maximum"]),
    cpu_model=_texts,
    cpu_features_required=st.lists(_texts, max_size=2).map(tuple),
    cpu_cores=st.none() | st.integers(1, 9),
    vcpus_maximum=st.none() | _sizes,
    vcpus_current=st.none() | _sizes,
    memory_maximum=st.none() | _sizes,
    memory_guarantee=st.none() | _sizes,
    memory_nvdimm=_sizes,
    hugepages=st.lists(st.builds(Hugepages, _sizes), max_size=1).map(tuple),
    cpu_tune=st.builds(CpuTune, shares=st.none() | st.integers(0, 2000)),
    boot=st.sampled_from(["", "c", "dn"]),
    clipboard=st.none() | st.booleans(),
    clock_offset=_texts | st.sampled_from(["utc", "variable", "localtime", "timezone"]),
    clock_adjustment=st.none() | st.integers(),
    clock_basis=_texts | st.just("localtime"),
    clock_zone_offset=st.none() | st.integers(),
    agent_channel=_texts | st.just("connected"),
    numa_cells=st.just((NumaCell(0, (0, 1)),)),
    disks=st.lists(_disks, max_size=2).map(tuple),
    interfaces=st.lists(_nics, max_size=2).map(tuple),
    graphics=st.lists(_displays, max_size=2).map(tuple),
    devices=st.lists(
        st.builds(Device, kind=_texts, address=st.dictionaries(_texts, _texts, max_size=2)),
        max_size=2,
    ).map(tuple),
    ovirt=st.none() | _ovirt,
    metadata=st.dictionaries(
        st.sampled_from(["nova", "ovirt", "instance", "libosinfo", "kubevirt"]), _json, max_size=3
    ),
)

_KEYS: Final = (
    *TYPICAL_STATS,
    *("job.operation", "job.data_total", "job.data_remaining"),
    "blockjob.count",
    *(f"blockjob.0.{part}" for part in ("name", "type", "bandwidth", "cur", "end")),
    *("start.time", "process.pid", "process.guest.time", "pause.code", "monitor.responsive"),
    *("exit.code", "exit.reason", "exit.message", "exit.time", "event.last.reboot"),
    *("event.watchdog.last.time", "event.watchdog.last.action"),
    *("graphics.clients", "graphics.client.address"),
    *(f"guest.answer.{kind}.time" for kind in ("filesystems", "cpus", "users", "interfaces")),
    *("guest.answer.hostname.time", "guest.hostname", "guest.cpus.online", "guest.agent.answered"),
    *("guest.users", "guest.user.0.name", "guest.user.0.domain", "guest.fs.0.mountpoint"),
    *("guest.fs.0.fstype", "guest.fs.0.total-bytes", "guest.fs.0.used-bytes", "guest.if.0.name"),
    *("guest.if.0.hwaddr", "guest.if.0.addr.0.addr", "guest.if.0.addr.0.type"),
    *("process.transparent_hugepages", "numa.0.node.0", "numa.0.node.10", "numa.1.node.0"),
)
_values: st.SearchStrategy[StatValue] = (
    st.integers(-1, 12)
    | st.integers(-1, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | _texts
)


@st.composite
def stats(draw: st.DrawFn) -> dict[str, StatValue]:
    """A typical guest's statistics with keys missing, and with values of any kind and size."""
    missing = draw(st.sets(st.sampled_from(_KEYS), max_size=8))
    changed = draw(st.dictionaries(st.sampled_from(_KEYS), _values, max_size=12))
    return {key: value for key, value in {**TYPICAL_STATS, **changed}.items() if key not in missing}


_times = st.floats(0, 2e9)
_samples = st.builds(
    DomainSample,
    uuid=st.just(UUID),
    name=_texts,
    active=st.booleans(),
    stats=stats(),
    timestamp=_times,
    info=st.none() | st.just(TYPICAL_INFO) | infos,
)
_vanished = st.builds(
    VanishedDomain, uuid=st.just(UUID), name=_texts, timestamp=_times, stats=stats()
)
views: Final = st.builds(
    VmView,
    host=st.just(QEMU) | st.just(HostSample(timestamp=0.0, duration=0.0, up=False)),
    domain=_samples | _vanished,
    earlier=st.none() | _samples,
    now=_times,
)
"""Views that no host would give."""
