"""The per-domain fallback, on libvirt's test driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection.drivers import (
    DriverFallback,
    needs_fallback,
    state_stats,
)
from libvirt_exporter.model import Disk, DomainInfo, Interface
from tests.support.waiting import wait_until

LACKED_BY_TEST_DRIVER = frozenset({"cpu-total", "balloon", "vcpu", "interface", "block"})
INFO = DomainInfo(
    uuid="6695eb01-f6a4-8304-79aa-97f2502e193f",
    name="test",
    disks=(Disk(device="vda", source_type="file", source="/guest/diskimage1"),),
    interfaces=(Interface(device="testnet0", type="network"),),
)
SPARSE_VCPUS = """
<node>
  <domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
    <name>sparse</name>
    <memory unit="MiB">1024</memory>
    <currentMemory unit="MiB">512</currentMemory>
    <vcpu current="2">4</vcpu>
    <vcpus>
      <vcpu id="0" enabled="yes" hotpluggable="no"/>
      <vcpu id="1" enabled="no" hotpluggable="yes"/>
      <vcpu id="2" enabled="yes" hotpluggable="yes"/>
      <vcpu id="3" enabled="no" hotpluggable="yes"/>
    </vcpus>
    <os><type arch="x86_64">hvm</type></os>
    <devices>
      <disk type="file" device="cdrom"><target dev="sda" bus="sata"/></disk>
    </devices>
    <test:runstate>{state}</test:runstate>
  </domain>
</node>
"""


def error(code: int, origin: int = libvirt.VIR_FROM_TEST) -> libvirt.libvirtError:
    """A libvirtError as the library raises it."""
    made = libvirt.libvirtError("made for this test")
    made.err = (code, origin, "made for this test", libvirt.VIR_ERR_ERROR, "", "", "", -1, -1)
    return made


class Altered:
    """A real connection or domain, some calls of which answer differently; counts every call."""

    def __init__(self, real: object, **answers: Callable[..., Any]) -> None:
        self.calls: Counter[str] = Counter()
        self._real = real
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The altered call, else the real one."""
        call = self._answers.get(name) or getattr(self._real, name)

        def counted(*arguments: Any) -> Any:
            self.calls[name] += 1
            return call(*arguments)

        return counted


def failing(code: int, origin: int = libvirt.VIR_FROM_TEST) -> Callable[..., Any]:
    """A call that raises libvirt's error `code`."""

    def call(*_: Any) -> Any:
        raise error(code, origin)

    return call


def answering(value: Any) -> Callable[..., Any]:
    """A call that answers `value` whatever it is asked."""
    return lambda *_: value


def ask(
    fallback: DriverFallback,
    domain: Any,
    groups: Collection[str],
    info: DomainInfo | None,
    already: Container[str] = (),
) -> dict[str, Any]:
    """What the fallback answers for `domain`, real or altered."""
    return dict(fallback.stats(domain, groups, info, already))


@pytest.fixture
def conn() -> Iterator[libvirt.virConnect]:
    """The test driver's default host, read-only."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    opened = libvirt.openReadOnly("test:///default")
    yield opened
    opened.close()


@pytest.fixture
def domain(conn: libvirt.virConnect) -> libvirt.virDomain:
    """The default host's one domain."""
    return conn.lookupByName("test")


@pytest.fixture
def fallback(conn: libvirt.virConnect) -> DriverFallback:
    """A fallback for all that the test driver lacks."""
    return DriverFallback(needs_fallback(conn), "TEST")


def open_sparse(tmp_path: Path, state: int) -> libvirt.virConnect:
    """A host with one domain of four vCPUs, of which 0 and 2 are online, and an empty drive."""
    path = tmp_path / "node.xml"
    path.write_text(SPARSE_VCPUS.format(state=state))
    return libvirt.openReadOnly(f"test://{path}")


def test_the_test_driver_needs_every_group_but_state(conn: libvirt.virConnect) -> None:
    """Its bulk call knows state and iothread only."""
    assert needs_fallback(conn) == LACKED_BY_TEST_DRIVER


def test_a_host_without_domains_tells_its_groups_too(tmp_path: Path) -> None:
    """The driver is asked what it can do, not what its domains answer."""
    path = tmp_path / "node.xml"
    path.write_text("<node/>")
    empty = libvirt.openReadOnly(f"test://{path}")
    assert needs_fallback(empty) == LACKED_BY_TEST_DRIVER


def test_qemu_needs_nothing_and_is_not_asked(conn: libvirt.virConnect) -> None:
    """A QEMU connection costs no trial call."""
    qemu: Any = Altered(conn, getType=answering("QEMU"))
    assert needs_fallback(qemu) == frozenset()
    assert qemu.calls == {"getType": 1}


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG])
def test_a_driver_without_the_bulk_call_needs_state_too(
    conn: libvirt.virConnect, code: int
) -> None:
    """`state` among the groups tells the caller that there is no bulk call."""
    old: Any = Altered(conn, getAllDomainStats=failing(code))
    assert needs_fallback(old) == LACKED_BY_TEST_DRIVER | {"state"}


def test_a_broken_connection_is_no_missing_group(conn: libvirt.virConnect) -> None:
    """A trial call that fails for another reason raises."""
    lost = failing(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC)
    broken: Any = Altered(conn, getAllDomainStats=lost)
    with pytest.raises(libvirt.libvirtError):
        needs_fallback(broken)


def test_state_equals_the_bulk_call(conn: libvirt.virConnect, domain: libvirt.virDomain) -> None:
    """State and reason come under the bulk call's keys."""
    ((_, bulk),) = conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
    assert state_stats(domain) == bulk
    assert ask(DriverFallback(frozenset({"state"}), "TEST"), domain, ["state"], None) == bulk


def test_all_groups_of_a_running_domain(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """Every figure that the test driver has is there, under the bulk call's key."""
    stats = ask(fallback, domain, LACKED_BY_TEST_DRIVER, INFO)
    assert set(stats) == {
        *("cpu.time", "cpu.user", "cpu.system"),
        *(f"balloon.{name}" for name in ("current", "maximum", "unused", "available", "usable")),
        *(f"balloon.{name}" for name in ("swap_in", "swap_out", "major_fault", "minor_fault")),
        *("balloon.hugetlb_pgalloc", "balloon.hugetlb_pgfail", "balloon.disk_caches"),
        "balloon.rss",
        *("vcpu.current", "vcpu.maximum"),
        *(f"vcpu.{number}.{name}" for number in (0, 1) for name in ("state", "time")),
        *("block.count", "block.0.name", "block.0.path", "block.0.errors"),
        *(f"block.0.{way}.{what}" for way in ("rd", "wr") for what in ("reqs", "bytes")),
        *(f"block.0.{name}" for name in ("capacity", "allocation", "physical")),
        *("net.count", "net.0.name"),
        *(f"net.0.{way}.{what}" for way in ("rx", "tx") for what in ("bytes", "pkts", "errs")),
        *("net.0.rx.drop", "net.0.tx.drop"),
    }


def test_values_are_those_of_the_calls_in_bulk_units(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """Each figure lands under its own key: no reads for writes, no KiB for bytes."""
    altered = Altered(
        domain,
        info=answering([1, 4096, 2048, 2, 5_000_000_000]),
        getCPUStats=answering([{"cpu_time": 6, "user_time": 7, "system_time": 8}]),
        memoryStats=answering({"actual": 1024, "last_update": 1_700_000_000, "rss": 512}),
        vcpus=answering(([(0, 1, 11, 3), (3, 2, 12, -1)], [(True,), (True,)])),
        vcpusFlags=answering(4),
        blockStats=answering((21, 22, 23, 24, -1)),
        blockInfo=answering([31, 32, 33]),
        interfaceStats=answering((41, 42, 43, 44, 45, 46, 47, -1)),
    )
    assert ask(fallback, altered, LACKED_BY_TEST_DRIVER, INFO) == {
        "cpu.time": 5_000_000_000,
        "cpu.user": 7,
        "cpu.system": 8,
        "balloon.current": 1024,
        "balloon.maximum": 4096,
        "balloon.rss": 512,
        "vcpu.current": 2,
        "vcpu.maximum": 4,
        "vcpu.0.state": 1,
        "vcpu.0.time": 11,
        "vcpu.3.state": 2,
        "vcpu.3.time": 12,
        "block.count": 1,
        "block.0.name": "vda",
        "block.0.path": "/guest/diskimage1",
        "block.0.rd.reqs": 21,
        "block.0.rd.bytes": 22,
        "block.0.wr.reqs": 23,
        "block.0.wr.bytes": 24,
        "block.0.capacity": 31,
        "block.0.allocation": 32,
        "block.0.physical": 33,
        "net.count": 1,
        "net.0.name": "testnet0",
        "net.0.rx.bytes": 41,
        "net.0.rx.pkts": 42,
        "net.0.rx.errs": 43,
        "net.0.rx.drop": 44,
        "net.0.tx.bytes": 45,
        "net.0.tx.pkts": 46,
        "net.0.tx.errs": 47,
    }


def test_usage_of_a_container_is_no_traffic_of_its_swap(domain: libvirt.virDomain) -> None:
    """LXC: `swap_in` is memory and swap in use, which falls, and info()'s memory is use as well."""
    container = Altered(
        domain,
        info=answering([1, 262144, 788, 1, 0]),
        memoryStats=answering({"actual": 262144, "swap_in": 1304, "rss": 788}),
    )
    assert ask(DriverFallback(frozenset({"balloon"}), "LXC"), container, ["balloon"], None) == {
        "balloon.current": 262144,
        "balloon.maximum": 262144,
        "container.memory_and_swap": 1304,
        "balloon.rss": 788,
    }


def test_container_without_the_memory_controller_has_no_current_memory(
    domain: libvirt.virDomain,
) -> None:
    """LXC's info() then answers 0 for what the container uses; memoryStats fails."""
    container = Altered(
        domain,
        info=answering([1, 262144, 0, 1, 0]),
        memoryStats=failing(libvirt.VIR_ERR_OPERATION_INVALID),
    )
    assert ask(DriverFallback(frozenset({"balloon"}), "LXC"), container, ["balloon"], None) == {
        "balloon.maximum": 262144
    }


@pytest.mark.parametrize("driver", ["Xen", "BHYVE"])
def test_memory_that_the_xml_gives_is_not_what_the_guest_sees(
    domain: libvirt.virDomain, driver: str
) -> None:
    """These drivers answer the domain's maximum for `available`, which is a guest's MemTotal."""
    altered = Altered(
        domain,
        info=answering([1, 4096, 2048, 1, 0]),
        memoryStats=answering({"actual": 2048, "available": 4096, "rss": 512}),
    )
    assert ask(DriverFallback(frozenset({"balloon"}), driver), altered, ["balloon"], None) == {
        "balloon.current": 2048,
        "balloon.maximum": 4096,
        "balloon.rss": 512,
    }


def test_named_block_statistics_give_times_and_flushes(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """Where the driver has blockStatsFlags, blockStats is not asked."""
    named = {
        "rd_operations": 1,
        "rd_bytes": 2,
        "rd_total_times": 3,
        "wr_operations": 4,
        "wr_bytes": 5,
        "wr_total_times": 6,
        "flush_operations": 7,
        "flush_total_times": 8,
        "errs": -1,
        "of_a_newer_libvirt": 9,
    }
    altered = Altered(domain, blockStatsFlags=answering(named))
    stats = ask(fallback, altered, ["block"], INFO)
    suffixes = ("rd.reqs", "rd.bytes", "rd.times", "wr.reqs", "wr.bytes", "wr.times")
    assert [stats[f"block.0.{suffix}"] for suffix in suffixes] == [1, 2, 3, 4, 5, 6]
    assert (stats["block.0.fl.reqs"], stats["block.0.fl.times"]) == (7, 8)
    assert "block.0.errors" not in stats
    assert altered.calls["blockStats"] == 0


def test_counters_move(domain: libvirt.virDomain, fallback: DriverFallback) -> None:
    """Two samples of a running domain differ in cpu, disk and net."""
    keys = ("cpu.time", "vcpu.0.time", "block.0.rd.bytes", "block.0.wr.reqs", "net.0.tx.bytes")
    first = ask(fallback, domain, LACKED_BY_TEST_DRIVER, INFO)

    def all_moved() -> bool:
        second = ask(fallback, domain, LACKED_BY_TEST_DRIVER, INFO)
        return all(second[key] > first[key] for key in keys)

    wait_until(all_moved, "all counters have moved")


def test_only_the_groups_asked_for_cost_calls(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """A group that is not wanted, or that bulk answers, is not asked."""
    altered = Altered(domain)
    stats = ask(fallback, altered, ["interface", "state", "perf"], INFO)
    assert {key.split(".")[0] for key in stats} == {"net"}
    assert altered.calls == {"isActive": 1, "interfaceStats": 1}
    assert ask(fallback, altered, ["state"], INFO) == {}
    assert altered.calls.total() == 2


def test_keys_already_known_stay_with_the_bulk_call(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """What bulk answered is not answered a second time."""
    stats = ask(fallback, domain, ["vcpu"], INFO, {"vcpu.current": 2, "vcpu.0.time": 5})
    assert set(stats) == {"vcpu.maximum", "vcpu.0.state", "vcpu.1.state", "vcpu.1.time"}


def test_without_xml_there_are_no_devices(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """An unread XML means no disks known, which is not the same as no disks."""
    stats = ask(fallback, domain, LACKED_BY_TEST_DRIVER, None)
    assert {key.split(".")[0] for key in stats} == {"cpu", "balloon", "vcpu"}


def test_offline_vcpus_and_unknown_memory_figures_are_absent(tmp_path: Path) -> None:
    """The zeros that stand for an offline vCPU are not vCPU 0; no balloon, no guest figures."""
    sparse = open_sparse(tmp_path, state=1)
    stats = ask(
        DriverFallback(needs_fallback(sparse), "TEST"),
        sparse.lookupByName("sparse"),
        ["vcpu", "balloon"],
        None,
    )
    assert stats.pop("vcpu.0.time") > 0
    assert stats == {
        "balloon.current": 512 * 1024,
        "balloon.maximum": 1024 * 1024,
        "vcpu.current": 2,
        "vcpu.maximum": 4,
        "vcpu.0.state": 1,
    }


def test_an_inactive_domain_has_its_configuration_only(tmp_path: Path) -> None:
    """No cpu time of something that does not run, no devices, though info() gives figures."""
    sparse = open_sparse(tmp_path, state=5)
    domain = sparse.lookupByName("sparse")
    facts: Any = domain.info()
    assert facts[4] > 0
    assert ask(
        DriverFallback(needs_fallback(sparse), "TEST"), domain, LACKED_BY_TEST_DRIVER, INFO
    ) == {
        "balloon.current": 512 * 1024,
        "balloon.maximum": 1024 * 1024,
        "vcpu.current": 2,
        "vcpu.maximum": 4,
    }


def test_an_empty_drive_has_no_sizes(tmp_path: Path) -> None:
    """Its size call fails; its counters stay."""
    sparse = open_sparse(tmp_path, state=1)
    info = DomainInfo(uuid="", name="sparse", disks=(Disk(device="sda", kind="cdrom"),))
    stats = ask(
        DriverFallback(needs_fallback(sparse), "TEST"),
        sparse.lookupByName("sparse"),
        ["block"],
        info,
    )
    assert stats["block.0.rd.reqs"] > 0
    assert not {"block.0.capacity", "block.0.path"} & set(stats)


def test_figures_the_driver_does_not_have_are_absent(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """0 for cpu time and sizes, -1 for counters: unknown, not exported."""
    altered = Altered(
        domain,
        info=answering([1, 4096, 2048, 2, 0]),
        getCPUStats=failing(libvirt.VIR_ERR_OPERATION_UNSUPPORTED),
        blockStats=answering((-1, -1, -1, -1, -1)),
        blockInfo=answering([0, 0, 0]),
        interfaceStats=answering((-1,) * 8),
    )
    stats = ask(fallback, altered, ["cpu-total", "block", "interface"], INFO)
    assert stats == {
        "block.count": 1,
        "block.0.name": "vda",
        "block.0.path": "/guest/diskimage1",
        "block.0.allocation": 0,
        "net.count": 1,
        "net.0.name": "testnet0",
    }


def test_a_failing_device_costs_that_device(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """Unplugged devices keep their position, so the others keep theirs."""
    info = DomainInfo(
        uuid=INFO.uuid,
        name="test",
        disks=(Disk(device="gone"), *INFO.disks),
        interfaces=(
            Interface(device="gone"),
            Interface(device="interface1", type="hostdev", has_target=False),
            *INFO.interfaces,
        ),
    )
    stats = ask(fallback, domain, ["block", "interface"], info)
    assert (stats["block.count"], stats["net.count"]) == (2, 3)
    assert {key for key in stats if key.startswith("block.0.")} == {"block.0.name"}
    assert {key for key in stats if key.startswith("net.0.")} == {"net.0.name"}
    assert not {key for key in stats if key.startswith("net.1.")}
    assert stats["block.1.rd.bytes"] > 0
    assert stats["net.2.rx.bytes"] > 0


def test_a_call_the_driver_lacks_is_asked_once(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """The test driver has no blockStatsFlags; one refusal serves the whole connection."""
    altered = Altered(domain)
    for _ in range(3):
        ask(fallback, altered, ["block"], INFO)
    assert altered.calls["blockStatsFlags"] == 1
    assert altered.calls["blockStats"] == 3


def test_what_one_domain_does_not_support_is_asked_of_the_others(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """Only NO_SUPPORT speaks for the driver; OPERATION_UNSUPPORTED may be about this domain."""
    altered = Altered(domain, memoryStats=failing(libvirt.VIR_ERR_OPERATION_UNSUPPORTED))
    assert "balloon.unused" not in ask(fallback, altered, ["balloon"], INFO)
    assert "balloon.unused" in ask(fallback, domain, ["balloon"], INFO)


def test_a_call_invalid_on_a_running_domain_costs_that_call(
    domain: libvirt.virDomain, fallback: DriverFallback
) -> None:
    """LXC says OPERATION_INVALID where a cgroup controller is missing."""
    altered = Altered(domain, getCPUStats=failing(libvirt.VIR_ERR_OPERATION_INVALID))
    stats = ask(fallback, altered, ["cpu-total", "interface"], INFO)
    assert set(stats) > {"cpu.time", "net.0.rx.bytes"}
    assert "cpu.user" not in stats


@pytest.mark.parametrize("undefine", [False, True], ids=["stopped", "gone"])
def test_a_domain_that_ends_between_the_calls_keeps_what_it_answered(
    fallback: DriverFallback, undefine: bool
) -> None:
    """Stopping or vanishing mid-sample is normal and raises nothing."""
    writable = libvirt.open("test:///default")
    domain = writable.defineXML(
        '<domain type="test"><name>short-lived</name><memory>1024</memory>'
        '<os><type arch="x86_64">hvm</type></os></domain>'
    )
    domain.create()

    def end_instead(*_: Any) -> Any:
        domain.destroy()
        if undefine:
            domain.undefine()
        return domain.getCPUStats(True)

    altered = Altered(domain, getCPUStats=end_instead)
    try:
        stats = ask(fallback, altered, LACKED_BY_TEST_DRIVER, INFO)
        assert set(stats) == {"cpu.time"}
    finally:
        if not undefine:
            domain.undefine()
        writable.close()


@pytest.mark.parametrize(
    ("code", "origin"),
    [
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_FROM_QEMU),
        (libvirt.VIR_ERR_ACCESS_DENIED, libvirt.VIR_FROM_ACCESS),
    ],
)
@pytest.mark.parametrize("call", ["getCPUStats", "blockStats", "interfaceStats"])
def test_other_errors_reach_the_caller(
    domain: libvirt.virDomain, fallback: DriverFallback, call: str, code: int, origin: int
) -> None:
    """A lost connection, a timeout or a refusal is never taken for a missing device."""
    altered = Altered(domain, **{call: failing(code, origin)})
    with pytest.raises(libvirt.libvirtError) as raised:
        ask(fallback, altered, LACKED_BY_TEST_DRIVER, INFO)
    assert raised.value.get_error_code() == code
