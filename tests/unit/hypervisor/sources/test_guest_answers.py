"""What is kept of what a guest's agent says."""

from __future__ import annotations

import time
from typing import Any, cast

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.connection.settings import GuestAgentSettings
from libvirt_exporter.hypervisor.sources.guest_answers import LONGEST_TEXT, QUESTIONS
from libvirt_exporter.model import Stats
from libvirt_exporter.render import keys

KEEP = {question.kind: question.keep for question in QUESTIONS}


def kept(kind: str, answer: dict[str, Any], **settings: Any) -> Stats:
    """What is kept of an answer."""
    return KEEP[kind](answer, GuestAgentSettings(**settings))


def file_system(
    number: int, mountpoint: str, fstype: str = "ext4", used: int | None = 1
) -> dict[str, Any]:
    """One as libvirt 9.0 tells of it."""
    prefix = f"fs.{number}"
    sizes = {} if used is None else {f"{prefix}.total-bytes": 10, f"{prefix}.used-bytes": used}
    return {
        f"{prefix}.name": f"vda{number}",
        f"{prefix}.mountpoint": mountpoint,
        f"{prefix}.fstype": fstype,
        f"{prefix}.disk.count": 1,
        f"{prefix}.disk.0.alias": "vda",
        f"{prefix}.disk.0.serial": "secret",
        **sizes,
    }


def test_file_systems_stand_in_the_order_of_their_mount_points() -> None:
    """So that the same ones have the same numbers, in whichever order a guest lists them."""
    answer = {"fs.count": 2, **file_system(0, "/var", used=4), **file_system(1, "/", used=None)}

    assert kept("filesystems", answer) == {
        "guest.fs.0.mountpoint": "/",
        "guest.fs.0.fstype": "ext4",
        "guest.fs.0.name": "vda1",
        "guest.fs.0.target": "vda",
        "guest.fs.1.mountpoint": "/var",
        "guest.fs.1.fstype": "ext4",
        "guest.fs.1.name": "vda0",
        "guest.fs.1.target": "vda",
        "guest.fs.1.total-bytes": 10,
        "guest.fs.1.used-bytes": 4,
        "guest.dropped.filesystems": 0,
    }


def test_excluded_file_systems_are_not_there_and_not_counted_as_dropped() -> None:
    """Patterns match the whole type or mount point, over lines too."""
    answer = {
        "fs.count": 4,
        **file_system(0, "/"),
        **file_system(1, "/snap/core/1", "squashfs"),
        **file_system(2, "/run/user\n/1"),
        **file_system(3, "/srv", "squashfs2"),
    }
    stats = kept(
        "filesystems",
        answer,
        exclude_filesystems=("squashfs",),
        exclude_mountpoints=("/run/.*",),
    )

    assert [stats["guest.fs.0.mountpoint"], stats["guest.fs.1.mountpoint"]] == ["/", "/srv"]
    assert "guest.fs.2.mountpoint" not in stats
    assert stats["guest.dropped.filesystems"] == 0


def test_no_pattern_takes_long_on_what_a_guest_says() -> None:
    """Nobody could interrupt an expression that is tried for ever."""
    mount_points = (file_system(n, f"/{n}{'a' * LONGEST_TEXT}") for n in range(50))
    every = {k: v for each in mount_points for k, v in each.items()}
    started = time.process_time()
    stats = kept("filesystems", {"fs.count": 50, **every}, exclude_mountpoints=(r"/(\w+\s?)+-x",))

    assert time.process_time() - started < 1
    assert stats["guest.dropped.filesystems"] == 0


def test_what_is_over_the_limit_is_dropped_and_counted() -> None:
    """File systems, users, interfaces, and addresses of all interfaces together."""
    many = range(5)
    file_systems = {k: v for n in many for k, v in file_system(n, f"/{n}").items()}
    users = {f"user.{n}.name": f"u{n}" for n in many}
    addresses = [{"addr": f"192.0.2.{n}", "type": 0, "prefix": 24} for n in many]
    interfaces = {f"eth{n}": {"addrs": addresses, "hwaddr": "52:54:00:00:00:00"} for n in many}

    stats = {
        **kept("filesystems", {"fs.count": 5, **file_systems}, entries=2),
        **kept("users", {"user.count": 5, **users}, entries=2),
        **kept("interfaces", interfaces, entries=2),
    }

    assert {k: v for k, v in stats.items() if k.startswith("guest.dropped")} == {
        "guest.dropped.filesystems": 3,
        "guest.dropped.users": 3,
        "guest.dropped.interfaces": 3,
        "guest.dropped.addresses": 8,
    }
    assert stats["guest.users"] == 5
    assert sum(key.endswith(".addr") for key in stats) == 2


def test_long_texts_are_cut() -> None:
    """A guest must not choose how much memory it costs."""
    stats = kept("filesystems", {"fs.count": 1, **file_system(0, "/" + "x" * 100_000)})

    assert stats["guest.fs.0.mountpoint"] == "/" + "x" * (LONGEST_TEXT - 1)


@pytest.mark.parametrize(
    ("online", "count"),
    [("0", 1), ("0-3", 4), ("0-3,5,8-9", 7), ("", None), ("3-0", None), ("all", None), (7, None)],
)
def test_online_cpus_are_counted(online: object, count: int | None) -> None:
    """libvirt lists them; of what is no list, nothing is kept."""
    assert kept("cpus", {"online": online}).get("guest.cpus.online") == count


def test_load_is_kept_as_it_is() -> None:
    """libvirt 11.2 has it as numbers."""
    told = {"load.1m": 0.25, "load.5m": 0.5, "load.15m": 1.0}
    assert kept("load", told) == {
        "guest.load.1m": 0.25,
        "guest.load.5m": 0.5,
        "guest.load.15m": 1.0,
    }


def test_every_part_of_the_system_is_there_when_one_is() -> None:
    """Otherwise it would take all of them to make a series."""
    stats = kept("os", {"os.id": "lab", "os.kernel-release": "6.1"})

    assert stats["guest.os.id"] == "lab"
    assert stats["guest.os.kernel-release"] == "6.1"
    assert stats["guest.os.version"] == ""
    assert kept("os", {}) == {}


def test_interfaces_stand_by_their_names_with_addresses_of_both_families() -> None:
    """As libvirt 9.0 tells of them by the agent; one without addresses has None in their place."""
    answer = {
        "lo": {"addrs": [{"addr": "127.0.0.1", "prefix": 8, "type": 0}], "hwaddr": "00:00"},
        "eth0": {"addrs": [{"addr": "fe80::1", "prefix": 64, "type": 1}], "hwaddr": "52:54"},
        "dummy0": {"addrs": None, "hwaddr": None},
    }
    assert kept("interfaces", answer) == {
        "guest.if.0.name": "dummy0",
        "guest.if.0.hwaddr": "",
        "guest.if.1.name": "eth0",
        "guest.if.1.hwaddr": "52:54",
        "guest.if.1.addr.0.addr": "fe80::1",
        "guest.if.1.addr.0.type": "ipv6",
        "guest.if.2.name": "lo",
        "guest.if.2.hwaddr": "00:00",
        "guest.if.2.addr.0.addr": "127.0.0.1",
        "guest.if.2.addr.0.type": "ipv4",
        "guest.dropped.interfaces": 0,
        "guest.dropped.addresses": 0,
    }


def test_each_driver_of_windows_stands_once_with_its_date() -> None:
    """As libvirt 12.7 names the keys; a device without a driver, or a date, has none."""
    devices = [("B", "1.0", 20), ("A", "2.0", 30), ("B", "1.0", 20), ("C", "3.0", None)]
    answer: dict[str, Any] = {"device.count": len(devices)}
    for number, (name, version, date) in enumerate(devices):
        answer[f"device.{number}.driverName"] = name
        answer[f"device.{number}.driverVersion"] = version
        if date is not None:
            answer[f"device.{number}.driverDate"] = date
    assert kept("drivers", answer, entries=1) == {
        "guest.driver.0.name": "A",
        "guest.driver.0.version": "2.0",
        "guest.driver.0.date": 30,
        "guest.dropped.drivers": 1,
    }


def test_a_file_system_has_its_disk_where_that_is_one() -> None:
    """Not where libvirt knows none of it, or it lies on several."""
    answer = {
        "fs.count": 2,
        **file_system(0, "/"),
        **file_system(1, "/srv"),
        "fs.1.disk.count": 2,
        "fs.1.disk.1.alias": "vdb",
    }
    stats = kept("filesystems", answer)

    assert stats["guest.fs.0.target"] == "vda"
    assert "guest.fs.1.target" not in stats


def test_disks_are_not_asked_for() -> None:
    """A guest could end libvirtd (9.0) by its answer."""
    bits: list[int] = []

    class Domain:
        def guestInfo(self, types: int) -> dict[str, object]:  # noqa: N802
            bits.append(types)
            return {}

        def __getattr__(self, _name: str) -> Any:
            return lambda *_: {}

    for question in QUESTIONS:
        question.ask(cast(libvirt.virDomain, Domain()))
    assert bits
    assert not any(bit & libvirt.VIR_DOMAIN_GUEST_INFO_DISKS for bit in bits)


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
names = st.sampled_from(
    [
        "mountpoint",
        "name",
        "alias",
        "count",
        "total-bytes",
        "x",
        "1m",
        "id",
        "driverName",
        "driverDate",
    ]
)
prefixes = st.sampled_from(["fs", "user", "disk", "os", "load", "device"])
numbered = st.builds("{}.{}.{}".format, prefixes, st.integers(0, 3), names)
plain = st.builds("{}.{}".format, prefixes, names)


@given(st.dictionaries(numbered | plain | st.sampled_from(["online", "hostname"]), values))
def test_no_answer_makes_keeping_fail_or_gives_a_key_that_is_unknown(answer: Any) -> None:
    """libvirt checks what an agent says, and so do we."""
    for kind, keep in KEEP.items():
        if kind != "interfaces":
            for key in keep(answer, GuestAgentSettings()):
                assert keys.match(key) is not None
