"""The pause code follows from the state, the disks' errors and the I/O error event."""

from __future__ import annotations

import pytest

from libvirt_exporter.catalogue.state import PAUSE_CODES
from libvirt_exporter.hypervisor.sources.pause_code import PauseCode, is_io_error, pause_code
from libvirt_exporter.model import REASONS, STATES

PAUSED = STATES.index("paused")
NUMBERS = {name: number for number, name in REASONS[PAUSED].items()}
IO_ERROR = NUMBERS["ioerror"]
UNSPECIFIED, NO_SPACE = 1, 2
"""virDomainDiskErrorCode."""

BY_REASON = {
    "watchdog": PauseCode.EOTHER,
    "crashed": PauseCode.EOTHER,
    "postcopy": PauseCode.POSTCOPY,
    "postcopy_failed": PauseCode.EOTHER,
}


@pytest.mark.parametrize("reason", sorted(NUMBERS.keys() - {"ioerror"}))
def test_reasons_other_than_an_io_error_decide_alone(reason: str) -> None:
    """What the disks or an earlier event said does not matter then."""
    expected = BY_REASON.get(reason, PauseCode.NOERR)

    assert pause_code(PAUSED, NUMBERS[reason], None, None) is expected
    assert pause_code(PAUSED, NUMBERS[reason], {"vda": NO_SPACE}, "enospc") is expected


@pytest.mark.parametrize("state", [name for name in STATES if name != "paused"])
def test_a_domain_that_is_not_paused_has_no_error(state: str) -> None:
    """Also when its reason has the number of an I/O error."""
    number = STATES.index(state)

    assert pause_code(number, IO_ERROR, {"vda": NO_SPACE}, "enospc") is PauseCode.NOERR
    assert not is_io_error(number, IO_ERROR)


def test_a_newer_reason_is_no_error() -> None:
    """Nothing is claimed of a number that this exporter does not know."""
    assert pause_code(PAUSED, 99, None, None) is PauseCode.NOERR


@pytest.mark.parametrize(
    ("disks", "event", "expected"),
    [
        ({"vda": NO_SPACE}, None, PauseCode.ENOSPC),
        ({"vda": UNSPECIFIED}, None, PauseCode.EIO),
        ({"vda": UNSPECIFIED, "vdb": NO_SPACE}, None, PauseCode.ENOSPC),
        ({"vda": UNSPECIFIED}, "enospc", PauseCode.EIO),
        ({"vda": NO_SPACE}, "other", PauseCode.ENOSPC),
        (None, "enospc", PauseCode.ENOSPC),
        (None, "other", PauseCode.EOTHER),
        ({}, "enospc", PauseCode.ENOSPC),
        ({}, "eio", PauseCode.EOTHER),
        ({}, None, PauseCode.EOTHER),
        (None, None, None),
    ],
)
def test_an_io_error_is_told_by_the_disks_else_by_the_event(
    disks: dict[str, int] | None, event: str | None, expected: PauseCode | None
) -> None:
    """The disks know best; without either the code is unknown, which is not NOERR."""
    assert pause_code(PAUSED, IO_ERROR, disks, event) is expected


def test_the_catalogue_names_every_code() -> None:
    """A number in the sample is the code of that name on the outside."""
    assert tuple(code.name for code in PauseCode) == PAUSE_CODES
    assert [code.value for code in PauseCode] == list(range(len(PAUSE_CODES)))
