"""What keeps guests from reporting the use of their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from libvirt_exporter.commands.doctor.finding import (
    Finding,
    changing,
    hint,
    looking,
    named,
    quoted_name,
)
from libvirt_exporter.model import DomainInfo, DomainSample, HostSample


def guest_findings(sample: HostSample, uri: str) -> Iterator[Finding]:
    """Yield what was found in a sample of the domains that are shown."""

    def having(wanted: Callable[[DomainSample, DomainInfo], bool]) -> list[DomainSample]:
        return [
            domain
            for domain in sorted(sample.domains, key=lambda domain: domain.name)
            if domain.active and domain.info and wanted(domain, domain.info)
        ]

    if not any(outcome.group == "balloon" for outcome in sample.groups):
        return
    if found := having(lambda _, info: info.balloon_model in ("", "none")):
        yield hint(
            f"{named(found)} without a memory balloon: the guest's memory figures are missing",
            f"`{changing(uri)} edit {quoted_name(found[0])}`: add <memballoon model='virtio'>"
            "<stats period='10'/></memballoon> to the devices, then restart the VM",
        )
    if found := having(_has_no_period):
        info = found[0].info
        config = "" if info and info.persistent is False else " --config"
        yield hint(
            f"{named(found)} without a period for balloon statistics: the guest does not report "
            "its memory figures",
            f"`{changing(uri)} dommemstat {quoted_name(found[0])} --period 10 --live{config}`",
        )
    if found := having(_is_not_reported):
        yield hint(
            f"{named(found)} without memory figures: the guest does not report them",
            "load its balloon driver: `modprobe virtio_balloon` in a Linux guest, virtio-win's "
            "balloon driver in a Windows guest; while a guest boots, wait a moment",
        )
    if found := having(_reports_no_more):
        oldest = max(map(_report_age, found))
        yield hint(
            f"{named(found)} without a memory report for up to {oldest:.0f} s: the last figures "
            "have expired",
            f"check the guest, for example with `{looking(uri)} domdisplay "
            f"{quoted_name(found[0])}`: its kernel may have panicked, or its balloon driver was "
            "unloaded",
        )


def _has_no_period(_: DomainSample, info: DomainInfo) -> bool:
    return info.balloon_model not in ("", "none") and not info.balloon_period


def _is_not_reported(domain: DomainSample, info: DomainInfo) -> bool:
    return (
        domain.state == "running"
        and bool(info.balloon_period)
        and "balloon" not in domain.missing_groups
        and not domain.stats.get("balloon.last-update")
    )


def _reports_no_more(domain: DomainSample, info: DomainInfo) -> bool:
    reported = domain.stats.get("balloon.last-update")
    running = domain.state == "running" and bool(info.balloon_period)
    return running and bool(reported) and _report_age(domain) > info.memory_report_life


def _report_age(domain: DomainSample) -> float:
    return domain.timestamp - float(domain.stats["balloon.last-update"])
