"""How an end is put into a code, a reason and words."""

from __future__ import annotations

import libvirt
import pytest

from libvirt_exporter.hypervisor.events import exits
from libvirt_exporter.hypervisor.events.exits import agree, of_event, of_state

DETAILS = {
    name: getattr(libvirt, f"VIR_DOMAIN_EVENT_STOPPED_{name.upper()}")
    for name in (
        "shutdown",
        "destroyed",
        "crashed",
        "migrated",
        "saved",
        "failed",
        "from_snapshot",
    )
}
SHUTOFF = libvirt.VIR_DOMAIN_SHUTOFF


@pytest.mark.parametrize(
    ("detail", "code", "reason"),
    [
        ("shutdown", 0, 7),
        ("destroyed", 0, 6),
        ("crashed", 1, 1),
        ("migrated", 0, 4),
        ("saved", 0, 5),
        ("failed", 1, 2),
        ("from_snapshot", 0, 0),
    ],
)
def test_each_way_to_stop_has_its_code_and_reason(detail: str, code: int, reason: int) -> None:
    """Orderly ends have code 0, errors 1."""
    end = of_event(DETAILS[detail], ran=True, shutdown=None)
    assert (end.code, end.reason) == (code, reason)
    assert end.message


def test_a_domain_that_never_ran_failed_to_start() -> None:
    """The same event tells of a start that failed and of a QEMU that was killed."""
    assert of_event(DETAILS["failed"], ran=False, shutdown=None) is exits.NOT_STARTED


@pytest.mark.parametrize(
    ("shutdown", "end"),
    [
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST, exits.SHUT_DOWN),
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST, exits.TERMINATED),
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED, exits.SHUT_DOWN),
    ],
)
def test_who_shut_a_domain_down_decides(shutdown: int, end: exits.Exit) -> None:
    """A QEMU that the host terminates is no shutdown by the guest."""
    assert of_event(DETAILS["shutdown"], ran=True, shutdown=shutdown) is end


def test_a_forced_end_stays_one_though_qemu_says_the_host_shut_it_down() -> None:
    """`destroy` gives SHUTDOWN host and then STOPPED destroyed (seen with 9.0)."""
    host = libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST
    assert of_event(DETAILS["destroyed"], ran=True, shutdown=host) is exits.FORCED_OFF


def test_a_detail_newer_than_the_exporter_is_an_error() -> None:
    """What is not known is not called orderly."""
    assert of_event(99, ran=True, shutdown=None) is exits.ERROR


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        (0, None),
        (1, exits.SHUT_DOWN),
        (2, exits.FORCED_OFF),
        (3, exits.ERROR),
        (4, exits.MIGRATED),
        (5, exits.SAVED),
        (6, exits.NOT_STARTED),
        (7, exits.ENDED),
        (8, exits.LOST),
        (99, None),
    ],
)
def test_the_reason_of_a_shut_off_domain_tells_its_end(reason: int, end: exits.Exit | None) -> None:
    """So the end is known without any event; migrated is not mistaken for shut down."""
    assert of_state(SHUTOFF, reason) is end


def test_only_ended_states_tell_of_an_end() -> None:
    """The same numbers mean something else for a domain that runs."""
    assert [of_state(state, 3) for state in (1, 3, 4, 7)] == [None] * 4
    assert of_state(libvirt.VIR_DOMAIN_CRASHED, 1) is exits.ERROR


@pytest.mark.parametrize("detail", DETAILS.values(), ids=DETAILS)
def test_an_event_agrees_with_the_state_that_it_leads_to(detail: int) -> None:
    """And with a daemon that was restarted and has forgotten the reason."""
    end = of_event(detail, ran=False, shutdown=None)
    (reason,) = (reason for reason in range(1, 9) if of_state(SHUTOFF, reason) is end)
    assert agree(detail, reason)
    assert agree(detail, 0)


def test_a_killed_qemu_agrees_with_crashed() -> None:
    """The event says failed, the state crashed."""
    assert agree(DETAILS["failed"], libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)


def test_another_end_does_not_agree() -> None:
    """The domain has run and ended again, unseen."""
    assert not agree(DETAILS["destroyed"], libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
    assert not agree(DETAILS["failed"], libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
    assert not agree(DETAILS["crashed"], libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)


def test_keys_of_an_end() -> None:
    """The time is left out where it is not known."""
    assert exits.SAVED.stats(5) == {
        "exit.code": 0,
        "exit.reason": 5,
        "exit.message": "State was saved",
        "exit.time": 5,
    }
    assert "exit.time" not in exits.GONE.stats(None)
