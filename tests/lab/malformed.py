"""Answers of a guest agent as they should be, and everything near them that they should not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_DISK: Final = {
    "bus-type": "virtio",
    "bus": 0,
    "unit": 0,
    "target": 0,
    "pci-controller": {"domain": 0, "bus": 0, "slot": 4, "function": 0},
    "ccw-address": {"cssid": 1, "ssid": 0, "subchno": 0, "devno": 1},
    "dev": "/dev/vda",
    "serial": "serial",
}

WELL_FORMED: Final[Mapping[str, Any]] = {
    "guest-get-fsinfo": [
        {
            "name": "vda",
            "mountpoint": "/",
            "type": "ext4",
            "total-bytes": 10,
            "used-bytes": 1,
            "disk": [_DISK],
        }
    ],
    "guest-get-load": {"load1m": 0.5, "load5m": 0.25, "load15m": 0.125},
    "guest-get-vcpus": [{"logical-id": 0, "online": True, "can-offline": False}],
    "guest-get-users": [{"user": "ann", "login-time": 1.5, "domain": "CORP"}],
    "guest-get-osinfo": {
        key: key
        for key in (
            *("id", "name", "pretty-name", "version", "version-id", "machine", "kernel-release"),
            *("kernel-version", "variant", "variant-id"),
        )
    },
    "guest-get-host-name": {"host-name": "name"},
    "guest-network-get-interfaces": [
        {
            "name": "eth0",
            "hardware-address": "02:00:00:00:00:01",
            "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "192.0.2.1", "prefix": 24}],
        }
    ],
    "guest-get-devices": [
        {
            "driver-name": "VirtIO",
            "driver-date": 1_679_270_400_000_000_000,
            "driver-version": "1.2",
            "id": {"type": "pci", "vendor-id": 6900, "device-id": 4096},
        }
    ],
}
"""By command, in the form of qemu-ga 7.2; the load in that of 10.0."""

_ODD: Final[tuple[Any, ...]] = (
    None,
    "",
    "x",
    -1,
    2**63,
    1.5e300,
    True,
    [],
    {},
    [None],
    [""],
    [[]],
    [{}],
)


def malformed(answer: Any) -> Iterator[Any]:
    """The answer with each of its parts missing, or something else in its place, one at a time."""
    yield from _ODD
    match answer:
        case Mapping():
            for key, part in answer.items():
                yield {name: value for name, value in answer.items() if name != key}
                yield from ({**answer, key: odd} for odd in malformed(part))
        case Sequence() if not isinstance(answer, str):
            for number, part in enumerate(answer):
                for odd in malformed(part):
                    yield [*answer[:number], odd, *answer[number + 1 :]]
            yield [*answer, *answer, None]
