"""The command `demo`: exporter, Prometheus and Alertmanager over a host that is invented."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.request import ProxyHandler, build_opener

from libvirt_exporter.commands import output
from libvirt_exporter.commands.output import failed, printable
from libvirt_exporter.commands.shipped import FILES, NOT_SHIPPED, find

URI: Final = "demo:///"

_HOST: Final = "127.0.0.1"
_READY_WITHIN: Final = 60.0
_ENDS_WITHIN: Final = 10.0
_LAST_LINES: Final = 5
_LONGEST_BODY: Final = 1 << 20

_PROMETHEUS: Final = ("prometheus",)
_ALERTMANAGER: Final = ("alertmanager", "prometheus-alertmanager")
"""What the programs are called, by their makers and by Debian."""
_PORTS: Final = {"exporter": 9177, "prometheus": 9090, "alertmanager": 9093}
"""Those that are taken if they are free."""

_QUICKER: Final[Mapping[str, Mapping[str, str]]] = {
    "scrape": {
        "scrape_interval: 30s": "scrape_interval: 5s",
        "evaluation_interval: 30s": "evaluation_interval: 5s",
        "scrape_timeout: 10s": "scrape_timeout: 5s",
    },
    "alertmanager": {
        "group_wait: 30s": "group_wait: 5s",
        "group_interval: 5m": "group_interval: 15s",
    },
}
"""What is put in place of what in the shipped examples, so that a person need not wait long."""
_ADDRESSES: Final[Mapping[str, Mapping[str, str]]] = {
    "scrape": {
        "rules/*.yml": "{rules}/*.yml",
        "localhost:9093": "{alertmanager}",
        "localhost:9177": "{exporter}",
    },
    "alertmanager": {"localhost:8080": "{receiver}"},
}


class DemoError(Exception):
    """The demo cannot be shown, or has come to an end by itself."""


class _Program(NamedTuple):
    name: str
    address: str
    command: Sequence[str]


def demo(arguments: Namespace) -> int:
    """Show the demo until a signal ends it."""
    directory = find()
    if directory is None:
        return failed(NOT_SHIPPED)
    try:
        show(directory, lambda line: output.show(f"{line}\n"))
    except DemoError as error:
        return failed(error)
    return 0


def configuration(text: str, of: str, addresses: Mapping[str, str]) -> str:
    """A shipped example (`scrape`, `alertmanager`) with the demo's addresses and shorter times.

    Raises KeyError for an example without what is to be replaced.
    """
    for example, own in {**_QUICKER[of], **_ADDRESSES[of]}.items():
        if example not in text:
            raise KeyError(example)
        text = text.replace(example, own.format_map(addresses))
    return text


def show(files: Path, say: Callable[[str], None]) -> None:
    """Show the demo until SIGINT or SIGTERM. Raises DemoError.

    `files`: the directory of the shipped files. `say` writes a line for a person.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    prometheus, alertmanager = _found(_PROMETHEUS), _found(_ALERTMANAGER)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="libvirt-demo-")))
        addresses = {name: f"{_HOST}:{_port(port)}" for name, port in _PORTS.items()}
        addresses["rules"] = str(files / FILES["rules"][0])
        addresses["receiver"] = stack.enter_context(_receiver(say))
        programs = [_exporter(addresses["exporter"])]
        if prometheus and alertmanager:
            for of in _QUICKER:
                text = (files / FILES[of][0]).read_text("utf-8")
                (directory / f"{of}.yml").write_text(configuration(text, of, addresses), "utf-8")
            programs += [
                _alertmanager(alertmanager, addresses["alertmanager"], directory),
                _prometheus(prometheus, addresses["prometheus"], directory),
            ]
        running = _Running(programs, directory)
        stack.callback(running.end)
        if not running.ready(stop):
            return
        for line in _welcome(programs):
            say(line)
        running.watch(stop)


def _found(names: Iterable[str]) -> str:
    """The path of the first of the programs that there is; '' without one."""
    return next((path for name in names if (path := shutil.which(name))), "")


def _port(wanted: int) -> int:
    """The port if nobody has it, else one that nobody has."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server((_HOST, port)) as free:
            return int(free.getsockname()[1])
    raise DemoError("no port of the loopback is free")


def _exporter(address: str) -> _Program:
    command = (sys.executable, "-m", "libvirt_exporter", f"--libvirt.uri={URI}")
    return _Program("exporter", address, (*command, f"--web.listen-address={address}"))


def _alertmanager(program: str, address: str, directory: Path) -> _Program:
    command = (
        program,
        f"--config.file={directory / 'alertmanager.yml'}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    return _Program("Alertmanager", address, command)


def _prometheus(program: str, address: str, directory: Path) -> _Program:
    command = (
        program,
        f"--config.file={directory / 'scrape.yml'}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address={address}",
    )
    return _Program("Prometheus", address, command)


def _welcome(programs: Sequence[_Program]) -> Iterator[str]:
    yield "Everything here is invented: the host, its twelve VMs and all their figures."
    yield "Every twelve minutes there are a migration, a full disk, a watchdog and a backup."
    for program in programs:
        yield f"{program.name + ':':14}http://{program.address}/"
    if len(programs) == 1:
        yield (
            "Prometheus and Alertmanager are not installed here; with them the demo shows alerts "
            "too. On Debian: apt-get install prometheus prometheus-alertmanager"
        )
    else:
        yield "Below are Alertmanager's notifications, to the pager or to tickets."
    yield "Ctrl-C stops all of it."


class _Running:
    """The programs as processes, started by the constructor."""

    def __init__(self, programs: Sequence[_Program], directory: Path) -> None:
        self._programs = programs
        self._logs = [directory / f"{program.name}.log" for program in programs]
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for program, log in zip(programs, self._logs, strict=True):
                self._start(program, log)
        except BaseException:
            self.end()
            raise

    def _start(self, program: _Program, log: Path) -> None:
        with log.open("wb") as output:
            process = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process, which ends the others in its own time.
                start_new_session=True,
            )
        self._processes.append(process)

    def ready(self, stop: threading.Event) -> bool:
        """Wait until all are ready; False when they need not be any more. Raises DemoError."""
        until = time.monotonic() + _READY_WITHIN
        for program in self._programs:
            while not _is_ready(program.address):
                self._check()
                if stop.wait(0.2):
                    return False
                if time.monotonic() > until:
                    raise DemoError(f"{program.name} was not ready within {_READY_WITHIN:g} s")
        return True

    def watch(self, stop: threading.Event) -> None:
        """Wait until they are to end. Raises DemoError when one has ended by itself."""
        while not stop.wait(0.5):
            self._check()

    def _check(self) -> None:
        for program, process, log in zip(self._programs, self._processes, self._logs, strict=True):
            if process.poll() is not None:
                last = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
                words = "\n".join((f"{program.name} ended; its last output:", *last))
                raise DemoError(words)

    def end(self) -> None:
        """End them all, by force if they take long."""
        for process in self._processes:
            process.terminate()
        until = time.monotonic() + _ENDS_WITHIN
        for process in self._processes:
            try:
                process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(address: str) -> bool:
    # A proxy of this user's does not reach the loopback of this host.
    direct = build_opener(ProxyHandler({}))
    with contextlib.suppress(OSError), direct.open(f"http://{address}/-/ready", timeout=2):
        return True
    return False


@contextlib.contextmanager
def _receiver(say: Callable[[str], None]) -> Iterator[str]:
    """The address of who says what Alertmanager sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            for line in told(self.path, json.loads(self.rfile.read(min(length, _LONGEST_BODY)))):
                say(line)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((_HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="receiver", daemon=True).start()
        try:
            yield f"{_HOST}:{server.server_port}"
        finally:
            server.shutdown()


def told(path: str, notification: Mapping[str, Any]) -> Iterator[str]:
    """A line for each alert of a notification that came to the path of a receiver."""
    for alert in notification.get("alerts", ()):
        name = alert.get("labels", {}).get("alertname", "")
        summary = alert.get("annotations", {}).get("summary", "")
        clock = time.strftime("%H:%M:%S")
        yield printable(f"{clock} {path.strip('/')}: {alert.get('status')}: {summary} ({name})")
