"""What a host does not show, in plain words, and the command that fixes it."""

from __future__ import annotations

import os
import re
import shlex
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

from libvirt_exporter.catalogue import DOMAIN_METRICS
from libvirt_exporter.commands.check_config import is_missing
from libvirt_exporter.config import Config
from libvirt_exporter.model import DomainInfo, DomainSample, HostSample, UnseenReason
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.text import TextRenderer
from libvirt_exporter.service.unmatched import unmatched

SCHEDSTATS: Final = Path("/proc/sys/kernel/sched_schedstats")

RUN_LIBVIRT: Final = Path("/run/libvirt")
"""Where libvirt has its sockets and the files with the numbers of QEMU's processes."""

Schedstats = Literal["on", "off", "absent", "unknown"]
"""Whether a kernel keeps scheduler statistics; `absent`: no switch for them is to be seen,
`unknown`: the kernel is another host's."""

_NAMED: Final = 3
"""VMs that a finding names before it only counts."""
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


class Finding(NamedTuple):
    """Something that this host does not show."""

    severity: Literal["problem", "hint"]
    """`problem`: something does not work. `hint`: something could be shown that is not."""
    what: str
    remedy: str


_problem: Final = partial(Finding, "problem")
_hint: Final = partial(Finding, "hint")


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


def state_directory_findings(
    directory: str, what: str = "the counts of events"
) -> Iterator[Finding]:
    """Yield what keeps this process from keeping `what` there; '' is nowhere.

    Tries it with a file that has no name, so that nothing is left behind.
    """
    if not directory:
        return
    remedy = (
        "make it writable for the exporter's user, for example with "
        f"`install -d -m 700 -o USER {shlex.quote(directory)}`; the systemd unit creates "
        "/var/lib/libvirt-exporter for its user"
    )
    reason = _unusable(Path(directory))
    if reason:
        found = f"{what} cannot be kept in {directory} by uid {os.geteuid()}: {reason}"
        yield _problem(found, remedy)
    elif os.geteuid() == 0 and _only_for_root(Path(directory)):
        found = (
            f"only root can write to {directory}: an exporter of another user cannot keep {what}"
        )
        yield _hint(found, remedy)


def choice_findings(config: Config, sample: HostSample) -> Iterator[Finding]:
    """Yield what the configuration chooses and a sample of all domains does not have."""
    for found in unmatched(config, sample):
        yield (_problem if found.alone else _hint)(found.what, found.remedy)


def file_findings(files: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what keeps this process from reading the files of a target, by their options."""
    for option, path in files.items():
        if is_missing(path):
            yield _problem(f"{option}: {path} does not exist", "create it, or correct the option")
        elif not os.access(path, os.R_OK, effective_ids=True):
            yield _problem(
                f"{option}: {path} cannot be read by uid {os.geteuid()}",
                f"make it readable for the exporter's user: `ls -ld {shlex.quote(path)}`, `chown`",
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
        shown = f"{_vms(len(sample.domains))}, {active} of them active{left_out}"
        lines.append(f"{uri}: {versions}{shown}")
    return [*lines, *(lines_of(found) or ["Nothing is missing."])]


def lines_of(found: Iterable[Finding]) -> list[str]:
    """Return the lines that a person reads of findings, with their remedies."""
    return [
        line
        for finding in found
        for line in (f"{finding.severity}: {finding.what}", f"    {finding.remedy}")
    ]


def _of_sample(
    sample: HostSample, uri: str, schedstats: Schedstats, hidden: int
) -> Iterator[Finding]:
    if not sample.up:
        remedy = f"`{_looking(uri)} list --all` must work first"
        if uri == "qemu:///system" and not RUN_LIBVIRT.is_dir():
            remedy += f"; {RUN_LIBVIRT} does not exist here: {_MOUNT}"
        if "user record" in sample.error:  # virGetUserEnt, of either end
            remedy += (
                "; the exporter's user must have a name on libvirtd's host and, with a container, "
                "in the container: run as a user that exists in both, such as nobody (65534)"
            )
        yield _problem(sample.error, remedy)
        return
    yield from _problems(sample, uri)
    yield from _host_hints(sample, uri, hidden)
    if _is_qemu(sample):
        yield from _schedstats_hint(sample, schedstats)
        yield from _guest_hints(sample, uri)


def _unusable(directory: Path) -> str:
    """Why this process cannot write files there, and read those that are there; '' when it can."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        for kept in directory.glob("events-*.json"):
            kept.open("rb").close()
    except FileNotFoundError:
        # The exporter would make it.
        place = _nearest(directory)
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            return f"it does not exist, and {place} is not writable"
    except OSError as error:
        return f"{error.strerror}"
    return ""


def _only_for_root(directory: Path) -> bool:
    status = _nearest(directory).stat()
    others = stat.S_IWOTH if status.st_gid == 0 else stat.S_IWOTH | stat.S_IWGRP
    return status.st_uid == 0 and not status.st_mode & others


def _nearest(directory: Path) -> Path:
    """The directory, or what is there of the way to it."""
    return next(place for place in (directory, *directory.parents) if os.path.exists(place))


def _problems(sample: HostSample, uri: str) -> Iterator[Finding]:
    qemu = _is_qemu(sample)
    if stuck := [domain for domain in sample.domains if _is_stuck(domain)]:
        longest = max(float(domain.stats.get("monitor.stuck.time", 0)) for domain in stuck)
        yield _problem(
            f"{named(stuck)} stuck for up to {longest / 1e9:.0f} s: QEMU's monitor does not "
            "respond, and data that requires the monitor is missing",
            f"`{_looking(uri)} domcontrol {quoted_name(stuck[0])}` shows how long its monitor "
            "has been occupied; check the storage first: a QEMU in state D waits for it",
        )
    if silent := [
        domain
        for domain in sample.domains
        if qemu and domain.missing_groups and not _is_stuck(domain)
    ]:
        groups = sorted({group for domain in silent for group in domain.missing_groups})
        yield _problem(
            f"{named(silent)} returned no complete {', '.join(groups)}: another program may keep "
            "the VM busy",
            f"run this again in a moment; `{_looking(uri)} domcontrol {quoted_name(silent[0])}` "
            f"and `{_looking(uri)} domjobinfo {quoted_name(silent[0])}` show what it is busy with",
        )
    if sample.unparsable:
        yield _problem(
            f"the XML of {_vms(len(sample.unparsable))} cannot be parsed: their info series are "
            "missing",
            f"`{_looking(uri)} dumpxml {sample.unparsable[0]}` shows it; report it with the "
            "exporter's log",
        )


def _host_hints(sample: HostSample, uri: str, hidden: int) -> Iterator[Finding]:
    if not (sample.domains or hidden):
        yield _hint(
            f"libvirt lists no VMs at {uri}",
            f"`{_looking(uri)} list --all` must list them for the exporter's user; "
            "qemu:///system and qemu:///session have different VMs, and access_drivers in "
            "libvirtd.conf may hide VMs",
        )
    if unseen := _unseen_file_systems(sample):
        names = ", ".join(f"{name} ({reason})" for name, reason in unseen[:_NAMED])
        more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
        yield _hint(
            f"the file systems of storage pools are not readable: {names}{more}; only the figures "
            "of libvirt's last refresh are available",
            "make these directories accessible to the exporter's user: mount them in a container, "
            "or check ProtectHome= and PrivateTmp= of a systemd unit",
        )
    yield from _process_hints(sample)
    if lacking := _lacking_groups(sample):
        yield _hint(
            f"no VM has statistics of {', '.join(lacking)}: this driver or libvirt version does "
            "not support them, or no VM has such devices",
            f"to stop querying them, write `exclude: [{', '.join(lacking)}]` under `groups:` "
            "in the configuration",
        )
    # A rendering of no group still tells which keys no row of the catalogue takes.
    unmapped = TextRenderer(Selection(())).render(sample.domains).tally.unmapped()
    if unmapped:
        yield _hint(
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
            yield _hint(
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
        yield _hint(
            "kernel.sched_schedstats is off: libvirt_domain_vcpu_wait_seconds_total is absent",
            "`sysctl kernel.sched_schedstats=1`; it adds a small overhead to the scheduler",
        )
    elif schedstats == "absent":
        yield _hint(
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


def _guest_hints(sample: HostSample, uri: str) -> Iterator[Finding]:
    def having(wanted: Callable[[DomainSample, DomainInfo], bool]) -> list[DomainSample]:
        return [
            domain
            for domain in sorted(sample.domains, key=lambda domain: domain.name)
            if domain.active and domain.info and wanted(domain, domain.info)
        ]

    balloon = any(outcome.group == "balloon" for outcome in sample.groups)
    if balloon and (found := having(lambda _, info: info.balloon_model in ("", "none"))):
        yield _hint(
            f"{named(found)} without a memory balloon: the guest's memory figures are missing",
            f"`{changing(uri)} edit {quoted_name(found[0])}`: add <memballoon model='virtio'>"
            "<stats period='10'/></memballoon> to the devices, then restart the VM",
        )
    if balloon and (found := having(_has_no_period)):
        info = found[0].info
        config = "" if info and info.persistent is False else " --config"
        yield _hint(
            f"{named(found)} without a period for balloon statistics: the guest does not report "
            "its memory figures",
            f"`{changing(uri)} dommemstat {quoted_name(found[0])} --period 10 --live{config}`",
        )
    if balloon and (found := having(_is_not_reported)):
        yield _hint(
            f"{named(found)} without memory figures: the guest does not report them",
            "load its balloon driver: `modprobe virtio_balloon` in a Linux guest, virtio-win's "
            "balloon driver in a Windows guest; while a guest boots, wait a moment",
        )
    if balloon and (found := having(_reports_no_more)):
        oldest = max(map(_report_age, found))
        yield _hint(
            f"{named(found)} without a memory report for up to {oldest:.0f} s: the last figures "
            "have expired",
            f"check the guest, for example with `{_looking(uri)} domdisplay "
            f"{quoted_name(found[0])}`: its kernel may have panicked, or its balloon driver was "
            "unloaded",
        )


def _is_qemu(sample: HostSample) -> bool:
    return sample.host is not None and sample.host.driver == "QEMU"


def _is_stuck(domain: DomainSample) -> bool:
    return domain.stats.get("monitor.responsive") is False


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


def named(domains: Iterable[DomainSample]) -> str:
    """How many VMs, and the names of the first."""
    names = sorted(quoted_name(domain) for domain in domains)
    rest = len(names) - _NAMED
    listed = ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"{_vms(len(names))} ({listed})"


def quoted_name(domain: DomainSample) -> str:
    """What names the domain to virsh: its UUID where its name would not survive a shell."""
    name = domain.name
    return shlex.quote(name) if name.isprintable() and not name.startswith("-") else domain.uuid


def _vms(count: int) -> str:
    return f"{count} VM" if count == 1 else f"{count} VMs"


def _looking(uri: str) -> str:
    return f"virsh -c {shlex.quote(uri)} -r"


def changing(uri: str) -> str:
    """How virsh is called to change something, which the read-only socket refuses."""
    return f"virsh -c {shlex.quote(re.sub('-sock-ro(?=&|$)', '-sock', uri))}"
