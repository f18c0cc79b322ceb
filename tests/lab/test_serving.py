"""What `serve` asks of libvirt, when, and what it says while libvirt comes and goes."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Final, cast

import libvirt
import pytest

from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import crowd, paused_domain, shutoff_domain
from tests.lab.exporter import Call, Exporter, Series, series
from tests.support.waiting import wait_until

FEW: Final = {"groups": {"include": ["state", "info", "metadata", "interface"]}}
DESCRIBED: Final = {"fields": {"include": ["libvirt_domain_description_info"]}}

STATE: Final = libvirt.VIR_DOMAIN_STATS_STATE
INTERFACE: Final = libvirt.VIR_DOMAIN_STATS_INTERFACE
CPU: Final = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL

BULK: Final = ("virConnectGetAllDomainStats", "virDomainListGetStats")

SEEN_WITHIN: Final = 10.0
"""Seconds until a change has to be seen; it takes one scrape where the processor is free."""


def asked(calls: Iterable[Call]) -> int:
    """The statistics groups that the calls ask for, as bits."""
    return reduce(or_, (call.number("stats") for call in calls), 0)


def shows(exporter: Exporter, domain: str, name: str, **labels: str) -> bool:
    """Whether a scrape shows a series of a domain that has these labels among others."""
    wanted = {"domain": domain, **labels}.items()
    samples = exporter.scrape(domain=domain).domain_samples
    return any(found == name and wanted <= dict(own).items() for found, own in samples)


@pytest.fixture(scope="module")
def crowded() -> Iterator[PrivateLibvirtd]:
    """A libvirtd with three paused domains and no others, vm000 to vm002, of two disks each."""
    with PrivateLibvirtd() as daemon:
        crowd(daemon, 3)
        yield daemon


# What is asked


def test_a_disabled_group_is_not_asked_of_libvirt(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """libvirt's own log of its client shows the bits of the configured groups and no others."""
    with Exporter(crowded.read_only_uri, tmp_path / "few", FEW, traced=True) as exporter:
        names = {name for name, _ in exporter.scrape().domain_samples}
        assert "libvirt_domain_interface_info" in names
        assert "libvirt_domain_cpu_seconds_total" not in names
        assert asked(exporter.calls(*BULK)) == STATE | INTERFACE


def test_collect_and_exclude_narrow_what_is_asked(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """What a request leaves out is not asked of libvirt for it."""
    with Exporter(crowded.read_only_uri, tmp_path / "traced", traced=True) as exporter:
        before = len(exporter.calls(*BULK))
        narrowed = exporter.scrape(collect=["interface", "cpu-total"])
        assert asked(exporter.calls(*BULK)[before:]) == STATE | INTERFACE | CPU
        assert not any("_block_" in name for name, _ in narrowed.domain_samples)
        before = len(exporter.calls(*BULK))
        exporter.scrape(exclude=["interface"])
        bits = asked(exporter.calls(*BULK)[before:])
        assert bits & CPU
        assert not bits & INTERFACE


def test_domains_are_chosen_by_name_and_by_uuid(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """`domain[]` may be given several times, and an unknown one shows nothing."""
    uuid = crowded.connection.lookupByName("vm002").UUIDString()
    with Exporter(crowded.read_only_uri, tmp_path / "exporter") as exporter:
        assert exporter.scrape(domain=["vm000", uuid]).domains == {"vm000", "vm002"}
        nobody = exporter.scrape(domain="nobody")
        assert nobody.domains == set()
        assert nobody.samples[series("libvirt_up")] == 1


def test_nothing_but_reading_is_asked_of_libvirt(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """Every connection is read-only, and no function is called that could change anything."""
    with Exporter(crowded.read_only_uri, tmp_path / "all", DESCRIBED, traced=True) as exporter:
        exporter.scrape()
        functions = {call.function for call in exporter.calls()}
    objects = "Connect|Domain|Event|Network|Node|StoragePool|StorageVol"
    public = {name for name in functions if re.match(rf"vir({objects})[A-Z]", name)}
    assert "virConnectOpenReadOnly" in public
    assert not public & {"virConnectOpen", "virConnectOpenAuth"}
    harmless = (
        "DomainEvent|Get|Is|List|Lookup|Event|Register|Unregister|Free|Ref|Close|SetKeepAlive|Open"
        "|SnapshotNum"
    )
    assert [name for name in public if not re.match(rf"vir[A-Z][a-z]+({harmless})", name)] == []


# What is remembered


def test_the_xml_is_read_once_and_not_per_scrape(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """Scrapes ask for no domain XML, and show what it says all the same."""
    with Exporter(crowded.read_only_uri, tmp_path / "traced", traced=True) as exporter:
        wait_until(lambda: shows(exporter, "vm002", "libvirt_domain_info"), "the XML is known")
        first = len(exporter.calls("virDomainGetXMLDesc"))
        assert first >= 3
        for _ in range(4):
            assert shows(exporter, "vm000", "libvirt_domain_block_info", device="vdb")
        assert len(exporter.calls("virDomainGetXMLDesc")) == first


@pytest.fixture(scope="module")
def watching(
    libvirtd: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    """An exporter that would read XML again by itself only after a day."""
    configuration: dict[str, Any] = {**DESCRIBED, "scrape": {"info_refresh": "1d"}}
    directory = tmp_path_factory.mktemp("watching")
    with Exporter(libvirtd.read_only_uri, directory, configuration, traced=True) as exporter:
        yield exporter


def test_plugged_devices_are_seen(libvirtd: PrivateLibvirtd, watching: Exporter) -> None:
    """A disk and a NIC that come while the domain is active; nobody else's XML is read again."""
    paused_domain(libvirtd, "bystander", disks=0, nics=0)
    domain = paused_domain(libvirtd, "plugged", disks=0, nics=0)
    wait_until(lambda: shows(watching, "bystander", "libvirt_domain_info"), "it is known")
    wait_until(lambda: shows(watching, "plugged", "libvirt_domain_info"), "it is known")
    before = len(watching.calls("virDomainGetXMLDesc"))
    image = libvirtd.images / "plugged.img"
    image.write_bytes(bytes(1024**2))
    image.chmod(0o666)
    disk = (
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/>"
        "<target dev='vdq' bus='virtio'/></disk>"
    )
    nic = "<interface type='user'/>"
    domain.attachDevice(disk)
    domain.attachDevice(nic)

    def disk_is_there() -> bool:
        return shows(watching, "plugged", "libvirt_domain_block_info", device="vdq")

    def nic_is_there() -> bool:
        return shows(watching, "plugged", "libvirt_domain_interface_info", interface_type="user")

    wait_until(disk_is_there, "the disk is seen", SEEN_WITHIN)
    wait_until(nic_is_there, "the NIC is seen", SEEN_WITHIN)
    assert shows(watching, "plugged", "libvirt_domain_block_capacity_bytes", device="vdq")
    read_again = watching.calls("virDomainGetXMLDesc")[before:]
    assert {"plugged"} == {re.findall(r"VM: name=(\w+)", call.arguments)[0] for call in read_again}
    libvirtd.connection.lookupByName("bystander").destroy()
    domain.destroy()
    wait_until(lambda: not shows(watching, "plugged", "libvirt_domain_state"), "it is gone")


def test_a_new_title_is_seen(libvirtd: PrivateLibvirtd, watching: Exporter) -> None:
    """Metadata that changes while the domain runs."""
    domain = paused_domain(libvirtd, "titled", disks=0, nics=0)
    wait_until(lambda: shows(watching, "titled", "libvirt_domain_info"), "it is known")
    title, live = libvirt.VIR_DOMAIN_METADATA_TITLE, libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(title, "new title", cast(Any, None), cast(Any, None), live)
    wait_until(
        lambda: shows(watching, "titled", "libvirt_domain_description_info", title="new title"),
        "the title is seen",
        SEEN_WITHIN,
    )
    domain.destroy()


def test_a_new_name_is_seen(libvirtd: PrivateLibvirtd, watching: Exporter) -> None:
    """A renamed domain has all its series under the new name and none under the old."""
    domain = shutoff_domain(libvirtd, "before", disks=1, nics=0)
    uuid = domain.UUIDString()
    wait_until(lambda: shows(watching, "before", "libvirt_domain_info"), "it is known")
    domain.rename("after")

    def names() -> set[str]:
        return watching.scrape(domain=uuid).domains

    wait_until(lambda: names() == {"after"}, "the new name is seen", SEEN_WITHIN)
    assert shows(watching, "after", "libvirt_domain_block_info", device="vda")
    domain.undefine()


def test_only_a_crash_outlives_a_domain(libvirtd: PrivateLibvirtd, watching: Exporter) -> None:
    """Neither is defined permanently; the alert on crashes has to see the one whose QEMU died."""
    crashed = paused_domain(libvirtd, "crashed", disks=0, nics=0)
    destroyed = paused_domain(libvirtd, "destroyed", disks=0, nics=0)
    for name in ("crashed", "destroyed"):
        wait_until(lambda name=name: shows(watching, name, "libvirt_domain_info"), "it is known")  # type: ignore[misc]
    libvirtd.crash(crashed)
    destroyed.destroy()

    def gone() -> bool:
        return not shows(watching, "crashed", "libvirt_domain_state")

    wait_until(gone, "it is gone", SEEN_WITHIN)
    scraped = watching.scrape()
    assert "destroyed" not in scraped.domains
    left = {
        (name, dict(labels).get("event", "")): value
        for (name, labels), value in scraped.domain_samples.items()
        if ("domain", "crashed") in labels
    }
    when = left.pop(("libvirt_domain_last_event_timestamp_seconds", "crash"))
    assert time.time() - when < 60
    assert left == {("libvirt_domain_exit_code", ""): 1}


def test_autostart_is_seen_at_the_next_refresh(libvirtd: PrivateLibvirtd, tmp_path: Path) -> None:
    """libvirt has no event for it."""
    domain = shutoff_domain(libvirtd, "starter", disks=0, nics=0)
    configuration = {"scrape": {"info_refresh": "1s"}}
    with Exporter(libvirtd.read_only_uri, tmp_path / "exporter", configuration) as exporter:

        def autostart() -> float | None:
            samples = exporter.scrape(domain="starter").domain_samples
            found = (value for (name, _), value in samples.items() if name.endswith("_autostart"))
            return next(found, None)

        wait_until(lambda: autostart() == 0, "autostart is off", SEEN_WITHIN)
        domain.setAutostart(1)
        wait_until(lambda: autostart() == 1, "autostart is on", SEEN_WITHIN)
    domain.undefine()


# What changes


def reloaded(exporter: Exporter) -> float:
    """Whether the last reload of the configuration went well."""
    return exporter.scrape().samples[series("libvirt_exporter_config_last_reload_successful")]


def test_a_reload_changes_the_groups(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """After SIGHUP other groups are asked for and shown; a mistake leaves the last good ones."""

    def shows_cpu() -> bool:
        return shows(exporter, "vm000", "libvirt_domain_cpu_seconds_total")

    with Exporter(crowded.read_only_uri, tmp_path / "exporter", FEW, traced=True) as exporter:
        assert not shows_cpu()
        exporter.configure({"groups": {"include": ["state", "cpu-total"]}})
        exporter.hang_up()
        wait_until(shows_cpu, "the new group is shown")
        before = len(exporter.calls(*BULK))
        assert not shows(exporter, "vm000", "libvirt_domain_interface_receive_bytes_total")
        assert asked(exporter.calls(*BULK)[before:]) == STATE | CPU
        exporter.configure({"groups": {"include": ["state", "cpu-totals"]}})
        refusal = exporter.get("/-/reload", method="POST")
        assert refusal.status == 500
        assert "did you mean cpu-total?" in refusal.text
        assert reloaded(exporter) == 0
        assert shows_cpu()
        exporter.configure(FEW)
        assert exporter.get("/-/reload", method="POST").status == 200
        assert reloaded(exporter) == 1
        assert not shows_cpu()


def own_series(samples: dict[Series, float]) -> set[str]:
    """The names of what the exporter says of itself."""
    return {name for name, _ in samples if name.startswith("libvirt_exporter_")}


def test_a_libvirt_that_is_away_is_said_and_found_again(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Scrapes are answered with 200 and up 0 meanwhile; then it is back, and whole."""
    paused_domain(fresh_libvirtd, "survivor")
    with Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter") as exporter:
        whole = exporter.scrape()
        assert whole.samples[series("libvirt_up")] == 1
        for end in (fresh_libvirtd.kill, fresh_libvirtd.stop):
            end()
            for _ in range(2):
                away = exporter.scrape()
                assert away.status == 200
                assert away.samples[series("libvirt_up")] == 0
                assert away.domains == set()
                assert own_series(away.samples) >= own_series(whole.samples)
            fresh_libvirtd.start()
            # A failed attempt to connect is not repeated for up to a second.
            time.sleep(1.0)
            assert exporter.scrape().samples[series("libvirt_up")] == 1
            fresh_libvirtd.wait_for_monitors()
            assert exporter.scrape().domain_samples.keys() == whole.domain_samples.keys()
        assert exporter.log.count("level=warn logger=libvirt_exporter.hypervisor.host ") == 2
        assert exporter.scrape().samples[series("libvirt_exporter_reconnects_total")] == 2


# Where libvirt is


def test_a_session_daemon_is_scraped(tmp_path: Path) -> None:
    """A daemon of an ordinary user, by that user."""
    with PrivateLibvirtd(privileged=False) as daemon:
        paused_domain(daemon, "own")
        with Exporter(daemon.read_only_uri, tmp_path / "own", within=daemon.enter) as exporter:
            assert shows(exporter, "own", "libvirt_domain_block_capacity_bytes", device="vda")


@contextlib.contextmanager
def over_tcp(path: Path) -> Iterator[str]:
    """The address of a TCP port of this machine that leads to a libvirt socket.

    libvirt's protocol is the same over TCP and over a Unix socket.
    """

    def forward(source: socket.socket, target: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(path))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=forward, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_a_remote_uri_is_scraped(crowded: PrivateLibvirtd, tmp_path: Path) -> None:
    """Over TCP everything is there that is there over the socket."""
    read_only = crowded.socket_directory / "libvirt-sock-ro"
    if not read_only.exists():
        read_only = crowded.socket_directory / "libvirt-sock"
    with (
        over_tcp(read_only) as address,
        Exporter(f"qemu+tcp://{address}/system", tmp_path) as exporter,
    ):
        remote = exporter.scrape()
    with Exporter(crowded.read_only_uri, tmp_path / "local") as exporter:
        local = exporter.scrape()

    assert remote.samples["libvirt_up", frozenset()] == 1
    assert remote.domain_samples.keys() == local.domain_samples.keys()


def test_the_modular_daemon_is_found_by_the_plain_uri(
    crowded: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Where only virtqemud's socket exists, qemu:///system leads to it.

    Debian 12 has no virtqemud; libvirtd speaks the same protocol and answers in its place.
    """
    if not crowded.privileged:
        pytest.skip("only root can lay a socket into /run/libvirt")
    socket = crowded.socket_directory / "libvirt-sock-ro"
    crowded.inside("ln", "-s", str(socket), "/run/libvirt/virtqemud-sock-ro")
    with Exporter("qemu:///system", tmp_path / "modular", within=crowded.enter) as exporter:
        assert exporter.scrape().domains == {"vm000", "vm001", "vm002"}
