"""Lists on the disk: whole, private, and gone with their VM."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from libvirt_exporter.hypervisor.sources.applications.store import Head, Store

ANN, BOB = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2))
HEAD = Head(hash="12ab", count=2, source="dpkg", mark="m", changed=1.5, read=2.5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "qemu:///system")


def test_a_list_outlives_the_process_and_only_its_owner_reads_it(
    store: Store, tmp_path: Path
) -> None:
    """What is said of it is known without its names; another host has another directory."""
    assert store.load() == {}
    assert store.write(ANN, HEAD, ["a-1", "b-2"])
    again = Store(str(tmp_path), "qemu:///system")

    assert again.load() == {ANN: HEAD}
    found = again.read(ANN)
    assert found is not None
    assert (found.hash, found.source, found.names) == ("12ab", "dpkg", ("a-1", "b-2"))
    (file,) = store.path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert store.path.stat().st_mode & 0o777 == 0o700
    assert Store(str(tmp_path), "qemu+tls://other/system").load() == {}


def test_a_list_is_replaced_and_removed(store: Store) -> None:
    """What is not there is none."""
    store.write(ANN, HEAD, ["a-1"])
    store.write(BOB, HEAD, ["b-1"])
    store.write(ANN, msgspec.structs.replace(HEAD, hash="34cd"), ["a-2"])
    store.remove([BOB, "00000000-0000-4000-8000-000000000003"])

    assert {uuid: head.hash for uuid, head in store.load().items()} == {ANN: "34cd"}
    assert store.read(BOB) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"{BOB}.json", b"{"),
        (f"{BOB}.json", b""),
        (f"{BOB}.json", b'{"version": 1}'),
        (f"{BOB}.json", msgspec.json.encode({"version": 2, **msgspec.structs.asdict(HEAD)})),
        (f"{BOB}.part", b"half"),
        ("other.json", b"{}"),
    ],
)
def test_what_is_of_no_use_is_removed(
    store: Store, caplog: pytest.LogCaptureFixture, name: str, content: bytes
) -> None:
    """The guest is asked again; the other lists stay."""
    store.write(ANN, HEAD, ["a-1"])
    (store.path / name).write_bytes(content)

    assert [*store.load()] == [ANN]
    assert [file.stem for file in store.path.iterdir()] == [ANN]
    assert name in caplog.text


def test_a_disk_that_fails_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And once more after it worked again."""
    (tmp_path / "file").touch()
    store = Store(str(tmp_path / "file"), "qemu:///system")
    with caplog.at_level(logging.WARNING):
        assert not store.write(ANN, HEAD, [])
        assert not store.write(ANN, HEAD, [])
    assert caplog.text.count("cannot be saved") == 1


@pytest.mark.parametrize("uuid", ["../../etc/passwd", "", "a", f"{ANN}/x"])
def test_nothing_but_a_uuid_names_a_file(store: Store, uuid: str) -> None:
    """Whoever asks by HTTP chooses the text."""
    assert store.read(uuid) is None
    assert not store.write(uuid, HEAD, [])
    store.remove([uuid])
