"""Numbers and sizes as libvirt's XML spells them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.domains.xml_values import (
    MAX_CPUS,
    cpu_set,
    integer,
    number,
    scaled,
    scaled_bytes,
)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        (None, 1024),
        ("", 1024),
        *((unit, 1) for unit in ("b", "B", "byte", "bytes", "Bytes")),
        *((unit, 1024) for unit in ("k", "K", "KiB", "kib")),
        ("KB", 1000),
        ("kb", 1000),
        ("M", 1 << 20),
        ("MiB", 1 << 20),
        ("MB", 10**6),
        ("GiB", 1 << 30),
        ("GB", 10**9),
        ("T", 1 << 40),
        ("PiB", 1 << 50),
        ("E", 1 << 60),
    ],
)
def test_a_scaled_integer_has_the_factor_of_its_unit(unit: str | None, factor: int) -> None:
    """Units follow libvirt's scaled integers: letters and iB binary, B decimal, none is KiB."""
    assert scaled_bytes("3", unit) == 3 * factor


@pytest.mark.parametrize("unit", ["KiBi", "Z", "bits", "iB", "K B", "\N{KELVIN SIGN}"])
def test_an_unknown_unit_gives_nothing(unit: str) -> None:
    """A size in a unit that libvirt does not have is no size."""
    assert scaled_bytes("3", unit) is None


@pytest.mark.parametrize("text", [None, "", " ", "x", "1e3", "0x10", "1_000", "٣", "1.5", "9" * 20])
def test_what_is_no_integer_gives_nothing(text: str | None) -> None:
    """Other spellings, other digits and what needs more than 64 bits are no integers."""
    assert integer(text) is None


@pytest.mark.parametrize("text", [None, "", "nan", "inf", "1e400", "1e9999", "1,5", ".", "9" * 400])
def test_what_is_no_number_gives_nothing(text: str | None) -> None:
    """Neither NaN nor infinity gets in, by whatever spelling."""
    assert number(text) is None


def test_a_negative_count_of_units_gives_nothing() -> None:
    """A size below zero is no size."""
    assert scaled("-1", 1024) is None


def test_a_size_beyond_64_bits_gives_nothing() -> None:
    """A product that does not fit is dropped, not wrapped."""
    assert scaled_bytes("9", "EiB") is None


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1))
def test_every_64_bit_integer_is_read(value: int) -> None:
    """Integers survive, with the space that XML puts around them, and JSON can carry them."""
    assert integer(f"\n  {value} ") == value
    assert msgspec.json.decode(msgspec.json.encode(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_writes_is_read(value: float) -> None:
    """Numbers survive in the shortest form, which has an exponent when they are large or small."""
    assert number(f" {value!r}\n") == value


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", ()),
        ("0", (0,)),
        ("8,0-3,^2", (0, 1, 3, 8)),
        (" 1 , 3-4", (1, 3, 4)),
        (f"{MAX_CPUS - 1}", (MAX_CPUS - 1,)),
        (f"0-{MAX_CPUS}", None),
        ("0-4294967295", None),
        ("3-1", None),
        ("1,", None),
        ("a", None),
        ("-1", None),
        ("^", None),
    ],
)
def test_a_set_of_cpus_is_read_in_libvirts_form(text: str, cpus: tuple[int, ...] | None) -> None:
    """Ranges and exceptions count; what is no such set, or without end, is none."""
    assert cpu_set(text) == cpus
