"""What really happens to guests is counted once, dated and told of."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import libvirt_qemu
import pytest

from libvirt_exporter.hypervisor.connection.session import start_event_loop
from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from libvirt_exporter.model import DomainSample, HostSample, StatValue
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, paused_domain, shutoff_domain
from tests.lab.guests import BOOTS_WITHIN, start_guest
from tests.support.waiting import wait_until

REQUEST = SampleRequest(frozenset({"state", "block"}))
SECOND = 10**9


class Witness:
    """The times at which another client of the same libvirt got an event."""

    def __init__(self, libvirtd: PrivateLibvirtd, event_id: int) -> None:
        self.times: list[float] = []
        start_event_loop()
        self._connection = libvirtd.connect(read_only=True)
        self._connection.domainEventRegisterAny(None, event_id, self._note, None)

    def _note(self, *_details: object) -> None:
        self.times.append(time.time())


@contextlib.contextmanager
def following(libvirtd: PrivateLibvirtd, *, state_directory: str = "") -> Iterator[Host]:
    """A Host that follows the events of a libvirtd, read-only."""
    settings = HostSettings(
        uri=libvirtd.read_only_uri,
        pid_directory=str(libvirtd.pid_files),
        state_directory=state_directory,
    )
    host = Host(settings)
    host.start()
    try:
        wait_until(lambda: host.events_connected, "events are followed", 30)
        yield host
    finally:
        host.close()


def take(host: Host) -> HostSample:
    """A sample, whole."""
    sample = host.sample(REQUEST, 20).result(21)
    assert sample.up, sample.error
    return sample


def sample_of(host: Host, domain: libvirt.virDomain) -> DomainSample:
    """A domain's share of a sample taken now."""
    uuid = domain.UUIDString()
    (found,) = (listed for listed in take(host).domains if listed.uuid == uuid)
    return found


def wait_for(host: Host, domain: libvirt.virDomain, key: str, value: StatValue = 1) -> DomainSample:
    """Wait until a key has a value, and return the sample with it."""

    def shown() -> bool:
        return sample_of(host, domain).stats.get(key) == value

    wait_until(shown, f"{key} is {value!r} of {domain.name()}", BOOTS_WITHIN)
    return sample_of(host, domain)


def counts(sample: DomainSample) -> dict[str, StatValue]:
    """The counters of a domain that are not 0."""
    return {
        key: value
        for key, value in sample.stats.items()
        if key.startswith("event.") and ".last." not in key and not key.endswith(".name") and value
    }


def first_disk(domain: libvirt.virDomain) -> Path:
    """The file of a domain's first disk."""
    source = ElementTree.fromstring(domain.XMLDesc()).find("devices/disk/source")
    assert source is not None
    return Path(source.attrib["file"])


def test_a_starved_watchdog_is_counted_once_and_dated(libvirtd: PrivateLibvirtd) -> None:
    """Exactly one more, its time within 2 s of what another client saw, paused for that reason."""
    seen = Witness(libvirtd, libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG)
    with following(libvirtd) as host:
        guest = start_guest(
            libvirtd,
            "starving",
            "feed-watchdog-and-stop",
            watchdog="pause",
            parameters="heartbeat=3",
        )
        assert sample_of(host, guest).stats["event.watchdog.pause"] == 0
        sample = wait_for(host, guest, "event.watchdog.pause")
        time.sleep(1)
        sample = sample_of(host, guest)
    guest.destroy()
    watchdog = {key: value for key, value in counts(sample).items() if "watchdog" in key}
    assert watchdog == {"event.watchdog.pause": 1, "event.lifecycle.suspended.watchdog": 1}
    (event_time,) = seen.times
    assert abs(int(sample.stats["event.last.watchdog"]) / SECOND - event_time) < 2
    assert sample.stats["event.watchdog.last.action"] == 1
    assert (sample.state, sample.reason) == ("paused", "watchdog")
    assert sample.stats["state.change.time"] == sample.stats["event.last.suspended"]


def test_a_reset_is_one_reboot_and_the_agent_goes_and_comes(libvirtd: PrivateLibvirtd) -> None:
    """libvirt delivers the reset more than once; all is counted from 0 on."""
    seen = Witness(libvirtd, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    with following(libvirtd) as host:
        guest = start_guest(libvirtd, "resetting", agent=True)
        before = sample_of(host, guest).stats
        assert (before["event.agent.connected"], before["event.agent.disconnected"]) == (0, 0)
        wait_for(host, guest, "event.agent.connected")
        guest.reset()
        wait_for(host, guest, "event.agent.connected", 2)
        sample = sample_of(host, guest)
        assert sample.stats["event.agent.disconnected"] == 1
        assert sample.info is not None
        assert sample.info.agent_channel == "connected"
    guest.destroy()
    apart = [later - earlier for earlier, later in zip(seen.times, seen.times[1:], strict=False)]
    assert sample.stats["event.reboot"] == 1, f"resets told of {apart} s apart"


def test_a_killed_qemu_is_a_crash_and_nobody_elses(fresh_libvirtd: PrivateLibvirtd) -> None:
    """Shut off, crashed, with exit code and message; the other VM's counters stay."""
    killed = paused_domain(fresh_libvirtd, "killed", persistent=True)
    other = paused_domain(fresh_libvirtd, "other", panic=True)
    killed.resume()
    with following(fresh_libvirtd) as host:
        before = sample_of(host, other).stats
        sample_of(host, killed)
        fresh_libvirtd.crash(killed)
        sample = wait_for(host, killed, "event.lifecycle.stopped.failed")
        assert (sample.state, sample.reason) == ("shutoff", "crashed")
        assert (sample.stats["exit.code"], sample.stats["exit.reason"]) == (1, 1)
        assert sample.stats["exit.message"] == "VM terminated with error"
        assert sample.stats["exit.time"] == sample.stats["event.last.crash"]
        assert "event.last.failed_start" not in sample.stats
        assert {"block.0.wr.bytes", "event.guest_panic"} <= before.keys()
        assert sample_of(host, other).stats == before
    with following(fresh_libvirtd) as host:
        sample = sample_of(host, killed)
        assert (sample.stats["exit.code"], sample.stats["exit.reason"]) == (1, 1)
        assert "exit.time" not in sample.stats
        killed.create()
        sample = wait_for(host, killed, "event.lifecycle.started.booted")
        assert not any(key.startswith("exit.") for key in sample.stats)
        killed.destroy()
        sample = wait_for(host, killed, "event.lifecycle.stopped.destroyed")
        assert (sample.stats["exit.code"], sample.stats["exit.reason"]) == (0, 6)


def test_a_guest_panics_and_another_powers_itself_off(libvirtd: PrivateLibvirtd) -> None:
    """The one is kept as crashed, an error; the other is gone in good order."""
    with following(libvirtd) as host:
        panicking = start_guest(libvirtd, "panicking", "panic", panic=True)
        leaving = start_guest(libvirtd, "leaving", "poweroff")
        uuid = leaving.UUIDString()
        assert sample_of(host, panicking).stats["event.guest_panic"] == 0
        sample = wait_for(host, panicking, "event.guest_panic")
        assert sample.state == "crashed"
        assert sample.stats["event.lifecycle.crashed.panicked"] == 1
        assert sample.stats["event.last.panic"] == sample.stats["event.last.crashed"]
        assert sample.stats["exit.code"] == 1

        def gone() -> bool:
            return uuid in {vanished.uuid for vanished in take(host).vanished}

        wait_until(gone, "the guest has powered itself off", BOOTS_WITHIN)
        (vanished,) = (item for item in take(host).vanished if item.uuid == uuid)
    panicking.destroy()
    assert (vanished.stats["exit.code"], vanished.stats["exit.reason"]) == (0, 7)


def test_a_start_that_fails_is_dated_though_no_event_tells(libvirtd: PrivateLibvirtd) -> None:
    """Its disk is missing; it is no crash."""
    broken = shutoff_domain(libvirtd, "broken")
    with following(libvirtd) as host:
        sample_of(host, broken)
        first_disk(broken).unlink()
        began = time.time_ns()
        with pytest.raises(libvirt.libvirtError):
            broken.create()
        sample = sample_of(host, broken)
    broken.undefine()
    assert sample.reason == "failed"
    assert int(sample.stats["event.last.failed_start"]) >= began
    assert "event.last.crash" not in sample.stats
    assert (sample.stats["exit.code"], sample.stats["exit.reason"]) == (1, 3)
    assert not [key for key in counts(sample) if "stopped" in key]


def test_devices_that_come_are_counted_and_known(libvirtd: PrivateLibvirtd) -> None:
    """The XML is read again, and the new disk is born with its counters."""
    domain = paused_domain(libvirtd, "plugging", disks=1, nics=0)
    image = libvirtd.images / "plugged.img"
    image.write_bytes(bytes(MIB))
    disk = (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        f"<source file='{image}'/><target dev='vdb' bus='virtio'/></disk>"
    )
    with following(libvirtd) as host:
        assert "event.disk.1.name" not in sample_of(host, domain).stats
        domain.attachDevice(disk)
        sample = wait_for(host, domain, "event.disk.1.name", "vdb")
        assert sample.stats["event.disk.1.io_error.enospc"] == 0
        assert counts(sample) == {"event.device.added": 1}
    domain.destroy()


def test_a_vm_that_ended_is_told_of_with_its_end(libvirtd: PrivateLibvirtd) -> None:
    """A transient one is gone from the listing; a renamed one keeps what happened to it."""
    ended = paused_domain(libvirtd, "ended", disks=0, nics=0)
    renamed = shutoff_domain(libvirtd, "before", disks=0, nics=0)
    with following(libvirtd) as host:
        assert sample_of(host, ended).active
        uuid = ended.UUIDString()
        ended.destroy()
        renamed.rename("after")

        def gone() -> bool:
            return uuid in {vanished.uuid for vanished in take(host).vanished}

        wait_until(gone, "the ended VM is told of")
        (vanished,) = (item for item in take(host).vanished if item.uuid == uuid)
        sample = wait_for(host, renamed, "event.lifecycle.defined.renamed")
        assert sample.name == "after"
        assert sample.stats["event.lifecycle.undefined.renamed"] == 1
    renamed.undefine()
    assert (vanished.name, vanished.stats["exit.code"]) == ("ended", 0)
    assert vanished.stats["exit.reason"] == 6
    assert "exit.time" in vanished.stats


def test_after_a_restart_of_libvirtd_events_flow_again(fresh_libvirtd: PrivateLibvirtd) -> None:
    """Nothing is counted twice, what was missed shows in the states and has no time."""
    domain = paused_domain(fresh_libvirtd, "staying", disks=0, nics=0)
    with following(fresh_libvirtd) as host:
        domain.resume()
        wait_for(host, domain, "event.lifecycle.resumed.unpaused")
        fresh_libvirtd.stop()
        wait_until(lambda: not host.events_connected, "the stream is down")
        fresh_libvirtd.start()
        domain = fresh_libvirtd.connection.lookupByName("staying")
        take(host)
        wait_until(lambda: host.events_connected, "the stream is up", 40)
        sample = sample_of(host, domain)
        assert sample.state == "running"
        assert counts(sample) == {"event.lifecycle.resumed.unpaused": 1}
        domain.suspend()
        domain.resume()
        sample = wait_for(host, domain, "event.lifecycle.resumed.unpaused", 2)
        assert counts(sample)["event.lifecycle.suspended.paused"] == 1
        wait_until(lambda: host.events_alive_age < 4, "the stream is alive")


def test_counts_survive_the_exporter(libvirtd: PrivateLibvirtd, tmp_path: Path) -> None:
    """With a state directory, and the times with them."""
    domain = paused_domain(libvirtd, "surviving", disks=0, nics=0)
    with following(libvirtd, state_directory=str(tmp_path)) as host:
        sample_of(host, domain)
        domain.resume()
        before = wait_for(host, domain, "event.lifecycle.resumed.unpaused").stats
    with following(libvirtd, state_directory=str(tmp_path)) as host:
        after = wait_for(host, domain, "event.lifecycle.resumed.unpaused").stats
        assert {key: after[key] for key in before if key.startswith(("event.", "state."))} == {
            key: value for key, value in before.items() if key.startswith(("event.", "state."))
        }
        domain.suspend()
        domain.resume()
        wait_for(host, domain, "event.lifecycle.resumed.unpaused", 2)
    domain.destroy()


def test_a_burst_of_real_events_is_counted_whole(libvirtd: PrivateLibvirtd) -> None:
    """5,000 of them, as fast as a libvirtd brings them forth, beside samples."""
    domain = shutoff_domain(libvirtd, "bursting", disks=0, nics=0)
    xml = domain.XMLDesc()
    times = 5000
    with following(libvirtd) as host:
        take(host)

        def burst() -> None:
            for _ in range(times):
                libvirtd.connection.defineXML(xml)

        sender = threading.Thread(target=burst)
        sender.start()
        while sender.is_alive():
            take(host)
            time.sleep(0.1)
        sender.join()
        sample = wait_for(host, domain, "event.lifecycle.defined.updated", times)
        assert counts(sample) == {"event.lifecycle.defined.updated": times}
    domain.undefine()


def write(domain: libvirt.virDomain, place: str) -> None:
    """Have the QEMU of a paused domain write to its first disk, as `4M 1M`."""
    disk = "/machine/peripheral/virtio-disk0/virtio-backend"
    command = f'qemu-io -d {disk} "write {place}"'
    libvirt_qemu.qemuMonitorCommand(
        domain, command, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
    )


def test_a_crossed_threshold_is_counted_once_for_its_disk(libvirtd: PrivateLibvirtd) -> None:
    """Two events come where it was set for the disk, and one where it was set for the image."""
    seen = Witness(libvirtd, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD)
    with following(libvirtd) as host:
        guest = paused_domain(libvirtd, "growing")
        source = ElementTree.fromstring(guest.XMLDesc()).find("devices/disk/source")
        assert source is not None
        guest.setBlockThreshold("vda", 1000)
        write(guest, "0 1M")
        wait_for(host, guest, "event.disk.0.threshold")
        guest.setBlockThreshold(f"vda[{source.attrib['index']}]", 3 * MIB)
        write(guest, "4M 4M")
        sample = wait_for(host, guest, "event.disk.0.threshold", 2)
        wait_until(lambda: len(seen.times) == 3, "all three events", 10)
        sample = sample_of(host, guest)
    guest.destroy()
    assert counts(sample)["event.disk.0.threshold"] == 2
    assert sample.stats["event.disk.0.name"] == "vda"
    named = {value for key, value in sample.stats.items() if key.endswith(".name")}
    assert not {name for name in named if "[" in str(name)}
