"""What no unit test may do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from libvirt_exporter.hypervisor.connection import closing_peers

NO_DAEMON = re.compile(r"test:|::bad|.*\?socket=/nonexistent|[a-z+]+://127\.0\.0\.1:1/")
"""URIs that reach no libvirt beside the test driver: nothing listens on the port tcpmux."""


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory, in the place of the user's."""
    return tmp_path_factory.mktemp("nowhere")


@pytest.fixture(autouse=True)
def alone(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that opens the libvirt of this host or starts a process."""
    forbidden: list[str] = []

    def refuse(what: str) -> None:
        # Where the code under test takes every exception for an answer, the end of the test fails.
        forbidden.append(what)
        raise AssertionError(what)

    def guard(name: str) -> None:
        original = getattr(libvirt, name)

        def opened(uri: str | None = None, *more: Any) -> Any:
            if NO_DAEMON.match(uri or "") is None:
                refuse(f"libvirt.{name}({uri!r}) in a unit test")
            return original(uri, *more)

        monkeypatch.setattr(libvirt, name, opened)

    for name in ("open", "openReadOnly", "openAuth"):
        guard(name)
    monkeypatch.setattr(closing_peers, "SYSTEM", str(nowhere))
    monkeypatch.setattr(
        subprocess, "Popen", lambda *_, **__: refuse("a process in a unit test: see tests/process")
    )
    for variable in ("LIBVIRT_DEFAULT_URI", "LIBVIRT_AUTH_FILE", "LIBVIRT_DEBUG"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(nowhere))
    yield
    assert forbidden == []
