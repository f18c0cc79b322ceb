"""From a guest's trouble to the pager: the shipped rules and the shipped Alertmanager example."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import libvirt
import pytest

from tests.lab.alertmanager import Alertmanager, Notification, Receiver, alertmanager, receiver
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import MIB, paused_domain, shutoff_domain
from tests.lab.exporter import Exporter
from tests.lab.guests import BOOTS_WITHIN, start_guest
from tests.lab.prometheus import Prometheus, prometheus
from tests.support.waiting import wait_until

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
EXAMPLE: Final = DEPLOY / "alertmanager" / "alertmanager.yml"

TOLD_WITHIN: Final = 60.0
"""Seconds from a guest's trouble to the notification; it takes 8 where the processor is free."""


OF_LOAD: Final = {"LibvirtDomainStealHigh", "LibvirtDomainDiskLatencyHigh"}
"""Alerts that tell of the load of the machine on which the tests run."""


def told(notifications: list[Notification], status: str) -> list[tuple[str, str]]:
    """Name and domain of each alert in the notifications of a status, repetitions too."""
    return sorted(
        (alert["labels"]["alertname"], alert["labels"]["domain"])
        for notification in notifications
        for alert in notification["alerts"]
        if alert["status"] == status
    )


def on_domains(server: Prometheus) -> dict[tuple[str, str], str]:
    """The state of each alert on a VM, pending ones too, but for what a busy machine causes."""
    return {
        (name, domain): state
        for (name, domain), state in server.alerts().items()
        if domain and name not in OF_LOAD
    }


def test_a_fired_watchdog_and_a_full_disk_are_told_once_each(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """Real guests, the shipped rules: a page for the host's matter, a ticket for the guest's.

    Nothing else is told, but the end when the disk is healed.
    """
    if not fresh_libvirtd.privileged:
        pytest.skip("only root can mount a small file system")
    small = fresh_libvirtd.small_file_system(8 * MIB)
    with (
        receiver() as pages,
        alertmanager(
            tmp_path, EXAMPLE, pages, group_wait="1s", group_interval="1s", repeat_interval="1h"
        ) as manager,
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter") as exporter,
        prometheus(
            tmp_path,
            {"libvirt": [exporter.address]},
            every="5s",  # Whose timeout is as long: a scrape that fails would end an alert.
            rules=RULES,
            alertmanager=manager.address,
        ) as server,
    ):
        start_guest(
            fresh_libvirtd,
            "starved",
            "feed-watchdog-and-stop",
            parameters="heartbeat=2",
            disks=0,
            watchdog="pause",
        )
        full = start_guest(
            fresh_libvirtd,
            "full",
            "fill-disk",
            disk_size=32 * MIB,
            disk_directory=small,
            error_policy="enospace",
        )
        page_of = [("LibvirtDomainPausedNoSpace", "full")]
        ticket_of = [("LibvirtDomainWatchdogFired", "starved")]
        both = page_of + ticket_of
        wait_until(
            lambda: (
                told(pages.notifications("/pager"), "firing") == page_of
                and told(pages.notifications("/tickets"), "firing") == ticket_of
            ),
            "both are told",
            BOOTS_WITHIN + TOLD_WITHIN,
        )
        # Two scrapes, and many intervals of Alertmanager, later nothing has been told again.
        time.sleep(12)
        assert told(pages.notifications("/pager"), "firing") == page_of
        assert told(pages.notifications("/tickets"), "firing") == ticket_of
        assert on_domains(server) == dict.fromkeys(both, "firing")
        ((page,),) = (notification["alerts"] for notification in pages.notifications("/pager"))
        assert "Affected disks: vda." in page["annotations"]["description"]

        fresh_libvirtd.grow_file_system(small, 64 * MIB)
        full.resume()
        wait_until(
            lambda: bool(told(pages.notifications("/pager"), "resolved")),
            "the end is told",
            TOLD_WITHIN,
        )
        assert told(pages.notifications("/pager"), "resolved") == page_of
        assert on_domains(server) == dict.fromkeys(ticket_of, "firing")


def test_ends_of_vms_raise_the_alerts_of_their_kind(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A killed QEMU, a start that fails and a guest that panics each raise one alert."""
    with (
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter") as exporter,
        prometheus(tmp_path, {"libvirt": [exporter.address]}, every="5s", rules=RULES) as server,
    ):
        start_guest(fresh_libvirtd, "panicked", "panic", panic=True, disks=0)
        killed = paused_domain(fresh_libvirtd, "killed", persistent=True)
        missing = "<disk type='file'><source file='/missing'/><target dev='vda'/></disk>"
        broken = shutoff_domain(fresh_libvirtd, "broken", disks=0, devices=missing)
        paused_domain(fresh_libvirtd, "well")
        names = {"panicked", "killed", "broken", "well"}
        wait_until(lambda: exporter.scrape().domains >= names, "all are seen", TOLD_WITHIN)

        fresh_libvirtd.crash(killed)
        with pytest.raises(libvirt.libvirtError):
            broken.create()
        expected = {
            ("LibvirtDomainCrashed", "killed"): "firing",
            ("LibvirtDomainFailedStart", "broken"): "firing",
            ("LibvirtDomainGuestPanicked", "panicked"): "firing",
        }
        wait_until(
            lambda: on_domains(server) == expected,
            "these alerts and no others",
            BOOTS_WITHIN + TOLD_WITHIN,
        )


def test_trouble_that_has_to_last_is_pending_at_once(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A QEMU that hangs, and a guest that is told of its full disk, are seen before they alert."""
    if not fresh_libvirtd.privileged:
        pytest.skip("only root can mount a small file system")
    small = fresh_libvirtd.small_file_system(8 * MIB)
    with (
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter") as exporter,
        prometheus(tmp_path, {"libvirt": [exporter.address]}, every="5s", rules=RULES) as server,
    ):
        start_guest(
            fresh_libvirtd, "told", "fill-disk", disk_directory=small, error_policy="report"
        )
        hung = paused_domain(fresh_libvirtd, "hung")
        expected = {("LibvirtDomainDiskErrors", "told")}
        wait_until(
            lambda: on_domains(server).keys() == expected,
            "the guest's error is seen",
            BOOTS_WITHIN + TOLD_WITHIN,
        )
        with fresh_libvirtd.hung(hung):
            expected |= {("LibvirtDomainMonitorUnresponsive", "hung")}
            wait_until(
                lambda: on_domains(server).keys() == expected, "the hang is seen", TOLD_WITHIN
            )
            assert on_domains(server)["LibvirtDomainMonitorUnresponsive", "hung"] == "pending"


HOST: Final = {"job": "libvirt", "instance": "kvm1:9177"}
OTHER_HOST: Final = {"job": "libvirt", "instance": "kvm2:9177"}
VM: Final = {**HOST, "domain": "web", "uuid": "u-1"}
OTHER_VM: Final = {**HOST, "domain": "db", "uuid": "u-2"}
POOL: Final = {**HOST, "pool": "default"}


def alert(name: str, labels: dict[str, str], severity: str = "warning") -> dict[str, str]:
    """The labels of an alert."""
    return {"alertname": name, "severity": severity, **labels}


@pytest.fixture
def quiet_alertmanager(tmp_path: Path) -> Iterator[tuple[Alertmanager, Receiver]]:
    """An Alertmanager with the example's inhibitions."""
    with (
        receiver() as nobody,
        alertmanager(tmp_path, EXAMPLE, nobody, group_wait="1s") as manager,
    ):
        yield manager, nobody


@pytest.mark.parametrize(
    ("source", "target", "other"),
    [
        pytest.param(
            alert("LibvirtExporterDown", HOST),
            alert("LibvirtDomainWatchdogFired", VM),
            alert("LibvirtDomainCrashed", OTHER_HOST | {"domain": "x", "uuid": "u-3"}),
            id="a host without exporter",
        ),
        pytest.param(
            alert("LibvirtDown", HOST),
            alert("LibvirtEventStreamDown", HOST),
            alert("LibvirtDomainDuplicateActive", {"uuid": "u-1"}),
            id="a host without libvirt",
        ),
        pytest.param(
            alert("LibvirtMonitorsUnresponsive", HOST),
            alert("LibvirtDomainMonitorUnresponsive", VM),
            alert("LibvirtDomainPausedNoSpace", VM),
            id="a host whose VMs hang",
        ),
        pytest.param(
            alert("LibvirtDomainPausedNoSpace", VM),
            alert("LibvirtDomainBlockJobFailed", VM | {"device": "vda", "job_type": "copy"}),
            alert("LibvirtDomainAgentDisconnected", OTHER_VM),
            id="a paused VM",
        ),
        pytest.param(
            alert("LibvirtDomainGuestPanicked", VM),
            alert("LibvirtDomainCrashed", VM),
            alert("LibvirtDomainAgentDisconnected", OTHER_VM),
            id="a panic that ended the VM",
        ),
        pytest.param(
            alert("LibvirtDomainWatchdogFired", VM),
            alert("LibvirtDomainGuestUnresponsive", VM),
            alert("LibvirtDomainCrashed", VM, "critical"),
            id="a guest whose watchdog fired, which is no reason to crash",
        ),
    ],
)
def test_what_follows_from_another_alert_is_held_back(
    quiet_alertmanager: tuple[Alertmanager, Receiver],
    source: dict[str, str],
    target: dict[str, str],
    other: dict[str, str],
) -> None:
    """Alertmanager suppresses the consequence, not what is elsewhere or of another kind."""
    manager, _ = quiet_alertmanager
    manager.send(source, target, other)

    expected = {
        source["alertname"]: "active",
        target["alertname"]: "suppressed",
        other["alertname"]: "active",
    }
    wait_until(lambda: manager.states() == expected, f"{expected}")


def test_a_pool_that_is_almost_full_is_told_once(
    quiet_alertmanager: tuple[Alertmanager, Receiver],
) -> None:
    """The critical alert reaches the pager, the warning of the same pool is held back."""
    manager, told_ = quiet_alertmanager
    name = "LibvirtStoragePoolFillingUp"
    other: dict[str, Any] = POOL | {"pool": "other"}
    manager.send(alert(name, POOL, "critical"), alert(name, POOL), alert(name, other))

    wait_until(lambda: len(told_.notifications("/tickets")) == 1, "the other pool is told")
    wait_until(lambda: len(told_.notifications("/pager")) == 1, "the full pool is told")
    (ticket,) = told_.notifications("/tickets")
    assert [found["labels"]["pool"] for found in ticket["alerts"]] == ["other"]
