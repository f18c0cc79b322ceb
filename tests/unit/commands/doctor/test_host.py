"""The doctor on a host: what it does not show, and what fixes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from libvirt_exporter.commands.doctor import host as doctor
from libvirt_exporter.commands.doctor.finding import Finding
from libvirt_exporter.model import (
    DomainInfo,
    DomainSample,
    GroupOutcome,
    HostInfo,
    HostSample,
    StatValue,
)

URI = "qemu:///system"
HEALTHY = DomainInfo(
    uuid="u",
    name="vm",
    balloon_model="virtio",
    balloon_period=10,
)
STATS: dict[str, StatValue] = {
    "state.state": 1,
    "cpu.time": 1,
    "balloon.last-update": 1_700_000_000,
    "vcpu.current": 1,
    "net.count": 0,
    "block.count": 0,
}
GROUPS = ("state", "cpu-total", "balloon", "vcpu", "interface", "block", "iothread", "perf")


def vm(
    name: str = "vm",
    info: DomainInfo | None = HEALTHY,
    *,
    uuid: str = "uuid-vm",
    missing: tuple[str, ...] = (),
    stats: dict[str, StatValue] | None = None,
) -> DomainSample:
    """A running VM, healthy in what is not said."""
    return DomainSample(
        uuid=uuid,
        name=name,
        active=True,
        stats=STATS if stats is None else stats,
        timestamp=1.0,
        info=info,
        missing_groups=missing,
    )


def host(
    *domains: DomainSample, driver: str = "QEMU", unparsable: tuple[str, ...] = ()
) -> HostSample:
    """A host that answered."""
    return HostSample(
        timestamp=1.0,
        duration=0.1,
        up=True,
        host=HostInfo(name="", driver=driver, libvirt_version="9.0.0"),
        domains=domains,
        groups=tuple(GroupOutcome(group=name, success=True, duration=0.1) for name in GROUPS),
        unparsable=unparsable,
    )


def only(sample: HostSample, *, schedstats: doctor.Schedstats = "on") -> Finding:
    """The one finding on a sample."""
    (finding,) = doctor.findings(sample, uri=URI, schedstats=schedstats)
    return finding


def with_info(**changes: object) -> DomainInfo:
    """A healthy VM's configuration with something changed."""
    return structs.replace(HEALTHY, **changes)


def test_healthy_host_has_no_findings() -> None:
    """Nothing is said where nothing is missing."""
    sample = host(vm())

    assert doctor.findings(sample, uri=URI, schedstats="on") == []
    assert doctor.report(sample, [], uri=URI) == [
        "qemu:///system: QEMU, libvirt 9.0.0: 1 VM, 1 of them active",
        "Nothing is missing.",
    ]


def test_libvirt_away_is_the_only_problem_named() -> None:
    """Where libvirt does not answer, its reason is all there is to say."""
    sample = HostSample(timestamp=1.0, duration=0.1, up=False, error="cannot connect: denied")

    finding = only(sample)

    assert finding.severity == "problem"
    assert finding.what == "cannot connect: denied"
    assert "virsh -c qemu:///system -r list --all" in finding.remedy


def test_what_was_found_besides_is_told_too_problems_first() -> None:
    """Whether libvirt answers or not."""
    besides = [Finding("hint", "b", ""), Finding("problem", "a", "")]
    away = HostSample(timestamp=1.0, duration=0.1, up=False, error="denied")

    for sample, whats in ((host(vm()), ["a", "b"]), (away, ["denied", "a", "b"])):
        found = doctor.findings(sample, uri=URI, schedstats="on", besides=besides)
        assert [finding.what for finding in found] == whats


def test_stuck_vms_are_a_problem_with_the_time() -> None:
    """VMs whose monitor does not answer are named with the longest time, not as busy too."""
    stuck: dict[str, StatValue] = {**STATS, "monitor.responsive": False}
    finding = only(
        host(
            vm("a", missing=("block",), stats={**stuck, "monitor.stuck.time": 12_400_000_000}),
            vm("b", missing=("block",), stats={**stuck, "monitor.stuck.time": 2_000_000_000}),
            vm(stats={**STATS, "monitor.responsive": True}),
        )
    )

    assert finding.severity == "problem"
    assert "2 VMs (a, b) stuck for up to 12 s" in finding.what
    assert "virsh -c qemu:///system -r domcontrol a" in finding.remedy


def test_silent_vms_are_a_problem_with_their_groups() -> None:
    """A VM that did not answer is named with what is missing and how to look at it."""
    finding = only(host(vm("a b", missing=("block", "balloon")), vm()))

    assert finding.severity == "problem"
    assert "1 VM ('a b') returned no complete balloon, block" in finding.what
    assert "virsh -c qemu:///system -r domcontrol 'a b'" in finding.remedy


def test_unparsable_xml_is_a_problem() -> None:
    """A VM without info series is named by its UUID."""
    finding = only(host(vm(info=None), unparsable=("uuid-vm",)))

    assert finding.severity == "problem"
    assert "dumpxml uuid-vm" in finding.remedy


def test_host_without_vms_is_a_hint() -> None:
    """An empty list often means another URI, or rights."""
    assert "lists no VMs at qemu:///system" in only(host()).what


def test_period_unset_gives_the_command_that_sets_it() -> None:
    """VMs whose guests are never asked are counted, three are named, one is in the command."""
    unset = with_info(balloon_period=None)
    finding = only(host(*(vm(name, unset) for name in "edcba")))

    assert finding.severity == "hint"
    assert "5 VMs (a, b, c and 2 more) without a period" in finding.what
    assert finding.remedy == ("`virsh -c qemu:///system dommemstat a --period 10 --live --config`")


def test_paused_vm_without_period_is_counted() -> None:
    """Once it runs again its guest would not be asked either; a VM that is off is not looked at."""
    unset = with_info(balloon_period=None)
    paused = vm("paused", unset, stats=STATS | {"state.state": 3})
    off = structs.replace(vm("off", unset), active=False)

    assert "1 VM (paused) without a period" in only(host(paused, off)).what


def test_paused_guest_is_not_blamed_for_its_silence() -> None:
    """What does not run cannot report its memory."""
    silent = STATS | {"state.state": 3, "balloon.last-update": 0}

    sample = host(vm(stats=silent))

    assert doctor.findings(sample, uri=URI, schedstats="on") == []


def test_period_of_a_transient_vm_is_set_live_only() -> None:
    """libvirt refuses --config for a VM that has no configuration."""
    finding = only(host(vm(info=with_info(balloon_period=0, persistent=False))))

    assert finding.remedy.endswith("--period 10 --live`")


def test_guest_that_does_not_report_lacks_its_driver() -> None:
    """The period is set, and still the guest has never answered."""
    finding = only(host(vm(stats=STATS | {"balloon.last-update": 0})))

    assert "the guest does not report them" in finding.what
    assert "virtio_balloon" in finding.remedy


def test_pools_whose_file_system_is_not_seen_are_named() -> None:
    """With the reason; the figures that are shown of them may be old."""
    stats: dict[str, StatValue] = {}
    for number in range(5):
        stats[f"pool.{number}.name"] = f"p {number}"
        stats[f"pool.{number}.filesystem.visible"] = number == 0
        if number:
            stats[f"pool.{number}.filesystem.reason"] = f"/p{number}: Permission denied"

    finding = only(structs.replace(host(vm()), stats=stats))

    assert "'p 1' (/p1: Permission denied), 'p 2' (" in finding.what
    assert "and 1 more" in finding.what
    assert "'p 0'" not in finding.what


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("no_process", "`--pid=host`"),
        ("no_pid_file", "`--volume=/run/libvirt:/run/libvirt:ro`"),
        ("proc_hidden", "ProtectProc="),
    ],
)
def test_processes_that_are_not_seen_are_said_with_what_shows_them(
    reason: str, remedy: str
) -> None:
    """Otherwise they would cost start times and the sight of hung QEMUs in silence."""
    stats: dict[str, StatValue] = {**STATS, "process.unseen": reason}

    finding = only(host(vm("web-1", stats=stats)))

    assert "cannot see the QEMU process of 1 VM (web-1)" in finding.what
    assert remedy in finding.remedy


def test_a_container_without_libvirt_s_directory_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the directory is there, something else keeps libvirt from answering."""
    down = structs.replace(host(), up=False, error="no such socket")

    monkeypatch.setattr(doctor, "RUN_LIBVIRT", tmp_path / "missing")
    assert "`--volume=/run/libvirt:/run/libvirt:ro`" in only(down).remedy
    monkeypatch.setattr(doctor, "RUN_LIBVIRT", tmp_path)
    assert "--volume" not in only(down).remedy


def test_a_user_without_a_name_is_told_who_has_one() -> None:
    """libvirt refuses such a user at both ends, and says the same at each."""
    error = "Failed to find user record for uid '59177'"

    assert "nobody (65534)" in only(structs.replace(host(), up=False, error=error)).remedy


def test_one_process_that_is_not_seen_is_no_finding() -> None:
    """Where others are, it only starts or ends."""
    unseen: dict[str, StatValue] = {**STATS, "process.unseen": "no_pid_file"}
    seen: dict[str, StatValue] = {**STATS, "process.pid": 7}

    assert not doctor.findings(host(vm(stats=unseen), vm(stats=seen)), uri=URI)


def test_guest_that_stopped_reporting_is_named() -> None:
    """Its last figures are not shown, and nothing else would say why."""
    reported = float(STATS["balloon.last-update"])
    silent = structs.replace(vm("silent"), timestamp=reported + 61)
    fresh = structs.replace(vm("fresh"), timestamp=reported + 59)

    finding = only(host(silent, fresh))

    assert "1 VM (silent) without a memory report for up to 61 s" in finding.what


@pytest.mark.parametrize("model", ["", "none"])
def test_vm_without_balloon_gets_one(model: str) -> None:
    """Without the device there is nothing to set a period on."""
    finding = only(host(vm(info=with_info(balloon_model=model, balloon_period=None))))

    assert "without a memory balloon" in finding.what
    assert "<memballoon model='virtio'>" in finding.remedy


def test_commands_that_change_something_use_the_read_write_socket() -> None:
    """The exporter's read-only socket would refuse a change; to look, it will do."""
    uri = "qemu:///system?socket=/run/libvirt/{}"
    sample = host(vm("a", with_info(balloon_period=None)), vm("b", missing=("block",)))

    for given, changing in (
        ("libvirt-sock-ro", "libvirt-sock"),
        ("virtqemud-sock-ro&mode=direct", "virtqemud-sock&mode=direct"),
        ("libvirt-sock", "libvirt-sock"),
    ):
        silent, unset = doctor.findings(sample, uri=uri.format(given))
        assert f"virsh -c '{uri.format(given)}' -r domcontrol b" in silent.remedy
        assert f"virsh -c '{uri.format(changing)}' dommemstat a" in unset.remedy


def test_schedstats_off_names_the_metric_that_stays_zero() -> None:
    """The kernel's switch is named with the sysctl that turns it on."""
    finding = only(host(vm()), schedstats="off")

    assert "libvirt_domain_vcpu_wait_seconds_total" in finding.what
    assert "sysctl kernel.sched_schedstats=1" in finding.remedy


def test_kernel_without_the_switch_is_a_hint() -> None:
    """Where this host's kernel does not say, the person is told what depends on it."""
    finding = only(host(vm()), schedstats="absent")

    assert finding.severity == "hint"
    assert "libvirt_domain_vcpu_wait_seconds_total is absent" in finding.what
    assert "/proc/sys/kernel/sched_schedstats" in finding.remedy


def test_schedstats_unknown_are_not_mentioned() -> None:
    """Of another host nothing is known."""
    assert doctor.findings(host(vm()), uri=URI, schedstats="unknown") == []


def test_group_without_any_key_is_lacking() -> None:
    """A driver that answers a group for no VM does not have it."""
    stats = {key: value for key, value in STATS.items() if not key.startswith("block.")}

    finding = only(host(vm(stats=stats)))

    assert "no VM has statistics of block:" in finding.what
    assert "exclude: [block]" in finding.remedy


def test_group_missing_because_a_vm_hangs_is_not_lacking() -> None:
    """A hung VM on its own does not look like an old libvirt."""
    stats = {key: value for key, value in STATS.items() if not key.startswith("block.")}

    assert only(host(vm(stats=stats, missing=("block",)))).severity == "problem"


def test_drivers_without_qemu_are_not_asked_for_what_only_qemu_has() -> None:
    """No balloon period or scheduler statistics are missed in a container."""
    bare = DomainInfo(uuid="u", name="vm")
    stats: dict[str, StatValue] = {**STATS, "iothread.count": 0, "perf.cmt": 1}

    sample = host(vm(info=bare, stats=stats), driver="LXC")

    assert doctor.findings(sample, uri="lxc:///system", schedstats="off") == []


def test_unmapped_keys_are_named() -> None:
    """A key that no metric takes is shown, its number generalised."""
    finding = only(host(vm(stats={**STATS, "novel.3.thing": 1})))

    assert "novel.<n>.thing" in finding.what


def test_problems_come_before_hints() -> None:
    """What does not work is read first."""
    sample = host(vm("a", with_info(balloon_period=None)), vm("b", missing=("block",)))

    found = doctor.findings(sample, uri=URI, schedstats="off")

    assert [finding.severity for finding in found] == ["problem", "hint", "hint"]


def test_name_that_a_terminal_must_not_see_is_replaced_by_the_uuid() -> None:
    """A control sequence in a name does not reach the terminal or a command."""
    sample = host(
        vm("\x1b[2J", uuid="uuid-1", missing=("block",)),
        vm("--help", uuid="uuid-2", missing=("block",)),
    )

    text = str(doctor.report(sample, doctor.findings(sample, uri=URI), uri=URI))

    assert "\\x1b" not in text
    assert "2 VMs (uuid-1, uuid-2)" in text
    assert "domcontrol uuid-1" in text


@pytest.mark.parametrize(
    ("uri", "known"),
    [
        ("qemu:///system", "off"),
        ("qemu+unix:///system?socket=/run/other", "off"),
        ("qemu://far/system", "unknown"),
        ("qemu+ssh://far/system", "unknown"),
        ("qemu+tls:///system", "unknown"),
    ],
)
def test_schedstats_are_read_for_local_hosts_only(
    uri: str, known: doctor.Schedstats, tmp_path: Path
) -> None:
    """This kernel's switch says nothing of another host's."""
    switch = tmp_path / "sched_schedstats"
    switch.write_text("0\n")

    assert doctor.schedstats_of(uri, switch) == known


def test_schedstats_are_on_or_absent(tmp_path: Path) -> None:
    """1 is on; a kernel may be without the switch."""
    switch = tmp_path / "sched_schedstats"
    assert doctor.schedstats_of(URI, switch) == "absent"
    switch.write_text("1\n")
    assert doctor.schedstats_of(URI, switch) == "on"


def test_report_puts_the_remedy_below_its_finding() -> None:
    """Two lines each: what is wrong, and what to do."""
    found = [Finding("hint", "something is off", "`fix it`")]

    assert doctor.report(host(vm()), found, uri=URI)[1:] == [
        "hint: something is off",
        "    `fix it`",
    ]
