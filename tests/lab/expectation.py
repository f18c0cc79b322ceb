"""What a host's own words must become: series and values, written down without the catalogue.

`of_statistics` reads the reply of libvirt's bulk call, `of_xml` the domain XML. Both name metrics
and units by hand, so that they disagree with the exporter wherever its catalogue or its rendering
is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import libvirt

from tests.lab.exporter import Series, series

Values = dict[Series, float]

NOVA: Final = "{http://openstack.org/xmlns/libvirt/nova/1.1}"

NOTHING: Final = re.compile(
    r"(net|block|iothread|cpu\.cache\.monitor)\.count|(net|block)\.\d+\.name"
    r"|block\.\d+\.backingIndex"
)
"""Keys whose values are structure, not figures: they count or name what has series of its own."""


def _same(value: float) -> float:
    return value


def _nanoseconds(value: float) -> float:
    return value / 10**9


def _kibibytes(value: float) -> float:
    return value * 2**10


def _mebibytes(value: float) -> float:
    return value * 2**20


_IMAGE: Final = (
    ("rd.reqs", "reads_completed_total", _same),
    ("rd.bytes", "read_bytes_total", _same),
    ("rd.times", "read_time_seconds_total", _nanoseconds),
    ("wr.reqs", "writes_completed_total", _same),
    ("wr.bytes", "written_bytes_total", _same),
    ("wr.times", "write_time_seconds_total", _nanoseconds),
    ("fl.reqs", "flushes_completed_total", _same),
    ("fl.times", "flush_time_seconds_total", _nanoseconds),
    ("allocation", "allocation_bytes", _same),
    ("capacity", "capacity_bytes", _same),
    ("physical", "physical_bytes", _same),
    ("threshold", "write_threshold_bytes", _same),
    ("path", "path_info", _same),
    *(
        (f"limits.{limit}", f"limit_{limit}{unit}", _same)
        for unit, limits in (
            (
                "_bytes",
                (
                    *("request_alignment", "discard_max", "discard_alignment"),
                    *("write_zeroes_max", "write_zeroes_alignment"),
                    *("transfer_optimal", "transfer_max", "transfer_hw_max"),
                    *("memory_alignment_minimal", "memory_alignment_optimal"),
                ),
            ),
            ("", ("iov_max", "iov_hw_max")),
        )
        for limit in limits
    ),
)
_NUMBERS: Final[tuple[tuple[str, str, Callable[[float], float]], ...]] = (
    ("cpu.time", "cpu_seconds_total", _nanoseconds),
    ("cpu.user", "cpu_user_seconds_total", _nanoseconds),
    ("cpu.system", "cpu_system_seconds_total", _nanoseconds),
    ("cpu.haltpoll.success.time", "cpu_haltpoll_success_seconds_total", _nanoseconds),
    ("cpu.haltpoll.fail.time", "cpu_haltpoll_fail_seconds_total", _nanoseconds),
    ("balloon.current", "balloon_current_bytes", _kibibytes),
    ("balloon.maximum", "balloon_maximum_bytes", _kibibytes),
    ("balloon.unused", "balloon_unused_bytes", _kibibytes),
    ("balloon.available", "balloon_available_bytes", _kibibytes),
    ("balloon.usable", "balloon_usable_bytes", _kibibytes),
    ("balloon.disk_caches", "balloon_disk_caches_bytes", _kibibytes),
    ("balloon.rss", "balloon_rss_bytes", _kibibytes),
    ("balloon.swap_in", "balloon_swap_in_bytes_total", _kibibytes),
    ("balloon.swap_out", "balloon_swap_out_bytes_total", _kibibytes),
    ("balloon.major_fault", "balloon_major_faults_total", _same),
    ("balloon.minor_fault", "balloon_minor_faults_total", _same),
    ("balloon.hugetlb_pgalloc", "balloon_hugetlb_allocations_total", _same),
    ("balloon.hugetlb_pgfail", "balloon_hugetlb_allocation_failures_total", _same),
    ("balloon.last-update", "balloon_last_update_timestamp_seconds", _same),
    ("vcpu.current", "vcpus_current", _same),
    ("vcpu.maximum", "vcpus_maximum", _same),
    ("vcpu.<vcpu>.time", "vcpu_seconds_total", _nanoseconds),
    ("vcpu.<vcpu>.wait", "vcpu_wait_seconds_total", _nanoseconds),
    ("vcpu.<vcpu>.delay", "vcpu_delay_seconds_total", _nanoseconds),
    ("vcpu.<vcpu>.<stat>_ns.sum", "vcpu_kvm_seconds_total", _nanoseconds),
    ("vcpu.<vcpu>.<stat>.sum", "vcpu_kvm_events_total", _same),
    ("vcpu.<vcpu>.<stat>.cur", "vcpu_kvm_current", _same),
    ("vcpu.<vcpu>.<stat>.max", "vcpu_kvm_peak", _same),
    ("vm.<stat>_ns.sum", "kvm_seconds_total", _nanoseconds),
    ("vm.<stat>.sum", "kvm_events_total", _same),
    ("vm.<stat>.cur", "kvm_current", _same),
    ("vm.<stat>.max", "kvm_peak", _same),
    ("net.<device>.rx.bytes", "interface_receive_bytes_total", _same),
    ("net.<device>.rx.pkts", "interface_receive_packets_total", _same),
    ("net.<device>.rx.errs", "interface_receive_errors_total", _same),
    ("net.<device>.rx.drop", "interface_receive_drop_total", _same),
    ("net.<device>.tx.bytes", "interface_transmit_bytes_total", _same),
    ("net.<device>.tx.pkts", "interface_transmit_packets_total", _same),
    ("net.<device>.tx.errs", "interface_transmit_errors_total", _same),
    ("net.<device>.tx.drop", "interface_transmit_drop_total", _same),
    *((f"block.<device>.{key}", f"block_{name}", unit) for key, name, unit in _IMAGE),
    *((f"block.<lower>.{key}", f"block_backing_{name}", unit) for key, name, unit in _IMAGE),
    ("iothread.<iothread>.poll-max-ns", "iothread_poll_max_seconds", _nanoseconds),
    ("iothread.<iothread>.poll-grow", "iothread_poll_grow", _same),
    ("iothread.<iothread>.poll-shrink", "iothread_poll_shrink", _same),
    ("iothread.<iothread>.poll-weight", "iothread_poll_weight", _same),
    ("perf.cpu_clock", "perf_cpu_clock_seconds_total", _nanoseconds),
    ("perf.page_faults", "perf_page_faults_total", _same),
    ("dirtyrate.calc_start_time", "dirtyrate_calculation_start_seconds", _same),
    ("dirtyrate.calc_period", "dirtyrate_calculation_period_seconds", _same),
    ("dirtyrate.megabytes_per_second", "dirtyrate_bytes_per_second", _mebibytes),
)
_RULES: Final = tuple(
    (
        re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^.]+)", key.replace(".", r"\."))),
        name,
        unit,
    )
    for key, name, unit in _NUMBERS
)


def of_statistics(
    stats: Mapping[str, Any], identity: Mapping[str, str], xml: str
) -> tuple[Values, set[str]]:
    """The series of one domain's bulk statistics, and the keys that nothing here is known of."""
    stats = _without_targets_of_jobs(stats, ElementTree.fromstring(xml))
    found: Values = {}
    unknown: set[str] = set()
    if stats["state.state"] == libvirt.VIR_DOMAIN_SHUTOFF:
        # libvirt 9.0 has figures for inactive domains, and they are not the domain's own.
        stats = {key: value for key, value in stats.items() if key.startswith("state.")}
    lower = _lower_images(stats)
    for key, value in stats.items():
        if _says_nothing(key, value, stats):
            continue
        kind, number = key.split(".")[:2]
        own = [*_figure(key, value, stats, is_lower=kind == "block" and number in lower)]
        own += _names(key, value, stats)
        for name, labels, converted in own:
            found[series(f"libvirt_domain_{name}", **identity, **labels)] = converted
        if not own and not NOTHING.fullmatch(key):
            unknown.add(key)
    return found, unknown


def _says_nothing(key: str, value: Any, stats: Mapping[str, Any]) -> bool:
    """Whether libvirt has a value although there is nothing to tell."""
    if key.startswith("dirtyrate.") and key != "dirtyrate.calc_status":
        return bool(stats["dirtyrate.calc_status"] == 0)
    unknown = r"balloon\.last-update|vcpu\.\d+\.(wait|delay)|block\.\d+\.timed_group\..*_latency_.*"
    return value == 0 and re.fullmatch(unknown, key) is not None


def _without_targets_of_jobs(stats: Mapping[str, Any], domain: Element) -> Mapping[str, Any]:
    """Without the images, beside the first of each disk, that the XML has in no chain."""
    layers: set[tuple[str, int]] = set()
    for disk in domain.iterfind("devices/disk"):
        device = disk.find("target")
        layer = disk.find("backingStore")
        while device is not None and layer is not None and "index" in layer.attrib:
            layers.add((device.attrib["dev"], int(layer.attrib["index"])))
            layer = layer.find("backingStore")
    targets = {
        number
        for number in _lower_images(stats)
        if (stats[f"block.{number}.name"], stats[f"block.{number}.backingIndex"]) not in layers
    }
    return {
        key: value
        for key, value in stats.items()
        if not (key.startswith("block.") and key.split(".")[1] in targets)
    }


def _lower_images(stats: Mapping[str, Any]) -> set[str]:
    """Indexes of the images below the first of each disk."""
    disks: dict[str, list[str]] = {}
    for key, value in stats.items():
        if re.fullmatch(r"block\.\d+\.name", key):
            disks.setdefault(value, []).append(key.split(".")[1])
    return {number for numbers in disks.values() for number in numbers[1:]}


Found = tuple[str, dict[str, str], float]
"""Name without `libvirt_domain_`, labels, value."""


def _figure(key: str, value: Any, stats: Mapping[str, Any], *, is_lower: bool) -> Iterator[Found]:
    """The series of a key that holds a number, or a path."""
    kind = key.split(".")[0]
    for pattern, name, unit in _RULES:
        match = pattern.fullmatch(key)
        if match is None or (kind == "block" and ("lower" in match.groupdict()) != is_lower):
            continue
        labels = match.groupdict()
        number = labels.pop("lower", None) or labels.pop("device", None)
        if number is not None:
            labels["device"] = stats[f"{kind}.{number}.name"]
        if is_lower:
            labels["backing_index"] = str(stats[f"block.{number}.backingIndex"])
        if name.endswith("path_info"):
            yield name, {**labels, "path": value}, 1
        else:
            yield name, labels, unit(value)
        return


def _names(key: str, value: Any, stats: Mapping[str, Any]) -> Iterator[Found]:
    """The series of a key whose number stands for a name, or that is one."""
    state = _STATES[stats["state.state"]]
    match key.split("."):
        case ["state", "state"]:
            for name in _STATES:
                yield "state", {"state": name}, name == state
        case ["state", "reason"]:
            reason = _constant(f"VIR_DOMAIN_{state.upper()}", value)
            yield "state_reason", {"state": state, "reason": reason}, 1
        case ["vcpu", number, "state"]:
            yield "vcpu_state", {"vcpu": number, "state": _constant("VIR_VCPU", value)}, 1
        case ["dirtyrate", "calc_status"]:
            status = ("unstarted", "measuring", "measured")[value]
            yield "dirtyrate_status", {"status": status}, 1
        case ["dirtyrate", "calc_mode"]:
            yield "dirtyrate_calculation_info", {"mode": value}, 1


_STATES: Final = (
    "nostate",
    "running",
    "blocked",
    "paused",
    "shutdown",
    "shutoff",
    "crashed",
    "pmsuspended",
)


def _constant(prefix: str, number: int) -> str:
    """libvirt's own name of a number: VIR_DOMAIN_PAUSED_USER → `user`."""
    (name,) = (
        name
        for name in dir(libvirt)
        if re.fullmatch(rf"{prefix}_[A-Z_]+", name)
        and getattr(libvirt, name) == number
        and not name.endswith("_LAST")
    )
    return name.removeprefix(f"{prefix}_").lower()


_BOOT: Final = {"fd": "a", "hd": "c", "cdrom": "d", "network": "n"}
_LIMITS: Final = {"total_bytes_sec": "total_bytes", "read_iops_sec": "read_requests"}


def _shares_in_force(domain: libvirt.virDomain) -> int | None:
    """Those of its control group; None where it has none."""
    try:
        found: Any = domain.schedulerParameters() if domain.isActive() else {}
    except libvirt.libvirtError:
        return None
    shares: int | None = found.get("cpu_shares")
    return shares


def of_xml(domain: libvirt.virDomain, identity: Mapping[str, str]) -> Values:
    """The series of what a domain's XML says."""
    root = ElementTree.fromstring(domain.XMLDesc())
    found: Values = {}

    def add(name: str, value: float | None = 1, **labels: str) -> None:
        if value is not None:
            found[series(f"libvirt_{name}", **identity, **labels)] = value

    def number(path: str, scale: float = 1) -> float | None:
        text = root.findtext(path)
        return None if text is None else int(text) * scale

    def at(element: ElementTree.Element, path: str, attribute: str = "") -> str:
        child = element.find(path)
        if child is None:
            return ""
        return child.get(attribute, "") if attribute else child.text or ""

    add(
        "domain_info",
        type=root.get("type", ""),
        os_type=at(root, "os/type"),
        arch=at(root, "os/type", "arch"),
        machine=at(root, "os/type", "machine"),
        firmware="",
        cpu_mode=at(root, "cpu", "mode"),
        cpu_model=at(root, "cpu/model"),
        sockets=at(root, "cpu/topology", "sockets") or at(root, "vcpu"),
        cores=at(root, "cpu/topology", "cores") or "1",
        threads=at(root, "cpu/topology", "threads") or "1",
    )
    screens = [screen.get("keymap", "") for screen in root.iterfind("devices/graphics")]
    add(
        "domain_config_info",
        acpi="false" if root.find("features/acpi") is None else "true",
        boot="".join(_BOOT[boot.get("dev", "")] for boot in root.iterfind("os/boot")),
        display=at(root, "devices/graphics[1]", "type"),
        keymap=next(filter(None, screens), ""),
        clipboard="",
    )
    if (clock := root.find("clock[@adjustment]")) is not None:
        add("domain_clock_adjustment_seconds", int(clock.get("adjustment", "")))
    clock = root.find("clock")
    if clock is not None and clock.get("offset") in ("utc", "variable"):
        add("domain_clock_offset_seconds", int(clock.get("adjustment", "0")))
    add("domain_persistent", domain.isPersistent())
    add("domain_autostart", domain.autostart())
    add("domain_configured_vcpus", float(at(root, "vcpu", "current") or at(root, "vcpu")))
    add("domain_configured_vcpus_maximum", number("vcpu"))
    # libvirt writes memory in KiB whatever it was given in.
    add("domain_configured_memory_bytes", number("currentMemory", 2**10))
    add("domain_configured_memory_maximum_bytes", number("memory", 2**10))
    if period := at(root, "devices/memballoon/stats", "period"):
        add("domain_balloon_stats_period_seconds", int(period))
    add("domain_cpu_shares", _shares_in_force(domain) or number("cputune/shares"))
    agent = root.find("devices/channel/target[@name='org.qemu.guest_agent.0']")
    if agent is not None:
        add("domain_agent_connected", agent.get("state") == "connected")
    for watchdog in root.iterfind("devices/watchdog"):
        add(
            "domain_watchdog_info",
            device=at(watchdog, "alias", "name") or "watchdog0",
            model=watchdog.get("model", ""),
            action=watchdog.get("action", ""),
        )
    for disk in root.iterfind("devices/disk"):
        device = at(disk, "target", "dev")
        add(
            "domain_block_info",
            device=device,
            kind=disk.get("device", ""),
            bus=at(disk, "target", "bus"),
            source_type=disk.get("type", ""),
            format=at(disk, "driver", "type"),
            cache=at(disk, "driver", "cache"),
            io=at(disk, "driver", "io"),
            discard=at(disk, "driver", "discard"),
            error_policy=at(disk, "driver", "error_policy"),
            readonly="false" if disk.find("readonly") is None else "true",
        )
        for limit in disk.iterfind("iotune/*"):
            name = _LIMITS[limit.tag]
            add(f"domain_block_iotune_{name}_per_second", int(limit.text or ""), device=device)
        if source := at(disk, "source", "file"):
            add("domain_block_source_info", device=device, source=source)
            # Each image but the last holds the next; an inactive domain's XML does not tell.
            if disk.find("backingStore") is not None:
                depth = 1 + len(disk.findall(".//backingStore/source"))
                add("domain_block_backing_chain_depth", depth, device=device)
        if serial := at(disk, "serial"):
            add("domain_block_serial_info", device=device, serial=serial)
    for position, interface in enumerate(root.iterfind("devices/interface")):
        device = (
            at(interface, "target", "dev")
            or at(interface, "alias", "name")
            or f"interface{position}"
        )
        add(
            "domain_interface_info",
            device=device,
            interface_type=interface.get("type", ""),
            model=at(interface, "model", "type"),
            network="",
            bridge="",
            port_id="",
        )
        up = at(interface, "link", "state") != "down"
        add("domain_interface_link_up", up, device=device)
        if mac := at(interface, "mac", "address"):
            add("domain_interface_address_info", device=device, mac=mac)
    for graphics in root.iterfind("devices/graphics"):
        add(
            "domain_graphics_info",
            device="graphics0",  # of which the lab's domains have one at most
            graphics_type=graphics.get("type", ""),
            listen=graphics.get("listen", ""),
            port=graphics.get("port", ""),
            tls_port="",
            websocket="",
        )
    positions: Counter[str] = Counter()
    for item in root.iterfind("devices/*"):
        kind = item.tag
        if kind == "emulator":
            continue
        target = at(item, "target", "dev") if kind in ("disk", "interface") else ""
        add(
            "domain_device_info",
            kind=kind,
            device=target or at(item, "alias", "name") or f"{kind}{positions[kind]}",
            device_type=item.get("device" if kind == "disk" else "type", ""),
            model=item.get("model", "") or at(item, "model", "type"),
            guest_address=_guest_address(item.find("address")),
        )
        positions[kind] += 1
    if root.find("title") is not None:
        add(
            "domain_description_info",
            title=at(root, "title"),
            description=at(root, "description"),
        )
    if root.find(f"metadata/{NOVA}instance") is not None:
        _add_nova(root, add)
    return found


def _guest_address(element: ElementTree.Element | None) -> str:
    """As the kernel writes the addresses of the kinds that the lab's domains have."""
    address: Mapping[str, str] = {} if element is None else element.attrib
    match address.get("type"):
        case "pci":
            bus, slot, function = (int(address[part], 16) for part in ("bus", "slot", "function"))
            return f"0000:{bus:02x}:{slot:02x}.{function}"
        case "drive":
            return ":".join(address[part] for part in ("controller", "bus", "target", "unit"))
        case "virtio-serial":
            return ":".join(address[part] for part in ("controller", "bus", "port"))
        case "usb":
            return f"{address['bus']}:{address['port']}"
        case "isa":
            return ":".join(address[part] for part in ("iobase", "irq") if part in address)
    assert not address, address
    return ""


def _add_nova(root: ElementTree.Element, add: Callable[..., None]) -> None:
    instance = root.find(f"metadata/{NOVA}instance")
    assert instance is not None
    flavor, image, project, user = (
        instance.find(f".//{NOVA}{tag}") for tag in ("flavor", "root", "project", "user")
    )
    assert flavor is not None
    assert image is not None
    assert project is not None
    assert user is not None
    add(
        "domain_openstack_info",
        instance_name=instance.findtext(f"{NOVA}name", ""),
        flavor=flavor.get("name", ""),
        flavor_id="",
        image_id=image.get("uuid", ""),
        project_id=project.get("uuid", ""),
        project_name=project.text or "",
        root_type=image.get("type", ""),
    )
    add(
        "domain_openstack_user_info",
        user_id=user.get("uuid", ""),
        user_name=user.text or "",
    )
    # What is no number is left out, and counted.
    numbers = [element.text or "" for element in flavor]
    if malformed := sum(not text.isdecimal() for text in numbers):
        add("domain_malformed_metadata_values", malformed)
    # 2026-03-01 12:00:00 UTC, which is what the lab's XML says.
    add("domain_openstack_creation_timestamp_seconds", 1772366400)
