"""Names of other exporters' metrics, and what they are made of here.

Of each exporter come a file of recording rules, so that its dashboards and alerts go on working,
and its tables in docs/migrating.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_VM: Final = ("job", "instance", "domain", "uuid")
_DEVICE: Final = (*_VM, "device")

_STATES: Final = {
    "nostate": "no state",
    "running": "the domain is running",
    "blocked": "the domain is blocked on resource",
    "paused": "the domain is paused by user",
    "shutdown": "the domain is being shut down",
    "shutoff": "the domain is shut off",
    "crashed": "the domain is crashed",
    "pmsuspended": "the domain is suspended by guest power management",
}
"""States by number, each with what the others call it."""

_POOL_STATES: Final = ("inactive", "building", "running", "degraded", "inaccessible")

_DISK: Final = {
    "read_bytes_total": "read_bytes_total",
    "read_requests_total": "reads_completed_total",
    "write_bytes_total": "written_bytes_total",
    "write_requests_total": "writes_completed_total",
    "flush_requests_total": "flushes_completed_total",
}
"""Ends of the names of `libvirt_domain_block_stats_*` and of `libvirt_domain_block_*`."""
_DISK_TIMES: Final = {
    "read": "read_time_seconds_total",
    "write": "write_time_seconds_total",
    "flush": "flush_time_seconds_total",
}
_NETWORK: Final = {
    f"{way}_{theirs}_total": f"{way}_{ours}_total"
    for way in ("receive", "transmit")
    for theirs, ours in (
        ("bytes", "bytes"),
        ("packets", "packets"),
        ("errors", "errors"),
        ("drops", "drop"),
    )
}
_MEMORY: Final = {
    "major_fault_total": "major_faults_total",
    "minor_fault_total": "minor_faults_total",
    "unused_bytes": "unused_bytes",
    "available_bytes": "available_bytes",
    "usable_bytes": "usable_bytes",
    "rss_bytes": "rss_bytes",
}
_INFO: Final = {
    "libvirt_domain_info_maximum_memory_bytes": "libvirt_domain_balloon_maximum_bytes",
    "libvirt_domain_info_memory_usage_bytes": "libvirt_domain_balloon_current_bytes",
    "libvirt_domain_info_virtual_cpus": "libvirt_domain_vcpus_current",
    "libvirt_domain_info_cpu_time_seconds_total": "libvirt_domain_cpu_seconds_total",
}
_ALLOCATED: Final = "what is allocated, not what the guest uses"
_USED: Final = "100 * domain:libvirt_memory_used:ratio"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A metric of another exporter."""

    expression: str
    """What records it."""
    source: str
    """The metric of this exporter that it comes from."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another exporter."""

    title: str
    rows: Mapping[str, Row]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Its metrics that cannot be had, and why."""
    notes: tuple[str, ...] = ()


def _by(labels: tuple[str, ...], expression: str) -> str:
    return f"max by ({', '.join(labels)}) ({expression})"


def _renamed(expression: str, old: str, new: str) -> str:
    return f'label_replace({expression}, "{new}", "$1", "{old}", "(.*)")'


def _vm(identity: tuple[str, ...], metric: str, note: str = "") -> Row:
    return Row(expression=_by(identity, metric), source=metric, note=note)


def _device(identity: tuple[str, ...], metric: str, note: str = "") -> Row:
    labels = (*identity, "target_device")
    expression = _by(labels, _renamed(metric, "device", "target_device"))
    return Row(expression=expression, source=metric, note=note)


def _joined(metric: str, info: str, label: str, theirs: str, note: str = "") -> Row:
    """A metric of a device with a label of its info metric, where that is exposed."""
    on = f"on ({', '.join(_DEVICE)})"
    with_info = _renamed(f"{metric} * {on} group_left ({label}) {info}", label, theirs)
    without = f'label_replace({metric} unless {on} {info}, "{theirs}", "", "device", ".*")'
    labels = (*_VM, theirs, "target_device")
    expression = " or ".join(
        _by(labels, _renamed(series, "device", "target_device")) for series in (with_info, without)
    )
    return Row(expression=expression, source=metric, note=note)


def _numbers(metric: str, states: tuple[str, ...]) -> str:
    """The number of the state that holds, of a metric with a series for each."""
    return " or ".join(
        f'{number} * ({metric}{{state="{state}"}} == 1)' for number, state in enumerate(states)
    )


def _state(identity: tuple[str, ...]) -> Row:
    return Row(
        expression=_by(identity, _numbers("libvirt_domain_state", tuple(_STATES))),
        source="libvirt_domain_state",
        note="the number of the state",
    )


def _state_with_words(identity: tuple[str, ...]) -> Row:
    parts = " or ".join(
        f'label_replace({number} * (libvirt_domain_state{{state="{state}"}} == 1), '
        f'"state_desc", "{words}", "state", ".*")'
        for number, (state, words) in enumerate(_STATES.items())
    )
    return Row(
        expression=_by((*identity, "state_desc"), parts),
        source="libvirt_domain_state",
        note="the number of the state",
    )


def _pools() -> dict[str, Row]:
    """The figures of storage pools."""
    prefix = "libvirt_storage_pool"
    labels = ("job", "instance", "pool")
    rows = {
        f"{prefix}_info_state": Row(
            expression=_by(labels, _numbers(f"{prefix}_state", _POOL_STATES)),
            source=f"{prefix}_state",
            note="the number of the state",
        )
    }
    for name in ("capacity_bytes", "allocation_bytes", "available_bytes"):
        metric = f"{prefix}_{name}"
        rows[f"{prefix}_info_{name}"] = Row(expression=_by(labels, metric), source=metric)
    return rows


_SOURCE: Final = "libvirt_domain_block_source_info"
_WITH_SOURCE: Final = f"`source_file` where `fields.include` names `{_SOURCE}`"
_ACTIVE: Final = 'sum by (job, instance) (libvirt_domains{state!~"shutoff|crashed"})'

_NO_NOVA_LABELS: Final = (
    "The labels `name`, `flavor` and `project_name` of its flag `--libvirt.export-nova-metadata` "
    "are on no recorded series: join `libvirt_domain_openstack_info` on `uuid`, where they are "
    "`instance_name`, `flavor` and `project_name`."
)

KUMINA: Final = Peer(
    title="kumina's libvirt_exporter, Debian's prometheus-libvirt-exporter 0.2.0, kolla's image",
    rows={
        **{
            theirs: _vm(_VM, ours, _ALLOCATED if "usage" in theirs else "")
            for theirs, ours in _INFO.items()
        },
        "libvirt_domain_state_code": _state(_VM),
        "libvirt_domains_number": Row(expression=_ACTIVE, source="libvirt_domains"),
        **{
            f"libvirt_domain_block_stats_{theirs}": _joined(
                f"libvirt_domain_block_{ours}", _SOURCE, "source", "source_file", _WITH_SOURCE
            )
            for theirs, ours in (
                *_DISK.items(),
                *((f"{way}_seconds_total", ours) for way, ours in _DISK_TIMES.items()),
            )
        },
        **{
            f"libvirt_domain_interface_stats_{theirs}": _joined(
                f"libvirt_domain_interface_{ours}",
                "libvirt_domain_interface_info",
                "bridge",
                "source_bridge",
            )
            for theirs, ours in _NETWORK.items()
        },
    },
    notes=(
        "`libvirt_up` has the same name and meaning.",
        _NO_NOVA_LABELS,
    ),
)

_SAME_MEANING: Final = (
    "`libvirt_up`, `libvirt_domain_vcpu_wait_seconds_total` and "
    "`libvirt_domain_vcpu_delay_seconds_total` have the same names and meanings."
)
_SAME_NAME: Final = "has the same name here, with other labels"
_NAMED: Final = ("job", "instance", "domain")

TINKOFF: Final = Peer(
    title="Tinkoff's libvirt-exporter 2.3.3",
    rows={
        **{
            theirs: _vm(_NAMED, ours, _ALLOCATED if "usage" in theirs else "")
            for theirs, ours in _INFO.items()
        },
        "libvirt_domain_info_vstate": _state(_NAMED),
        "libvirt_domain_vcpu_time_seconds_total": _vm(
            (*_NAMED, "vcpu"), "libvirt_domain_vcpu_seconds_total"
        ),
        **{
            f"libvirt_domain_block_stats_{theirs}": _device(_NAMED, f"libvirt_domain_block_{ours}")
            for theirs, ours in (
                *_DISK.items(),
                *((ours, ours) for ours in _DISK_TIMES.values()),
                ("allocation", "allocation_bytes"),
                ("capacity_bytes", "capacity_bytes"),
                ("physicalsize_bytes", "physical_bytes"),
            )
        },
        **{
            f"libvirt_domain_block_stats_limit_{way}_{what}": _device(
                _NAMED,
                f"libvirt_domain_block_iotune_{way}_{what}_per_second",
                "absent where no limit is set, not 0",
            )
            for what in ("bytes", "requests")
            for way in ("total", "read", "write")
        },
        **{
            f"libvirt_domain_block_stats_limit_burst_{way}_{what}": _device(
                _NAMED,
                f"libvirt_domain_block_iotune_burst_{way}_{what}_per_second",
                "absent where no limit is set, not 0",
            )
            for what in ("bytes", "requests")
            for way in ("total", "read", "write")
        },
        **{
            f"libvirt_domain_block_stats_limit_burst_{theirs}": _device(
                _NAMED, f"libvirt_domain_block_iotune_burst_{way}_{what}_seconds"
            )
            for way in ("total", "read", "write")
            for what, theirs in (
                ("bytes", f"{way}_bytes_length_seconds"),
                ("requests", f"length_{way}_requests_seconds"),
            )
        },
        "libvirt_domain_block_stats_size_iops_bytes": _device(
            _NAMED, "libvirt_domain_block_iotune_request_size_bytes"
        ),
        **{
            f"libvirt_domain_interface_stats_{theirs}": _device(
                _NAMED, f"libvirt_domain_interface_{ours}"
            )
            for theirs, ours in _NETWORK.items()
        },
        **{
            f"libvirt_domain_memory_stats_{theirs}": _vm(
                _NAMED, f"libvirt_domain_balloon_{ours}", "absent where the guest does not tell"
            )
            for theirs, ours in (
                *_MEMORY.items(),
                ("actual_balloon_bytes", "current_bytes"),
                ("disk_cache_bytes", "disk_caches_bytes"),
            )
        },
        "libvirt_domain_memory_stats_used_percent": Row(
            expression=_by(_NAMED, _USED),
            source="domain:libvirt_memory_used:ratio",
            note="absent where the guest does not tell, not 0",
        ),
        **_pools(),
    },
    missing={
        "libvirt_versions_info": "`libvirt_info` has hypervisor and daemon; the library is in "
        "`libvirt_exporter_build_info`",
        "libvirt_domain_info_meta": "names users: `libvirt_domain_openstack_info`, and "
        "`libvirt_domain_openstack_user_info` on request",
        "libvirt_domain_block_meta": "names paths and serial numbers: `libvirt_domain_block_info`, "
        "and `libvirt_domain_block_source_info`, `libvirt_domain_block_serial_info` on request",
        "libvirt_domain_interface_meta": "`libvirt_domain_interface_info` has bridge and port",
        "libvirt_domain_vcpu_state": f"{_SAME_NAME}: a series for each state instead of a number",
        "libvirt_domain_vcpu_cpu": "the CPU that a thread happens to be on at the scrape: it tells "
        "nothing of the time between",
    },
    notes=(
        _SAME_MEANING,
        "Disks called `hda` and `hdc` are left out there and not here.",
    ),
)

INOVEX: Final = Peer(
    title="inovex' prometheus-libvirt-exporter 2.5",
    rows={
        **{
            theirs: _vm(_NAMED, ours, _ALLOCATED if "usage" in theirs else "")
            for theirs, ours in _INFO.items()
        },
        "libvirt_domain_info_state": _state_with_words(_NAMED),
        "libvirt_domain_timed_out": Row(
            expression=_by(_NAMED, "1 - libvirt_domain_monitor_responsive"),
            source="libvirt_domain_monitor_responsive",
        ),
        "libvirt_domain_vcpu_current": _vm(_NAMED, "libvirt_domain_vcpus_current"),
        "libvirt_domain_vcpu_maximum": _vm(_NAMED, "libvirt_domain_vcpus_maximum"),
        "libvirt_domain_vcpu_time_seconds_total": _vm(
            (*_NAMED, "vcpu"), "libvirt_domain_vcpu_seconds_total"
        ),
        **{
            f"libvirt_domain_block_stats_{theirs}": _device(_NAMED, f"libvirt_domain_block_{ours}")
            for theirs, ours in (
                *_DISK.items(),
                *((ours, ours) for ours in _DISK_TIMES.values()),
                ("capacity_bytes", "capacity_bytes"),
            )
        },
        **{
            f"libvirt_domain_interface_stats_{theirs}": _device(
                _NAMED, f"libvirt_domain_interface_{ours}"
            )
            for theirs, ours in _NETWORK.items()
        },
        **{
            f"libvirt_domain_memory_stats_{theirs}": _vm(_NAMED, f"libvirt_domain_balloon_{ours}")
            for theirs, ours in (
                *_MEMORY.items(),
                ("swap_in_bytes", "swap_in_bytes_total"),
                ("swap_out_bytes", "swap_out_bytes_total"),
                ("actual_balloon_bytes", "current_bytes"),
            )
        },
        "libvirt_domain_memory_stats_used_percent": Row(
            expression=_by(_NAMED, _USED),
            source="domain:libvirt_memory_used:ratio",
            note="absent where the guest does not tell, not NaN",
        ),
        **{
            f"libvirt_domain_job_info_{theirs}": _vm(
                _NAMED, f"libvirt_domain_job_{ours}", "absent while there is no job, not 0"
            )
            for theirs, ours in (
                ("time_elapsed_seconds", "elapsed_seconds"),
                ("time_remaining_seconds", "remaining_seconds"),
                *(
                    (f"{what}_{how}_bytes", f"{ours}_{how}_bytes")
                    for what, ours in (("data", "data"), ("memory", "memory"), ("file", "disk"))
                    for how in ("total", "processed", "remaining")
                ),
            )
        },
    },
    missing={
        "libvirt_domains": f"{_SAME_NAME}: `sum by (instance) (libvirt_domains)` is its number",
        "libvirt_domain_info": f"{_SAME_NAME}: `arch`, `machine` for `os_type_arch`, "
        "`os_type_machine`",
        "libvirt_domain_openstack_info": f"{_SAME_NAME}: `uuid` for `instance_id`, `flavor` for "
        "`flavor_name`; users only on request, in `libvirt_domain_openstack_user_info`",
        "libvirt_domain_vcpu_state": f"{_SAME_NAME}: a series for each state instead of a number",
        "libvirt_domain_block_stats_info": "names paths and serial numbers: "
        "`libvirt_domain_block_info`, and `libvirt_domain_block_source_info`, "
        "`libvirt_domain_block_serial_info` on request",
        "libvirt_domain_interface_stats_info": "names hardware addresses: "
        "`libvirt_domain_interface_info`, and `libvirt_domain_interface_address_info` on request",
        "libvirt_domain_job_info_type": "`libvirt_domain_job_info` tells operation and kind",
        "libvirt_storage_pool_state": f"{_SAME_NAME}: `pool` for `storage_pool`, a series for each "
        "state instead of a number",
        **{
            f"libvirt_storage_pool_{name}_bytes": f"{_SAME_NAME}: `pool` for `storage_pool`"
            for name in ("capacity", "allocation", "available")
        },
    },
    notes=(
        _SAME_MEANING,
        "Its job times are milliseconds, whatever their names say; recorded ones are seconds.",
    ),
)

PEERS: Final = {"kumina": KUMINA, "tinkoff": TINKOFF, "inovex": INOVEX}
"""Other exporters by the name of their file of rules."""


def rules(name: str) -> str:
    """Return the file of recording rules of one exporter."""
    lines = [
        "# Written by deploy/prometheus/build.py from compatibility.py.",
        f"# The metrics of {PEERS[name].title}, made of this exporter's.",
        "# What cannot be had, and why: docs/migrating.md.",
        "groups:",
        f"  - name: libvirt-compatibility-{name}",
        "    rules:",
    ]
    for metric, row in PEERS[name].rows.items():
        lines += [f"      - record: {metric}", "        expr: |", f"          {row.expression}"]
    return "\n".join(lines) + "\n"


_MIGRATING: Final = """\
# Migrating from another exporter

Dashboards and alerts that were written for another libvirt exporter continue to work: load the
file of `deploy/prometheus/compatibility/` with its name, beside `deploy/prometheus/rules/`. It
records the old names, with their labels, from the series of this exporter. Then change one
dashboard after the other to the new names, and remove the file when none is left.

- Run both exporters side by side for a while, on two ports and under two job names: recorded series
  have the job name of this exporter.
- A recorded counter is as old as the last evaluation, and `rate()` over it needs two evaluations
  in its range. `job` and `instance` are those of this exporter.
- What libvirt does not tell is absent here. Others have 0 or NaN there: an alert on `== 0` needs
  `absent()`, and a panel shows a gap.
- VMs that are paused by an I/O error, crashed or shut off have series here. Some others leave them
  out.
- Most old names tell VMs apart by the label `domain` alone. Keep it in `labels.identity`, as it is
  by default: without it, the highest figure of all VMs of a host would be recorded as one series.
"""


def _tables() -> Iterator[str]:
    for name, peer in PEERS.items():
        yield f"## {peer.title[0].upper()}{peer.title[1:]}\n"
        yield f"Rules: `deploy/prometheus/compatibility/{name}.yml`.\n"
        yield "\n".join(f"- {note}" for note in peer.notes) + "\n"
        rows = [
            f"| `{theirs}` | `{row.source}` | {row.note} |" for theirs, row in peer.rows.items()
        ]
        yield "\n".join(["| old | new | |", "|---|---|---|", *rows]) + "\n"
        if peer.missing:
            yield "Not recorded:\n"
            rows = [f"| `{theirs}` | {why} |" for theirs, why in peer.missing.items()]
            yield "\n".join(["| old | why, and what there is instead |", "|---|---|", *rows]) + "\n"


def markdown() -> str:
    """Return docs/migrating.md."""
    return "\n".join([_MIGRATING, *_tables()])
