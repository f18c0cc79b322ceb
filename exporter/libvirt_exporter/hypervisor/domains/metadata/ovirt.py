"""oVirt's `<vm>` and `<qos>`: what Engine and VDSM keep in the domain XML.

`<vm>` is flat: a value is a leaf with an optional type; of what has children, only the custom
properties and the devices are read. VDSM asks libvirt for the element, which comes without its
namespace; so below `<vm>` and `<qos>` what has none counts as what has theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.metadata.reading import Reading, Scalar, fact, given, truth
from libvirt_exporter.hypervisor.domains.xml_values import integer, scaled, unix_time
from libvirt_exporter.model import Device, OvirtInfo

VM: Final = "{http://ovirt.org/vm/1.0}"
TUNE: Final = "{http://ovirt.org/vm/tune/1.0}"
MAX_DEVICES: Final = 1000
"""Devices of oVirt's that are looked at; each is compared with each of libvirt's."""
_DEVICE: Final = (f"{VM}device", "device")

_MIB: Final = 1 << 20
_CONTAINERS: Final = frozenset(
    {
        *("address", "auth", "change", "custom", "device", "diskReplicate", "hosts"),
        *("portMirroring", "specParams", "vm_custom", "volumeChain", "volumeInfo"),
    }
)
"""What holds values and is none, also when it is empty."""


def read_ovirt(metadata: Element, reading: Reading) -> dict[str, Any] | None:
    """Return `<vm>` and `<qos>` in oVirt's words and units; None when neither is there."""
    vm = metadata.find(f"{VM}vm")
    qos = metadata.find(f"{TUNE}qos")
    if vm is None and qos is None:
        return None
    child = reading.by_name(vm, VM, bare=True)
    devices = [] if vm is None else [one for one in vm if one.tag in _DEVICE]
    reading.malformed += len(devices[MAX_DEVICES:])
    tune = reading.by_name(qos, TUNE, bare=True)
    return given(
        {
            "values": _values(child, reading),
            "custom": {
                name: text
                for name, leaf in reading.by_name(child.get("custom"), VM, bare=True).items()
                if (text := reading.leaf(leaf)) is not None
            },
            "devices": [_device(device, reading) for device in devices[:MAX_DEVICES]],
            "qos": given(
                {
                    # VDSM's older writing of the name is all lower case.
                    "vcpuLimit": reading.scalar(
                        tune.get("vcpuLimit", tune.get("vcpulimit")), "float"
                    ),
                    "ioTune": [
                        _io_tune(device, reading)
                        for device in reading.named(tune.get("ioTune"), (f"{TUNE}device", "device"))
                    ],
                }
            ),
        }
    )


def ovirt_info(ovirt: Mapping[str, Any]) -> OvirtInfo:
    """Return the facts that metrics and the VM fields are made of."""
    values: Mapping[str, Scalar] = ovirt.get("values", {})

    def text(name: str) -> str:
        return fact(values.get(name))

    guaranteed = scaled(text("minGuaranteedMemoryMb"), _MIB)
    if guaranteed is None:
        guaranteed = scaled(text("memGuaranteedSize"), _MIB)
    percent: float | None = ovirt.get("qos", {}).get("vcpuLimit")
    return OvirtInfo(
        cluster_version=text("clusterVersion"),
        cpu_policy=text("cpuPolicy"),
        resume_behavior=text("resumeBehavior"),
        ballooning_enabled=truth(text("ballooningEnabled")),
        launch_paused=truth(text("launchPaused")),
        guaranteed_memory=guaranteed,
        balloon_target=scaled(text("balloonTarget"), 1024),
        start_time=unix_time(text("startTime")),
        vcpu_limit=None if percent is None or percent < 0 else percent / 100,
        destroy_on_reboot=truth(text("destroy_on_reboot")),
        exit_code=integer(text("exitCode")),
        exit_reason=integer(text("exitReason")),
        exit_message=text("exitMessage"),
        jobs=str(values.get("jobs", "")),
        guest_agent_api_version=integer(text("guestAgentAPIVersion")),
    )


def ovirt_device(
    described: Iterable[dict[str, Any]], device: Device, element: Element
) -> dict[str, Any] | None:
    """Return the one of oVirt's devices that means `device`, read of `element`; None without one.

    All attributes that oVirt gives must be those of the device: `mac_address`, `alias`, `uuid` (of
    a mediated device), `devtype` (the element) and `name`: a disk's target, a lease's key, any
    other device's alias.
    """
    names = _names(device, element)
    for one in described:
        match = one.get("match")
        if match and match.items() <= names.items():
            return one
    return None


def _names(device: Device, element: Element) -> dict[str, str]:
    names = {"devtype": device.kind, "name": device.alias, "alias": device.alias}
    match device.kind:
        case "disk":
            names["name"] = device.target
        case "lease":
            names["name"] = element.findtext("key", "")
        case "interface":
            names["mac_address"] = _attribute(element.find("mac"), "address")
        case "hostdev":
            names["uuid"] = _attribute(element.find("source/address"), "uuid")
    return names


def _attribute(element: Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _device(device: Element, reading: Reading) -> dict[str, Any]:
    child = reading.by_name(device, VM, bare=True)
    return given(
        {
            "match": {name: reading.bounded(text) for name, text in device.items()},
            "values": _values(child, reading),
            "specParams": _values(reading.by_name(child.get("specParams"), VM, bare=True), reading),
        }
    )


def _values(elements: Mapping[str, Element], reading: Reading) -> dict[str, Scalar]:
    return {
        name: value
        for name, leaf in elements.items()
        if name not in _CONTAINERS
        and (value := reading.scalar(leaf, leaf.get("type", "str"))) is not None
    }


def _io_tune(device: Element, reading: Reading) -> dict[str, Any]:
    child = reading.by_name(device, TUNE, bare=True)
    limits = {
        level: {
            name: reading.count(limit)
            for name, limit in reading.by_name(child.get(level), TUNE, bare=True).items()
        }
        for level in ("maximum", "guaranteed")
    }
    return given(
        {
            "name": reading.attribute(device, "name"),
            "path": reading.attribute(device, "path"),
            **{level: given(values) for level, values in limits.items()},
        }
    )
