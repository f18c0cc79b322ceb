"""From the trouble of several daemons and exporters to the pager, with the shipped rules.

It takes minutes, so it is no part of ./test: `make alerts-live` runs it, after test_alerts.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import libvirt

from tests.lab.alertmanager import Notification, alertmanager, receiver
from tests.lab.daemon import PrivateLibvirtd
from tests.lab.domains import paused_domain
from tests.lab.exporter import Exporter
from tests.lab.guests import running_guest
from tests.lab.migration import Migration, destination
from tests.lab.prometheus import prometheus
from tests.lab.test_alerts import EXAMPLE, RULES, TOLD_WITHIN, told
from tests.support.waiting import wait_until

__all__ = ["destination"]

SOON: Final = {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "1h"}
QUIET: Final = 8.0
"""Seconds in which nothing is told again: some scrapes, and many intervals of Alertmanager."""
QUICK: Final = {"> 1800": "> 5", "15m": "10s", "for: 5m": "for: 2s"}
"""What is put in place of what in the alert on a migration that hangs: the half hour that one may
take, the times that are compared, and how long it has to last."""


def quick_rules(directory: Path) -> list[Path]:
    """The shipped rules, of which the alert on a migration that hangs takes seconds."""
    written = []
    for file in RULES:
        before, name, rest = file.read_text().partition("- alert: LibvirtDomainMigrationStuck\n")
        if name:
            rule, end, others = rest.partition("        labels:\n")
            for shipped, quick in QUICK.items():
                assert shipped in rule, shipped
                rule = rule.replace(shipped, quick)
            rest = rule + end + others
        written.append(directory / file.name)
        written[-1].write_text(before + name + rest)
    return written


def by_instance(notifications: list[Notification]) -> list[tuple[str, str]]:
    """Alert and instance of each notification."""
    return sorted(
        (of["groupLabels"]["alertname"], of["groupLabels"]["instance"]) for of in notifications
    )


def arriving(daemon: PrivateLibvirtd, name: str) -> libvirt.virDomain | None:
    """The domain that is being migrated to this daemon, once it has a QEMU there."""
    found = [domain for domain in daemon.connection.listAllDomains() if domain.name() == name]
    return found[0] if found and found[0].isActive() else None


def processed(guest: libvirt.virDomain) -> int:
    """Bytes of its memory that have gone to the destination."""
    job: Any = guest.jobStats()  # libvirt-python (12.8) annotates the dictionary as str
    return int(job.get("memory_processed", 0))


def test_a_migration_that_hangs_is_told_once(
    fresh_libvirtd: PrivateLibvirtd, destination: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A real guest whose destination stops reading: one ticket, and nobody is paged."""
    with (
        receiver() as pages,
        alertmanager(tmp_path, EXAMPLE, pages, **SOON) as manager,
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "exporter") as exporter,
        prometheus(
            tmp_path,
            {"libvirt": [exporter.address]},
            every="2s",
            rules=quick_rules(tmp_path),
            alertmanager=manager.address,
        ),
    ):
        guest = running_guest(fresh_libvirtd, "mover", disks=0, nics=0)
        # Slowly, so that it is under way when its destination stops.
        migration = Migration(guest, destination, speed=2)
        incoming = wait_until(lambda: arriving(destination, "mover"), "it begins to arrive", 60)
        wait_until(lambda: processed(guest) > 0, "memory moves", 60)
        assert incoming is not None
        with destination.hung(incoming):
            expected = [("LibvirtDomainMigrationStuck", "mover")]
            wait_until(
                lambda: told(pages.notifications("/tickets"), "firing") == expected,
                "the hang is told",
                TOLD_WITHIN * 2,
            )
            time.sleep(QUIET)
            assert told(pages.notifications("/tickets"), "firing") == expected
            assert told(pages.notifications("/pager"), "firing") == []
        migration.cancel()


def test_two_exporters_of_one_host_are_no_twins_and_a_crash_pages_once_for_each(
    fresh_libvirtd: PrivateLibvirtd, tmp_path: Path
) -> None:
    """A VM that both show runs once. Each of them pages once for its crash, and nothing else."""
    with (
        receiver() as pages,
        alertmanager(tmp_path, EXAMPLE, pages, **SOON) as manager,
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "one") as one,
        Exporter(fresh_libvirtd.read_only_uri, tmp_path / "other") as other,
        prometheus(
            tmp_path,
            {"libvirt": [one.address, other.address]},
            every="2s",
            rules=RULES,
            alertmanager=manager.address,
        ) as server,
    ):
        domain = paused_domain(fresh_libvirtd, "web", persistent=True)
        domain.resume()
        both = 'count(libvirt_domain_state{domain="web",state="running"} == 1)'
        wait_until(lambda: server.value(both) == 2, "both show that it runs", TOLD_WITHIN)
        wait_until(
            lambda: server.value("count(libvirt_host_info)") == 2, "both know it", TOLD_WITHIN
        )
        time.sleep(QUIET)
        # Pending ones are among them.
        assert "LibvirtDomainDuplicateActive" not in {name for name, _ in server.alerts()}
        assert pages.notifications("/pager") == []

        fresh_libvirtd.crash(domain)
        expected = sorted(("LibvirtDomainCrashed", of.address) for of in (one, other))
        wait_until(
            lambda: by_instance(pages.notifications("/pager")) == expected,
            "the crash is told",
            TOLD_WITHIN,
        )
        time.sleep(QUIET)
        assert by_instance(pages.notifications("/pager")) == expected
