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
    "give a container the host's directory, and not only the socket: "
    "`--volume=/run/libvirt:/run/libvirt:ro`; in Kubernetes a hostPath volume"
)
_UNSEEN: Final[Mapping[UnseenReason, tuple[str, str]]] = {
    "no_pid_file": (
        "libvirt's files with their numbers, /run/libvirt/qemu/NAME.pid, cannot be read",
        _MOUNT,
    ),
    "no_process": (
        "this exporter has a PID namespace of its own, as containers do",
        "start the container with `--pid=host`; in Kubernetes write `hostPID: true`",
    ),
    "proc_hidden": (
        "/proc shows it no other user's processes",
        (
            "of a systemd unit look at ProtectProc=, which must be `default`; else `findmnt /proc` "
            "must not show hidepid, or its gid= must be a group of the exporter's user"
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
        "the exporter's user must be able to write there, for example after "
        f"`install -d -m 700 -o USER {shlex.quote(directory)}`; the systemd unit makes "
        "/var/lib/libvirt-exporter for its own"
    )
    reason = _unusable(Path(directory))
    if reason:
        found = f"{what} cannot be kept in {directory} by uid {os.geteuid()}: {reason}"
        yield _problem(found, remedy)
    elif os.geteuid() == 0 and _only_for_root(Path(directory)):
        found = f"only root may write to {directory}: no other user's exporter keeps {what} there"
        yield _hint(found, remedy)


def choice_findings(config: Config, sample: HostSample) -> Iterator[Finding]:
    """Yield what the configuration chooses and a sample of all domains does not have."""
    for found in unmatched(config, sample):
        yield (_problem if found.alone else _hint)(found.what, found.remedy)


def file_findings(files: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what keeps this process from reading the files of a target, by their options."""
    for option, path in files.items():
        if is_missing(path):
            yield _problem(f"{option}: {path} is not there", "put it there, or correct the option")
        elif not os.access(path, os.R_OK, effective_ids=True):
            yield _problem(
                f"{option}: {path} cannot be read by uid {os.geteuid()}",
                f"give it to the exporter's user: `ls -ld {shlex.quote(path)}`, `chown`",
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
        left_out = f"; {hidden} left out by the configuration" if hidden else ""
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
            remedy += f"; there is no {RUN_LIBVIRT} here: {_MOUNT}"
        if "user record" in sample.error:  # virGetUserEnt, of either end
            remedy += (
                "; a user needs a name where libvirtd runs and, in a container, there too: run as "
                "one that both know, as everybody knows nobody (65534)"
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
            return f"it is not there, and {place} cannot be written to"
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
            f"{named(stuck)} stuck, for up to {longest / 1e9:.0f} s: QEMU's monitor does not "
            "answer, and only what needs no monitor is shown",
            f"`{_looking(uri)} domcontrol {quoted_name(stuck[0])}` tells for how long its monitor "
            "has been occupied; look at the storage first, a QEMU in state D waits for it",
        )
    if silent := [
        domain
        for domain in sample.domains
        if qemu and domain.missing_groups and not _is_stuck(domain)
    ]:
        groups = sorted({group for domain in silent for group in domain.missing_groups})
        yield _problem(
            f"{named(silent)} did not answer {', '.join(groups)}: another program may keep the "
            "VM busy",
            f"look again in a moment; `{_looking(uri)} domcontrol {quoted_name(silent[0])}` and "
            f"`{_looking(uri)} domjobinfo {quoted_name(silent[0])}` tell what it is busy with",
        )
    if sample.unparsable:
        yield _problem(
            f"the XML of {_vms(len(sample.unparsable))} cannot be read: no info series for them",
            f"`{_looking(uri)} dumpxml {sample.unparsable[0]}` shows it; report it together with "
            "the exporter's log",
        )


def _host_hints(sample: HostSample, uri: str, hidden: int) -> Iterator[Finding]:
    if not (sample.domains or hidden):
        yield _hint(
            f"libvirt lists no VMs at {uri}",
            f"`{_looking(uri)} list --all` must show them to the exporter's user; qemu:///system "
            "and qemu:///session have different VMs, access_drivers of libvirtd.conf may hide some",
        )
    if unseen := _unseen_file_systems(sample):
        names = ", ".join(f"{name} ({reason})" for name, reason in unseen[:_NAMED])
        more = f" and {len(unseen) - _NAMED} more" if len(unseen) > _NAMED else ""
        yield _hint(
            f"the file systems of storage pools cannot be seen from here: {names}{more}; only what "
            "libvirt found when it last looked is shown of them",
            "the exporter's user must be able to reach these directories as libvirtd does: in a "
            "container mount them, of a systemd unit look at ProtectHome= and PrivateTmp=",
        )
    yield from _process_hints(sample)
    if lacking := _lacking_groups(sample):
        yield _hint(
            f"no VM has statistics of {', '.join(lacking)}: this driver or version of libvirt does "
            "not know them, or no VM has such devices",
            f"to have them asked no more, write `exclude: [{', '.join(lacking)}]` under `groups:` "
            "in the configuration",
        )
    # A rendering of no group still tells which keys no row of the catalogue takes.
    unmapped = TextRenderer(Selection(())).render(sample.domains).tally.unmapped()
    if unmapped:
        yield _hint(
            f"libvirt has statistics that this exporter does not know: {', '.join(unmapped)}",
            "a newer exporter may know them; if it does not, report their names",
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
                f"the QEMU process of {named(unseen)} is not seen from here: {why}. So there are "
                "no start times, and a QEMU that hangs is found only by a call that it holds up",
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
            "`sysctl kernel.sched_schedstats=1`; it costs the scheduler a little",
        )
    elif schedstats == "absent":
        yield _hint(
            "this kernel does not say whether it keeps scheduler statistics: without them "
            "libvirt_domain_vcpu_wait_seconds_total is absent",
            f"`ls {SCHEDSTATS}` must find the switch: it takes a kernel with CONFIG_SCHEDSTATS, "
            "and a /proc that is not hidden from the exporter",
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
            f"{named(found)} without a memory balloon: no memory figures from the guest",
            f"`{changing(uri)} edit {quoted_name(found[0])}`: put <memballoon model='virtio'>"
            "<stats period='10'/></memballoon> among the devices, then restart the VM",
        )
    if balloon and (found := having(_has_no_period)):
        info = found[0].info
        config = "" if info and info.persistent is False else " --config"
        yield _hint(
            f"{named(found)} without a period for balloon statistics: the guest is never asked "
            "for its memory figures",
            f"`{changing(uri)} dommemstat {quoted_name(found[0])} --period 10 --live{config}`",
        )
    if balloon and (found := having(_is_not_reported)):
        yield _hint(
            f"{named(found)} asked for memory figures that the guest does not report",
            "its balloon driver is not loaded: `modprobe virtio_balloon` in a Linux guest, "
            "virtio-win's balloon driver in a Windows guest; a guest that boots needs a moment",
        )
    if balloon and (found := having(_reports_no_more)):
        oldest = max(map(_report_age, found))
        yield _hint(
            f"{named(found)} reporting no memory figures any more, for up to {oldest:.0f} s: the "
            "last ones are not shown",
            f"look at the guest, as by `{_looking(uri)} domdisplay {quoted_name(found[0])}`: its "
            "kernel may have panicked, or its balloon driver was unloaded",
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
