"""Devices as the domain XML describes them: rows of the group `info`.

Every row tells the devices of one domain apart, whatever the XML: by target, alias or position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from libvirt_exporter.catalogue.metric import Fact, Group, Metric, Withheld

GROUPS: tuple[Group, ...] = ()


def fact(
    name: str,
    source: str,
    text: str,
    labels: Mapping[str, str],
    each: str,
    *,
    value: str = "",
    default: bool = True,
    exists: bool = False,
    since: str = "",
) -> Fact:
    """A row with a series per item of `each`: the number `value`, or a constant 1 without one."""
    return Fact(
        name=f"libvirt_domain_{name}",
        text=text if value else f"Always 1; {text}",
        group="info",
        source=f"domain XML, {source}",
        labels=labels,
        each=each,
        value=value,
        exists=exists,
        default=default,
        since=since,
    )


_WORDS: Mapping[str, str] = {
    "total": "{} read and written",
    "read": "{} read",
    "write": "{} written",
}
_ELEMENTS: Mapping[str, str] = {"bytes": "bytes", "requests": "iops"}


def _limits(
    prefix: str,
    whose: str,
    source: str,
    labels: Mapping[str, str],
    each: str,
    where: str,
    since: str,
) -> Iterator[Fact]:
    """Rows on the limits of `<iotune>`, which each item of `each` has under `where`."""
    for what, element in _ELEMENTS.items():
        for way, words in _WORDS.items():
            limited, key = words.format(what), f"{way}_{element}_sec"
            yield fact(
                f"{prefix}_{way}_{what}_per_second",
                f"{source}/{key}",
                f"Limit on the {limited} per second of {whose}. Absent without a limit.",
                labels,
                each,
                value=f"{where}.{key}",
                since=since,
            )
            yield fact(
                f"{prefix}_burst_{way}_{what}_per_second",
                f"{source}/{key}_max",
                f"Limit on the {limited} per second of {whose} in a burst. Absent without a limit.",
                labels,
                each,
                value=f"{where}.{key}_max",
                since=since,
            )
            yield fact(
                f"{prefix}_burst_{way}_{what}_seconds",
                f"{source}/{key}_max_length",
                f"Maximum duration of a burst of {limited} of {whose}. Absent if not set.",
                labels,
                each,
                value=f"{where}.{key}_max_length",
                since=since,
            )
    yield fact(
        f"{prefix}_request_size_bytes",
        f"{source}/size_iops_sec",
        f"Size above which a request of {whose} counts as several requests. Absent if not set.",
        labels,
        each,
        value=f"{where}.size_iops_sec",
        since=since,
    )


_DEVICE: Mapping[str, str] = {"device": "device"}

_BANDWIDTHS: tuple[tuple[str, str, str], ...] = (
    (
        "average_bytes_per_second",
        "average",
        "Long-term limit on the rate at which an interface may {}",
    ),
    ("peak_bytes_per_second", "peak", "Limit on the rate at which an interface may {} in a burst"),
    ("burst_bytes", "burst", "Amount that an interface may {} at its peak rate"),
)
_WAYS: tuple[tuple[str, str], ...] = (("receive", "inbound"), ("transmit", "outbound"))

METRICS: tuple[Metric, ...] = (
    fact(
        "watchdog_info",
        "devices/watchdog",
        "model and action of a watchdog device.",
        {"device": "device", "model": "model", "action": "action"},
        "watchdogs",
        exists=True,
    ),
    fact(
        "panic_device_info",
        "devices/panic",
        "a device through which the guest reports kernel panics.",
        {"device": "name", "model": "model"},
        "panics",
        exists=True,
    ),
    fact(
        "block_info",
        "devices/disk",
        "properties of a disk.",
        {
            "device": "device",
            "kind": "kind",
            "bus": "bus",
            "source_type": "source_type",
            "format": "format",
            "cache": "cache",
            "io": "io",
            "discard": "discard",
            "error_policy": "error_policy",
            "readonly": "readonly",
        },
        "disks",
        exists=True,
    ),
    fact(
        "block_backing_chain_depth",
        "devices/disk/backingStore",
        "Number of images in a disk's backing chain, the top image included. 1 without a backing "
        "image.",
        _DEVICE,
        "disks",
        value="chain_depth",
    ),
    *_limits("block_iotune", "a disk", "devices/disk/iotune", _DEVICE, "disks", "iotune", ""),
    fact(
        "block_throttle_group_info",
        "devices/disk/iotune/group_name and throttlefilters",
        "throttle group of a disk; the disks of a group share its limits.",
        {"device": "device", "throttle_group": "group"},
        "disk_throttles",
    ),
    *_limits(
        "throttle_group",
        "all disks of a throttle group together",
        "throttlegroups/throttlegroup",
        {"throttle_group": "name"},
        "throttle_groups",
        "limits",
        "11.2.0",
    ),
    fact(
        "block_source_info",
        "devices/disk/source",
        "path or network name of a disk's top image.",
        {"device": "device", "source": "source"},
        "disks",
        default=False,
    ),
    fact(
        "block_serial_info",
        "devices/disk/serial",
        "serial number of a disk; OpenStack's volume id.",
        {"device": "device", "serial": "serial"},
        "disks",
        default=False,
    ),
    fact(
        "interface_info",
        "devices/interface",
        "what a network interface is connected to.",
        {
            "device": "device",
            "interface_type": "type",
            "model": "model",
            "network": "network",
            "bridge": "bridge",
            "port_id": "port_id",
        },
        "interfaces",
        exists=True,
    ),
    fact(
        "interface_link_up",
        "devices/interface/link@state",
        "1 if the guest sees a plugged network cable, 0 if the link is set to down. Independent "
        "of the host's side and the network.",
        _DEVICE,
        "interfaces",
        value="link_up",
    ),
    *(
        fact(
            f"interface_bandwidth_{way}_{unit}",
            f"devices/interface/bandwidth/{element}@{attribute}",
            f"{text.format(way)}. Absent if the XML sets none.",
            _DEVICE,
            "interfaces",
            value=f"{way}.{attribute}",
        )
        for way, element in _WAYS
        for unit, attribute, text in _BANDWIDTHS
    ),
    fact(
        "interface_bandwidth_receive_floor_bytes_per_second",
        "devices/interface/bandwidth/inbound@floor",
        "Bandwidth that the network guarantees an interface for receiving. Absent if it "
        "guarantees none.",
        _DEVICE,
        "interfaces",
        value="receive.floor",
    ),
    fact(
        "interface_address_info",
        "devices/interface/mac",
        "hardware address of a network interface.",
        {"device": "device", "mac": "mac"},
        "interfaces",
        default=False,
    ),
    fact(
        "interface_source_info",
        "devices/interface/source",
        "host device, socket or address that a network interface is connected to.",
        {"device": "device", "source": "source"},
        "interfaces",
        default=False,
    ),
    fact(
        "host_device_info",
        "devices/hostdev",
        "a host device assigned to the domain. `address` is its address on the host (PCI; USB "
        "bus and device, or vendor and product; SCSI host:channel:target:LUN; UUID of a mediated "
        "device). `pci_bus_id` is a PCI address in the format of NVIDIA's tools.",
        {
            "device": "device",
            "device_type": "type",
            "address": "address",
            "pci_bus_id": "pci_bus_id",
            "guest_address": "guest_address",
            "driver": "driver",
        },
        "host_devices",
        exists=True,
    ),
    fact(
        "host_device_source_info",
        "devices/hostdev/source",
        "name of a host device that has no such address: iSCSI name, WWPN, path or network device.",
        {"device": "device", "source": "source"},
        "host_devices",
        default=False,
    ),
    fact(
        "filesystem_info",
        "devices/filesystem",
        "a directory or image of the host shared with the guest. `target` is its mount tag, or "
        "the mount point in a container. `access` is libvirt's accessmode.",
        {
            "device": "device",
            "target": "target",
            "filesystem_type": "type",
            "access": "access",
            "driver": "driver",
            "readonly": "readonly",
        },
        "filesystems",
        exists=True,
    ),
    fact(
        "graphics_info",
        "devices/graphics",
        "listening address and ports of a graphical console.",
        {
            "device": "device",
            "graphics_type": "type",
            "listen": "listen",
            "port": "port",
            "tls_port": "tls_port",
            "websocket": "websocket",
        },
        "graphics",
        default=False,
        exists=True,
    ),
    fact(
        "device_info",
        "devices/*",
        "a device of the domain, except its emulator, with its address in the guest.",
        {
            "kind": "kind",
            "device": "name",
            "device_type": "type",
            "model": "model",
            "guest_address": "guest_address",
        },
        "devices",
        default=False,
        exists=True,
    ),
)

WITHHELD: tuple[Withheld, ...] = ()
