"""What is made of an agent's answers, whatever they hold."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.sources.applications import answers
from libvirt_exporter.hypervisor.sources.applications.answers import (
    LONGEST_ENTRY,
    MOST_ENTRIES,
    Abilities,
    GuestError,
    System,
)
from libvirt_exporter.hypervisor.sources.applications.recipes import UNIX, WINDOWS, Recipe

DPKG = """\
install ok installed\tbash-5.2.15-2
hold ok half-configured\tapt-2.6.1
deinstall ok config-files\tnano-7.2-1
unknown ok not-installed\tvim-
"""
RECIPES = {recipe.name: recipe for recipe in (*UNIX, WINDOWS)}


def ended(output: str | bytes, status: int = 0) -> dict[str, Any]:
    """The answer about a program that wrote this."""
    data = output.encode() if isinstance(output, str) else output
    return {"exited": True, "exitcode": status, "out-data": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    ("name", "output", "entries"),
    [
        (
            "dpkg",
            DPKG,
            ("apt-2.6.1", "bash-5.2.15-2"),
        ),
        ("rpm", "bash-5.2-1.el9\ngpg-pubkey-1-2\n", ("bash-5.2-1.el9", "gpg-pubkey-1-2")),
        ("apk", "musl-1.2.5-r1\nbusybox-1.36.1-r29\n", ("busybox-1.36.1-r29", "musl-1.2.5-r1")),
        ("pacman", "linux 6.9.1.arch1-1\n", ("linux-6.9.1.arch1-1",)),
        ("windows", "7-Zip 24.07 (x64)\t24.07\r\nTool\t\r\n", ("7-Zip 24.07 (x64)-24.07", "Tool")),
    ],
)
def test_lists_are_read_as_each_package_manager_writes_them(
    name: str, output: str, entries: tuple[str, ...]
) -> None:
    """As name-version, sorted; what is removed is not there."""
    found = answers.listing(RECIPES[name])(ended(output))

    assert found is not None
    assert found.entries == entries
    written = "".join(f"{entry}\n" for entry in entries)
    assert found.hash == hashlib.sha256(written.encode()).hexdigest()


@given(st.binary(max_size=200), st.sampled_from([*RECIPES.values()]))
def test_whatever_a_guest_lists_is_bounded_text_of_one_line_each(
    output: bytes, recipe: Recipe
) -> None:
    """No control character, nothing that is no UTF-8."""
    found = answers.listing(recipe)(ended(output))

    assert found is not None
    assert list(found.entries) == sorted(found.entries)
    for entry in found.entries:
        assert entry.isprintable() or "\ufffd" in entry
        assert not {*"\n\r\t\0"} & {*entry}
        assert 0 < len(entry) <= LONGEST_ENTRY
        entry.encode()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        (ended("x\n" * (MOST_ENTRIES + 2)), "more than"),
        (ended("x\n", 1), "failed with status 1"),
        ({"exited": True, "out-data": "no base 64"}, "not base64"),
        ({"exited": True, "exitcode": 0, "out-data": 7}, "too long"),
        ({"exited": True, "exitcode": 0, "out-data": "A" * (8 << 20)}, "too long"),
        (ended("x\n") | {"out-truncated": True}, "exceeds the agent's limit"),
        ({"exited": True, "signal": 9}, "failed with status -1"),
    ],
)
def test_what_is_no_list_is_refused(answer: Any, message: str) -> None:
    """With a reason for the operator."""
    with pytest.raises(GuestError, match=message):
        answers.listing(RECIPES["rpm"])(answer)


def test_a_program_that_runs_has_no_outcome() -> None:
    """Whatever else the answer says."""
    assert answers.outcome({"exited": False, "out-data": "eA=="}) is None
    assert answers.outcome({}) is None
    assert answers.outcome({"exited": "yes"}) is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "enabled", "version", "supported_commands", "id", "pid", "exited"]
            )
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
)


@given(_json)
def test_no_answer_makes_a_reader_raise_anything_else(answer: Any) -> None:
    """It is a GuestError, or what the reader promises."""
    for read in (answers.abilities, answers.system, answers.process, answers.outcome):
        try:
            read(answer)
        except GuestError:
            continue


def test_an_agent_says_what_it_may_do() -> None:
    """Both commands must be there and enabled."""
    commands = [{"name": "guest-exec", "enabled": True}]
    blocked = [*commands, {"name": "guest-exec-status", "enabled": False}]
    allowed = [*commands, {"name": "guest-exec-status", "enabled": True}]

    def told(supported: object) -> Abilities:
        return answers.abilities({"version": "7.2.0", "supported_commands": supported})

    assert told(blocked) == told(commands) == told(None) == Abilities("7.2.0", False)
    assert told(allowed) == Abilities("7.2.0", True)
    facts = answers.Facts(*told(allowed), *System("debian", "6.1.0-57-amd64"))
    assert facts.fallback == ("kernel-6.1.0-57-amd64", "qemu-guest-agent-7.2.0")


def test_the_mark_of_unix_is_that_of_the_first_package_manager_with_a_database() -> None:
    """Another time, size or inode is another mark; an empty database is none."""
    dpkg = b"/var/lib/dpkg/status 1700000000 1700000001 932088 77\n"
    rpm = b"/var/lib/rpm/rpmdb.sqlite 1700000000 1700000001 4096 78\n"
    empty = b"/var/lib/dpkg/status 1700000000 1700000001 0 77\n"

    found = answers.unix_mark(rpm + dpkg)
    assert found is not None
    assert found[0].name == "dpkg"
    assert found == answers.unix_mark(dpkg)
    for other in (b"1700000002 1700000001 932088 77", b"1700000000 1700000001 932089 77"):
        moved = answers.unix_mark(b"/var/lib/dpkg/status " + other)
        assert moved is not None
        assert moved[1] != found[1]
    on_fedora = answers.unix_mark(empty + rpm)
    assert on_fedora is not None
    assert on_fedora[0].name == "rpm"
    assert answers.unix_mark(empty) is None
    assert answers.unix_mark(b"garbage\n/etc/passwd 1 2 3 4\n") is None
