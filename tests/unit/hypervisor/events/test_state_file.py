"""What outlives the exporter, and what a damaged file costs."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.events import keeper as keeper_module
from libvirt_exporter.hypervisor.events import state_file as state_file_module
from libvirt_exporter.hypervisor.events.domain_history import DomainHistory, Record
from libvirt_exporter.hypervisor.events.history import EventHistory, Memory
from libvirt_exporter.hypervisor.events.keeper import HistoryKeeper
from libvirt_exporter.hypervisor.events.state_file import StateFile
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

URI = "qemu:///system"
UUID = "6e1f0a4c-9b8a-4c55-9d7e-6b7f0e7b1c11"
HISTORY = DomainHistory("wéb", counts={"watchdog.pause": 3}, last={"watchdog": 12})


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    """A file with a history in a directory of its own."""
    file = StateFile(str(tmp_path / "state"), URI)
    file.write(file.encode(Memory({UUID: HISTORY})))
    return file


def one_event(history: EventHistory) -> None:
    """Something to save."""
    history.record(Record("watchdog", UUID, "web", 12, (1,)), None)


def test_what_is_written_is_read(file: StateFile) -> None:
    """By the next exporter."""
    assert StateFile(str(file.path.parent), URI).load() == Memory({UUID: HISTORY})


def test_each_host_has_its_own_file(file: StateFile) -> None:
    """Another URI finds nothing, and spoils nothing."""
    other = StateFile(str(file.path.parent), "qemu+tls://node7/system")
    assert other.load() == Memory()
    other.write(other.encode(Memory()))
    assert file.load() == Memory({UUID: HISTORY})


def test_only_the_owner_may_read(file: StateFile) -> None:
    """Names of domains are nobody else's business, whatever the umask."""
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_a_new_file_replaces_the_old_one_as_a_whole(file: StateFile) -> None:
    """Whoever has opened the old one still reads it; nothing else is left in the directory."""
    with file.path.open() as old:
        file.write(file.encode(Memory()))
        assert UUID in old.read()
    assert file.load() == Memory()
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_a_link_put_in_the_way_is_not_followed(file: StateFile, tmp_path: Path) -> None:
    """Nor is a half-written file of an exporter that was killed a hindrance."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file.path.with_suffix(".part").symlink_to(victim)
    file.write(file.encode(Memory()))
    assert victim.read_text() == "precious"
    assert file.load() == Memory()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"version": 1}',
        b"[" * 100_000,
        json.dumps({"version": 2, "uri": URI, "domains": {}}).encode(),
        json.dumps({"version": 1, "uri": "xen:///system", "domains": {}}).encode(),
        json.dumps({"version": 1, "uri": URI, "domains": {UUID: {"name": 5}}}).encode(),
        json.dumps({"version": 1, "uri": URI, "domains": {}, "more": 1}).encode(),
    ],
)
def test_a_damaged_file_is_set_aside_with_one_warning(
    file: StateFile, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs its content and nothing else, and can be looked at later."""
    file.path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert file.load() == Memory()
        assert file.load() == Memory()
    assert len(caplog.records) == 1
    (aside,) = file.path.parent.iterdir()
    assert aside.name.startswith(f"{file.path.name}.damaged-")
    assert aside.name.removeprefix(f"{file.path.name}.damaged-").isdigit()
    assert aside.read_bytes() == content


def test_a_file_that_is_too_large_is_set_aside(
    file: StateFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not read any further than to its limit, nor written over."""
    monkeypatch.setattr(state_file_module, "MAX_SIZE", 1000)
    with file.path.open("wb") as sparse:
        sparse.truncate(10**12)
    assert file.load() == Memory()
    (aside,) = file.path.parent.iterdir()
    assert ".damaged-" in aside.name
    assert "larger than 1000 bytes" in caplog.text


@pytest.mark.parametrize("kind", ["device", "pipe", "directory"])
def test_what_is_no_file_is_not_read(
    file: StateFile, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor waited for; the reason is said, and counters start at 0."""
    file.path.unlink()
    if kind == "device":
        file.path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file.path)
    else:
        file.path.mkdir()
    assert file.load() == Memory()
    assert "cannot be read, counters of events start at 0" in caplog.text


@given(content=st.binary(max_size=200), position=st.integers(0, 150))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_can_do_harm(file: StateFile, content: bytes, position: int) -> None:
    """Whatever is written over a part of the file, loading gives histories or nothing."""
    whole = file.encode(Memory({UUID: HISTORY}))
    file.path.write_bytes(whole[:position] + content + whole[position + len(content) :])
    for history in file.load().domains.values():
        assert isinstance(history, DomainHistory)


def test_a_file_that_cannot_be_read_is_left_alone(
    file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory in its place, for one."""
    file.path.unlink()
    file.path.mkdir()
    assert file.load() == Memory()
    assert file.path.is_dir()
    assert len(caplog.records) == 1


async def test_a_directory_that_cannot_be_made_is_complained_of_at_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before anything has happened that would be lost."""
    keeper = HistoryKeeper(EventHistory(), StateFile("/proc/self/state", URI))
    await keeper.load()
    keeper.finish()
    assert await asyncio.to_thread(keeper.finished)
    assert "cannot be saved" in caplog.text


def test_a_disk_that_does_not_take_the_file_is_complained_of_once(
    file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it has taken one again."""
    content = file.encode(Memory())
    blocker = file.path.with_suffix(".part")
    for _ in range(2):
        blocker.mkdir()
        file.write(content)
        file.write(content)
        blocker.rmdir()
        file.write(content)
    assert len(caplog.records) == 2


async def test_without_a_file_nothing_is_kept_and_nobody_waits() -> None:
    """The default."""
    history = EventHistory()
    keeper = HistoryKeeper(history, None)
    assert keeper.loaded
    await keeper.load()
    one_event(history)
    keeper.finish()
    assert keeper.finished()


async def test_a_history_is_loaded_and_saved_at_the_end(file: StateFile) -> None:
    """From one exporter to the next."""
    history = EventHistory()
    keeper = HistoryKeeper(history, file)
    assert not keeper.loaded
    await keeper.load()
    assert keeper.loaded
    one_event(history)
    keeper.finish()
    assert await asyncio.to_thread(keeper.finished)
    assert file.load().domains[UUID].counts["watchdog.pause"] == 4


async def test_what_has_not_changed_is_not_written(file: StateFile) -> None:
    """An idle host leaves its disk alone."""
    os.utime(file.path, (1, 1))
    keeper = HistoryKeeper(EventHistory(), file)
    await keeper.load()
    keeper.finish()
    assert keeper.finished()
    assert file.path.stat().st_mtime == 1


def counts(file: StateFile, expected: int) -> bool:
    """Whether the file counts so many events."""
    return file.load().domains[UUID].counts["watchdog.pause"] == expected


async def test_changes_are_saved_now_and_then(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter that is killed loses little."""
    monkeypatch.setattr(keeper_module, "SAVE_INTERVAL", 0.01)
    history = EventHistory()
    keeper = HistoryKeeper(history, file)
    await keeper.load()
    task = asyncio.create_task(keeper.run())
    for count in (4, 5):
        one_event(history)
        await eventually(functools.partial(counts, file, count), f"{count} are saved")
    task.cancel()


async def test_what_a_full_disk_did_not_take_is_saved_when_there_is_space(
    file: StateFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Though nothing new happens any more: a counter must not be lower after a restart."""
    monkeypatch.setattr(keeper_module, "SAVE_INTERVAL", 0.01)
    history = EventHistory()
    keeper = HistoryKeeper(history, file)
    await keeper.load()
    full = file.path.with_suffix(".part")
    full.mkdir()
    one_event(history)
    task = asyncio.create_task(keeper.run())
    await eventually(lambda: caplog.records, "a failure is logged")
    assert file.load() == Memory({UUID: HISTORY})
    full.rmdir()
    await eventually(lambda: counts(file, 4), "they are saved")
    task.cancel()


class HungDisk(StateFile):
    """A file on a disk that does not answer until it is told to."""

    def __init__(self, file: StateFile) -> None:
        super().__init__(str(file.path.parent), URI)
        self.answers = threading.Event()
        self.writes = 0

    def load(self) -> Memory:
        self.answers.wait()
        return super().load()

    def write(self, content: bytes) -> bool:
        self.writes += 1
        self.answers.wait()
        return super().write(content)


async def test_a_disk_that_hangs_at_the_start_costs_the_history_only(
    file: StateFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it still holds is not overwritten by counters that started at 0."""
    monkeypatch.setattr(keeper_module, "LOADING_TIME", 0.05)
    hung = HungDisk(file)
    history = EventHistory()
    keeper = HistoryKeeper(history, hung)
    await keeper.load()
    assert keeper.loaded
    assert "not saved" in caplog.text
    one_event(history)
    hung.answers.set()
    keeper.finish()
    assert await asyncio.to_thread(keeper.finished)
    assert file.load() == Memory({UUID: HISTORY})
    assert history.memory.domains[UUID].counts["watchdog.pause"] == 1


async def test_a_disk_that_hangs_later_holds_up_neither_the_loop_nor_the_end(
    file: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do savings pile up behind the one that hangs."""
    monkeypatch.setattr(keeper_module, "SAVE_INTERVAL", 0.0)
    hung = HungDisk(file)
    hung.answers.set()
    history = EventHistory()
    keeper = HistoryKeeper(history, hung)
    await keeper.load()
    hung.answers.clear()
    task = asyncio.create_task(keeper.run())
    one_event(history)
    await eventually(lambda: hung.writes, "the disk is written to")
    for _ in range(10):
        one_event(history)
        await asyncio.sleep(0)
    assert hung.writes == 1
    task.cancel()
    keeper.finish()
    assert not keeper.finished()
    hung.answers.set()
