"""What a sample of a host lacks, and why."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from libvirt_exporter.catalogue import DOMAIN_METRICS
from libvirt_exporter.commands.doctor.finding import (
    NAMED,
    Finding,
    hint,
    lines_of,
    looking,
    named,
    problem,
    quoted_name,
    vms,
)
from libvirt_exporter.commands.doctor.guests import guest_findings
from libvirt_exporter.model import DomainSample, HostSample, UnseenReason
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.text import TextRenderer

SCHEDSTATS: Final = Path("/proc/sys/kernel/sched_schedstats")

RUN_LIBVIRT: Final = Path("/run/libvirt")
"""Where libvirt has its sockets and the files with the numbers of QEMU's processes."""

Schedstats = Literal["on", "off", "absent", "unknown"]
"""Whether a kernel keeps scheduler statistics; `absent`: no switch for them is to be seen,
`unknown`: the kernel is another host's."""

_MOUNT: Final = (
    "mount the host's directory in the container, not only the socket: "
    "`--volume=/run/libvirt:/run/libvirt:ro`; in Kubernetes use a hostPath volume"
)
_UNSEEN: Final[Mapping[UnseenReason, tuple[str, str]]] = {
    "no_pid_file": (
        "libvirt's PID files, /run/libvirt/qemu/NAME.pid, cannot be read",
        _MOUNT,
    ),
    "no_process": (
        "the exporter has its own PID namespace, as in a container",
        "start the container with `--pid=host`; in Kubernetes set `hostPID: true`",
    ),
    "proc_hidden": (
        "/proc hides the processes of other users",
        (
            "in a systemd unit, set `ProtectProc=default`; elsewhere, `findmnt /proc` must not "
            "show hidepid, or its gid= must be a group of the exporter's user"
        ),
    ),
}
"""Why processes are not seen, in words, and what to do."""
_ALWAYS_THERE: Final = frozenset(
    {"cpu-total", "balloon", "vcpu", "interface", "block", "dirtyrate"}
)
"""Groups of which the QEMU driver has a key for every active domain."""
_PREFIXES: Final = {
    metric.group: metric.source.partition(".")[0] + "." for metric in reversed(DOMAIN_METRICS)
}
"""Field group → how its stats keys begin."""


def findings(
    sample: HostSample,
    *,
    uri: str,
    schedstats: Schedstats = "unknown",
    hidden: int = 0,
    besides: Iterable[Finding] = (),
) -> list[Finding]:
    """Return what is missing from a sample of the shown domains and what else was found.

    Problems come first. `uri` is what commands for the person name, `hidden` the number of domains
    that the configuration leaves out.
    """
    return sorted(
        [*_of_sample(sample, uri, schedstats, hidden), *besides],
        key=lambda finding: finding.severity != "problem",
    )


def schedstats_of(uri: str, path: Path = SCHEDSTATS) -> Schedstats:
    """Return whether the domains' kernel keeps scheduler statistics, as far as this host knows."""
    scheme, _, rest = uri.partition("://")
    if "+" in scheme.replace("+unix", "") or not rest.startswith("/"):
        return "unknown"
    try:
        return "off" if path.read_text().strip() == "0" else "on"
    except OSError:
        return "absent"


def report(
    sample: HostSample, found: Collection[Finding], *, uri: str, hidden: int = 0
) -> list[str]:
    """Return the lines that a person reads: the host, then the findings with their remedies."""
    lines = []
    if sample.up:
        active = sum(domain.active for domain in sample.domains)
        host = sample.host
        versions = f"{host.driver}, libvirt {host.libvirt_version}: " if host else ""
        left_out = f"; {hidden} hidden by the configuration" if hidden else ""
        shown = f"{vms(len(sample.domains))}, {active} of them active{left_out}"
        lines.append(f"{uri}: {versions}{shown}")
    return [*lines, *(lines_of(found) or ["Nothing is missing."])]


def _of_sample(
    sample: HostSample, uri: str, schedstats: Schedstats, hidden: int
) -> Iterator[Finding]:
    if not sample.up:
        remedy = f"`{looking(uri)} list --all` must work first"
        if uri == "qemu:///system" and not RUN_LIBVIRT.is_dir():
            remedy += f"; {RUN_LIBVIRT} does not exist here: {_MOUNT}"
        if "user record" in sample.error:  # virGetUserEnt, of either end
            remedy += (
                "; the exporter's user must have a name on libvirtd's host and, with a container, "
                "in the container: run as a user that exists in both, such as nobody (65534)"
            )
        yield problem(sample.error, remedy)
        return
    yield from _problems(sample, uri)
    yield from _host_hints(sample, uri, hidden)
    if _is_qemu(sample):
        yield from _schedstats_hint(sample, schedstats)
        yield from guest_findings(sample, uri)


def _problems(sample: HostSample, uri: str) -> Iterator[Finding]:
    qemu = _is_qemu(sample)
    if stuck := [domain for domain in sample.domains if _is_stuck(domain)]:
        longest = max(float(domain.stats.get("monitor.stuck.time", 0)) for domain in stuck)
        yield problem(
            f"{named(stuck)} stuck for up to {longest / 1e9:.0f} s: QEMU's monitor does not "
            "respond, and data that requires the monitor is missing",
            f"`{looking(uri)} domcontrol {quoted_name(stuck[0])}` shows how long its monitor "
            "has been occupied; check the storage first: a QEMU in state D waits for it",
        )
    if silent := [
        domain
        for domain in sample.domains
        if qemu and domain.missing_groups and not _is_stuck(domain)
    ]:
        groups = sorted({group for domain in silent for group in domain.missing_groups})
        yield problem(
            f"{named(silent)} returned no complete {', '.join(groups)}: another program may keep "
            "the VM busy",
            f"run this again in a moment; `{looking(uri)} domcontrol {quoted_name(silent[0])}` "
            f"and `{looking(uri)} domjobinfo {quoted_name(silent[0])}` show what it is busy with",
        )
    if sample.unparsable:
        yield problem(
            f"the XML of {vms(len(sample.unparsable))} cannot be parsed: their info series are "
            "missing",
            f"`{looking(uri)} dumpxml {sample.unparsable[0]}` shows it; report it with the "
            "exporter's log",
        )


def _host_hints(sample: HostSample, uri: str, hidden: int) -> Iterator[Finding]:
    if not (sample.domains or hidden):
        yield hint(
            f"libvirt lists no VMs at {uri}",
            f"`{looking(uri)} list --all` must list them for the exporter's user; "
            "qemu:///system and qemu:///session have different VMs, and access_drivers in "
            "libvirtd.conf may hide VMs",
        )
    if unseen := _unseen_file_systems(sample):
        names = ", ".join(f"{name} ({reason})" for name, reason in unseen[:NAMED])
        more = f" and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
        yield hint(
            f"the file systems of storage pools are not readable: {names}{more}; only the figures "
            "of libvirt's last refresh are available",
            "make these directories accessible to the exporter's user: mount them in a container, "
            "or check ProtectHome= and PrivateTmp= of a systemd unit",
        )
    yield from _process_hints(sample)
    if lacking := _lacking_groups(sample):
        yield hint(
            f"no VM has statistics of {', '.join(lacking)}: this driver or libvirt version does "
            "not support them, or no VM has such devices",
            f"to stop querying them, write `exclude: [{', '.join(lacking)}]` under `groups:` "
            "in the configuration",
        )
    # A rendering of no group still tells which keys no row of the catalogue takes.
    unmapped = TextRenderer(Selection(())).render(sample.domains).tally.unmapped()
    if unmapped:
        yield hint(
            f"libvirt returns statistics that this exporter does not support: "
            f"{', '.join(unmapped)}",
            "upgrade the exporter; if the newest version does not support them, report their names",
        )


def _process_hints(sample: HostSample) -> Iterator[Finding]:
    """What keeps the exporter from seeing QEMU's processes, when it sees none at all."""
    if any("process.pid" in domain.stats for domain in sample.domains):
        return
    for reason, remedy in _UNSEEN.items():
        if unseen := [
            domain for domain in sample.domains if domain.stats.get("process.unseen") == reason
        ]:
            why, how = remedy
            yield hint(
                f"the exporter cannot see the QEMU process of {named(unseen)}: {why}. Start times "
                "are missing, and a hanging QEMU is found only when it delays a call",
                how,
            )


def _unseen_file_systems(sample: HostSample) -> list[tuple[str, str]]:
    """Names of pools, and why their file systems are not seen."""
    return [
        (shlex.quote(str(sample.stats[f"{pool}.name"])), str(reason))
        for key, reason in sample.stats.items()
        for pool, what, _ in [key.partition(".filesystem.reason")]
        if what
    ]


def _schedstats_hint(sample: HostSample, schedstats: Schedstats) -> Iterator[Finding]:
    asked = any(outcome.group == "vcpu" for outcome in sample.groups)
    if not asked or not any(domain.active for domain in sample.domains):
        return
    if schedstats == "off":
        yield hint(
            "kernel.sched_schedstats is off: libvirt_domain_vcpu_wait_seconds_total is absent",
            "`sysctl kernel.sched_schedstats=1`; it adds a small overhead to the scheduler",
        )
    elif schedstats == "absent":
        yield hint(
            "the kernel's switch for scheduler statistics is not readable: without them "
            "libvirt_domain_vcpu_wait_seconds_total is absent",
            f"`ls {SCHEDSTATS}` must list the switch: requires a kernel with CONFIG_SCHEDSTATS and "
            "a /proc that is visible to the exporter",
        )


def _lacking_groups(sample: HostSample) -> list[str]:
    """The groups that were asked for, and that no active domain answered."""
    active = [domain for domain in sample.domains if domain.active]
    if not active:
        return []
    groups = {outcome.group for outcome in sample.groups}
    if _is_qemu(sample):
        groups &= _ALWAYS_THERE
        groups -= {group for domain in active for group in domain.missing_groups}
    return sorted(
        group
        for group in groups
        if not any(key.startswith(_PREFIXES[group]) for domain in active for key in domain.stats)
    )


def _is_qemu(sample: HostSample) -> bool:
    return sample.host is not None and sample.host.driver == "QEMU"


def _is_stuck(domain: DomainSample) -> bool:
    return domain.stats.get("monitor.responsive") is False
