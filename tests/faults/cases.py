"""The faults that show only in many scrapes; short in the tests, long in `tests.faults.soak`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libvirt

from libvirt_exporter.hypervisor.connection.settings import HostSettings
from libvirt_exporter.hypervisor.host import Host
from libvirt_exporter.hypervisor.sampling.request import SampleRequest
from tests.faults.watch import Resources, Scrape, WatchedExporter
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import paused_domain
from tests.support.waiting import wait_until

MIB = 1024**2


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` on a thread for the length of the block; it ends when its event is set."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def polling(daemon: PrivateLibvirtd) -> Iterator[None]:
    """Another client makes bulk calls all the time."""

    def poll(stop: threading.Event) -> None:
        connection = daemon.connect(read_only=True)
        while not stop.is_set():
            connection.getAllDomainStats()

    with beside(poll):
        yield


@contextlib.contextmanager
def churning(daemon: PrivateLibvirtd) -> Iterator[list[str]]:
    """Domains are created and destroyed all the time; the list grows by those that are gone."""
    gone: list[str] = []
    failures: list[BaseException] = []

    def churn(stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                domain = paused_domain(daemon, daemon.unused_name("churn"), disks=1)
                name = domain.name()
                time.sleep(0.1)
                domain.destroy()
                gone.append(name)
        except libvirt.libvirtError as error:
            failures.append(error)

    with beside(churn):
        yield gone
    assert failures == []


def polled(daemon: PrivateLibvirtd, exporter: WatchedExporter, scrapes: int) -> None:
    """Another client makes bulk calls all the time: no scrape has a hole."""
    whole = exporter.timed()
    with polling(daemon):
        for _ in range(scrapes):
            assert exporter.timed().lacks(whole) == set()


def reopened(daemon: PrivateLibvirtd, exporter: WatchedExporter, times: int) -> None:
    """Hosts are opened, subscribed to, sampled and closed, eight at once: libvirtd keeps nothing.

    As a reload does with its targets: each host has some nine connections, one with all events.
    """
    whole, pid = exporter.timed(), daemon.pid
    descriptors = Path(f"/proc/{pid}/fd")
    before = len([*descriptors.iterdir()])
    request = SampleRequest(frozenset({"state", "interface", "block", "vcpu", "balloon"}))

    def once(_: int) -> None:
        host = Host(HostSettings(uri=daemon.read_only_uri, stuck_calls=2))
        host.start()
        sample = host.sample(request, timeout=30.0).result()
        assert sample.up, sample.error
        wait_until(lambda: host.events_connected, "events are subscribed to", within=30.0)
        host.close()

    with ThreadPoolExecutor(8) as several:
        for _ in several.map(once, range(times)):
            pass
    # The exporter may have opened some more meanwhile.
    few = before + 10
    wait_until(lambda: len([*descriptors.iterdir()]) <= few, "libvirtd lets go of all", within=30.0)
    assert daemon.pid == pid
    assert exporter.timed().lacks(whole) == set()


def restarted(daemon: PrivateLibvirtd, exporter: WatchedExporter, times: int) -> None:
    """libvirtd is killed and started again: `libvirt_up` follows, nothing is left behind."""
    whole = exporter.timed()
    resources = []
    for _ in range(times):
        daemon.kill()
        away = exporter.timed()
        assert not away.up
        assert away.by_domain == {}
        daemon.start()
        # A failed attempt to connect is not repeated for up to a second.
        time.sleep(1.0)
        assert exporter.timed().up
        daemon.wait_for_monitors()
        assert exporter.timed().lacks(whole) == set()
        resources.append(exporter.resources)
    assert exporter.timed().value("libvirt_exporter_reconnects_total") == times
    flat(resources)


def frozen(daemon: PrivateLibvirtd, exporter: WatchedExporter, scrapes: int) -> None:
    """libvirtd is frozen: answers in time, nothing piles up, and it recovers by itself."""
    whole = exporter.timed()
    own = own_metrics(whole)
    resources = []
    with daemon.frozen():
        for _ in range(scrapes):
            scrape = exporter.timed()
            assert not scrape.up
            assert own_metrics(scrape) >= own
            resources.append(exporter.resources)
    flat(resources)
    deadline = time.monotonic() + 10
    while lacking := (scrape := exporter.timed()).lacks(whole):
        told = [f"up: {scrape.up}", *sorted(map(str, lacking))[:5], exporter.log[-2000:]]
        assert time.monotonic() < deadline, "\n".join(["still missing", *told])


def churned(daemon: PrivateLibvirtd, exporter: WatchedExporter, seconds: float) -> None:
    """Domains come and go: no error, no ghost, and nothing of the others is lost."""
    whole = exporter.timed()
    seen: set[str] = set()
    with churning(daemon) as gone:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ghosts = set(gone)
            scrape = exporter.timed()
            assert scrape.up
            assert scrape.lacks(whole) == set()
            assert not ghosts & scrape.by_domain.keys()
            seen |= scrape.by_domain.keys()
    assert seen - whole.by_domain.keys(), "no scrape met a domain that came"
    assert exporter.timed().by_domain.keys() == whole.by_domain.keys()
    assert "level=error" not in exporter.log
    assert "Traceback" not in exporter.log


def endured(exporter: WatchedExporter, scrapes: int) -> None:
    """Many scrapes of a host on which nothing happens: nothing grows."""
    resources = []
    for _ in range(scrapes):
        assert exporter.get("/metrics").status == 200
        resources.append(exporter.resources)
    flat(resources)


def own_metrics(scrape: Scrape) -> set[str]:
    """The names of what the exporter says of itself."""
    return {name for name, _ in scrape.samples if name.startswith("libvirt_exporter_")}


def flat(resources: list[Resources]) -> None:
    """Fail unless memory, threads and descriptors are after all as they were after warm-up."""
    warm_up = max(1, len(resources) // 5)
    before, after = resources[warm_up:][: warm_up + 1], resources[-warm_up - 1 :]

    def grown(figure: Callable[[Resources], int]) -> int:
        # What is only passing, as the sockets of a connection that is replaced, comes and goes.
        return min(map(figure, after)) - max(map(figure, before))

    told = f"{before[-1]} became {after[-1]}"
    print(told)
    # A connection that is just being replaced may still have its thread and sockets.
    assert grown(lambda one: one.threads) <= 2, told
    assert grown(lambda one: one.descriptors) <= 3, told
    assert grown(lambda one: one.memory) <= max(before[-1].memory // 20, 2 * MIB), told
