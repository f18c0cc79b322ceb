"""A private libvirtd: its own sockets and state, safe to kill, freeze and restart.

What keeps daemons apart: a privileged libvirtd has the paths of its state compiled in
(/run/libvirt, /var/lib/libvirt, /etc/libvirt …; no option moves them), so each runs in a mount
namespace in which directories of its own lie over these paths. Files elsewhere, processes and the
network are the host's, so images, pids and /proc look the same inside and outside. This was chosen
over a session daemon because only a privileged one has taps, a read-only socket and the layout
that operators have. Where that is not possible (not root, or a container that forbids `unshare`)
a session daemon takes its place, which XDG directories keep apart: no taps, and read-only only by
the client's wish.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote

import libvirt

from tests.lab import keeper
from tests.support.waiting import wait_until

ANSWER_WITHIN = 30.0
"""Seconds until a started daemon must answer; it takes 0.1."""

SESSION_USER = 65534
"""The user of session daemons when the tests run as root (`nobody`)."""

PROGRAMS = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""Search path; an ordinary user's may lack the directories of daemons."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "/var/tmp"), f"libvirt-exporter-{os.geteuid()}")
"""What is dear to make and outlives the tests."""


def exchange(source: Path, target: Path) -> None:
    """Copy the files of `source`, if there is such a directory, to `target`, each atomically."""
    for path in source.glob("*.xml"):
        part = target / f".{path.name}.{os.getpid()}"
        shutil.copyfile(path, part)
        part.replace(target / path.name)


@functools.cache
def can_run_privileged() -> bool:
    """Whether this process may give a libvirtd a mount namespace of its own."""
    if os.geteuid() != 0:
        return False
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "lab", "/run"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


class PrivateLibvirtd:
    """A libvirtd of the tests' own, started by the constructor; a context manager that clears up.

    Domains survive `stop`, `kill` and `restart`, as they do on a host. `close` ends them all. Only
    processes of this daemon are ever signalled. `privileged=False` asks for a session daemon,
    `containers=True` for the LXC driver, which needs a privileged one.
    """

    root: Path
    """Holds all of its state; removed by `close`."""
    uri: str
    """Read-write, `qemu+unix:///system?socket=…`."""
    read_only_uri: str
    """The read-only socket; a session daemon has none, so the same as `uri` there."""
    socket_directory: Path
    images: Path
    """For disk images."""
    log: Path
    """The daemon's log, warnings and errors."""
    pid: int
    """The daemon's process id."""
    pid_files: Path
    """The directory of `<name>.pid`: /run/libvirt/qemu, as seen from outside of the namespace."""

    def __init__(
        self,
        *,
        privileged: bool | None = None,
        containers: bool = False,
        watches_monitors: bool = False,
        listens: str = "",
    ) -> None:
        """`watches_monitors`: keep a log of what is sent to QEMUs, for `monitor_commands`.

        `listens`: what libvirtd.conf says of TCP and TLS, if the daemon is to listen for them.
        """
        self.privileged = can_run_privileged() if privileged is None else privileged
        self._containers = containers
        if shutil.which("libvirtd", path=PROGRAMS) is None:
            raise RuntimeError(
                "libvirtd is not installed: apt-get install "
                "libvirt-daemon-system qemu-system-x86 qemu-utils"
            )
        libvirt.registerErrorHandler(lambda *_: None, None)
        self._serial = itertools.count()
        # Short, because sockets below it must fit in the 108 bytes of a socket address.
        self.root = Path(tempfile.mkdtemp(prefix="lab-"))
        self.socket_directory = self.root / "socket"
        self.images = self.root / "images"
        self.log = self.root / "libvirtd.log"
        self._monitor_log = self.root / "monitors.log"
        self._watches_monitors = watches_monitors
        self._listens = listens
        self._output = self.root / "libvirtd.out"
        self._process: int | None = None
        self._connection: libvirt.virConnect | None = None
        for name in (*keeper.STATE, "socket", "images", "home"):
            (self.root / name).mkdir()
        self._write_configuration()
        self._keeper = self._start_keeper()
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def _write_configuration(self) -> None:
        instance = "system" if self.privileged else "session"
        socket = quote(f"{self.socket_directory}/libvirt-sock")
        driver = "lxc" if self._containers else "qemu"
        self.uri = f"{driver}+unix:///{instance}?socket={socket}"
        self.read_only_uri = f"{self.uri}-ro" if self.privileged else self.uri
        # No virtlogd; no /dev of each QEMU's own, which containers may forbid.
        settings = 'stdio_handler = "file"\nsecurity_driver = "none"\nnamespaces = []\n'
        if self.privileged:
            settings += 'user = "root"\ngroup = "root"\ndynamic_ownership = 0\n'
            configuration = self.root / "etc"
            self.pid_files = self.root / "run/qemu"
            self._capabilities = self.root / "cache/qemu/capabilities"
        else:
            configuration = self.root / "etc/libvirt"
            self.pid_files = self.root / "run/libvirt/qemu/run"
            self._capabilities = self.root / "cache/libvirt/qemu/cache/capabilities"
        configuration.mkdir(exist_ok=True)
        (configuration / "qemu.conf").write_text(settings)
        self._capabilities.mkdir(parents=True)
        # Without them libvirt 9.0 probes each QEMU binary for 4 s; it checks that they still hold.
        self._kept_capabilities = CACHE / instance
        exchange(self._kept_capabilities, self._capabilities)
        (self.root / "libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.socket_directory}"\n'
            'auth_unix_ro = "none"\n'
            'auth_unix_rw = "none"\n'
            f'host_uuid = "{uuid.uuid4()}"\n{self._listens}' + self._logging()
        )
        self.root.chmod(0o711)
        if not self.privileged and os.geteuid() == 0:
            for path in (self.root, *self.root.rglob("*")):
                os.chown(path, SESSION_USER, SESSION_USER)

    def _logging(self) -> str:
        outputs = f"3:file:{self.log}"
        if not self._watches_monitors:
            return f'log_outputs = "{outputs}"\n'
        outputs += f" 1:file:{self._monitor_log}"
        return f'log_outputs = "{outputs}"\nlog_filters = "1:qemu.qemu_monitor"\n'

    def monitor_commands(self) -> list[tuple[str, str]]:
        """What was sent to QEMUs so far: libvirt's address of the monitor, and the command."""
        sent = r'QEMU_MONITOR_SEND_MSG: mon=(\S+) msg=\{"execute":"([^"]+)"'
        return re.findall(sent, self._monitor_log.read_text(errors="replace"))

    def _start_keeper(self) -> subprocess.Popen[str]:
        environment = {"PATH": PROGRAMS, "LC_ALL": "C.UTF-8"}
        command = [sys.executable, keeper.__file__, str(self.root)]
        if self.privileged:
            kind = "containers" if self._containers else "system"
            command = ["unshare", "--mount", *command, kind]
        else:
            command = [*command, "session"]
            environment |= {
                "HOME": str(self.root / "home"),
                "XDG_RUNTIME_DIR": str(self.root / "run"),
                "XDG_CONFIG_HOME": str(self.root / "etc"),
                "XDG_CACHE_HOME": str(self.root / "cache"),
                "XDG_DATA_HOME": str(self.root / "lib"),
            }
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            shutil.rmtree(self.root)
            raise RuntimeError("the lab's keeper did not start")
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the daemon and its domains, remove `root`; may be called twice."""
        assert self._keeper.stdin is not None
        if not self._keeper.stdin.closed:
            self._kept_capabilities.mkdir(parents=True, exist_ok=True)
            exchange(self._capabilities, self._kept_capabilities)
            self._keeper.stdin.close()
        assert self._keeper.wait(timeout=30) == 0, f"{self.root} was not cleared"
        self._forget_process()

    # The daemon

    def start(self) -> None:
        """Start the daemon, which must not be running, and wait until it answers."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        assert self._process is None, "libvirtd is running"
        command = ["libvirtd", "--config", str(self.root / "libvirtd.conf")]
        if self._listens:
            command.append("--listen")
        if not self.privileged:
            command = [*self.enter, *command]
        self._keeper.stdin.write(f"{json.dumps(command)}\n")
        self._keeper.stdin.flush()
        self.pid = int(self._keeper.stdout.readline())
        try:
            self._process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise RuntimeError(f"libvirtd did not start: {self.log_text()}") from None
        wait_until(self._answers, f"{self.uri} answers; see {self.log}", ANSWER_WITHIN)

    def wait_for_monitors(self) -> None:
        """Wait until it has found all its QEMUs again, which it does after it answers."""
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        flags |= libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE

        def answered() -> bool:
            # Without the monitor a disk has its names, and none of its figures.
            rows = self.connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK, flags)
            return all("block.0.rd.bytes" in stats for _, stats in rows if stats["block.count"])

        wait_until(answered, "libvirtd has its monitors back", 30)

    def _answers(self) -> bool:
        assert not self._ended(within=0), f"libvirtd ended: {self.log_text()}"
        with contextlib.suppress(libvirt.libvirtError):
            self.connect(read_only=True).close()
            return True
        return False

    def log_text(self) -> str:
        """What the daemon has logged, and what it said before it could."""
        return "".join(
            path.read_text(errors="replace") for path in (self._output, self.log) if path.exists()
        )

    def connect(self, *, read_only: bool = False) -> libvirt.virConnect:
        """Open a connection; it does not survive a restart of the daemon."""
        if read_only:
            return libvirt.openReadOnly(self.read_only_uri)
        return libvirt.open(self.uri)

    @property
    def connection(self) -> libvirt.virConnect:
        """A read-write connection to work with, a new one after each end of the daemon."""
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def stop(self) -> None:
        """End the daemon as an init system does (SIGTERM, SIGKILL after 10 s); domains live on."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        self._ended(within=10)
        self.kill()

    def kill(self) -> None:
        """End the daemon with SIGKILL; domains live on."""
        self._signal(signal.SIGKILL)
        assert self._ended(within=10), "libvirtd survives SIGKILL"
        self._forget_process()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def _ended(self, within: float) -> bool:
        """Whether the daemon has ended after at most `within` seconds."""
        if self._process is None:
            return True
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def _forget_process(self) -> None:
        if self._process is not None:
            os.close(self._process)
        self._process = None
        self._connection = None

    def restart(self) -> None:
        """Stop the daemon where it still runs, and start it again."""
        self.stop()
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the daemon with SIGSTOP: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    # Its domains

    def qemu_pid(self, domain: libvirt.virDomain) -> int:
        """The process id of a running domain's QEMU; LookupError where there is none."""
        wanted = b"\0-uuid\0" + domain.UUIDString().encode() + b"\0"
        for pid in keeper.descendants(self._keeper.pid):
            with contextlib.suppress(OSError):
                if wanted in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        raise LookupError(f"no QEMU process of {domain.name()!r}")

    @contextlib.contextmanager
    def hung(self, *domains: libvirt.virDomain) -> Iterator[None]:
        """Hang the domains' QEMU processes with SIGSTOP, until the end of the block."""
        pids = {self.qemu_pid(domain) for domain in domains}
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids & keeper.descendants(self._keeper.pid):
                os.kill(pid, signal.SIGCONT)

    def crash(self, domain: libvirt.virDomain) -> None:
        """End a domain's QEMU with SIGKILL."""
        os.kill(self.qemu_pid(domain), signal.SIGKILL)

    # Its place on the host

    @property
    def enter(self) -> list[str]:
        """Prefix of a command that is to run where the daemon runs.

        A program started so finds /run/libvirt/qemu/<name>.pid and the file systems of
        `small_file_system`. It is the caller's to end.
        """
        if self.privileged:
            return ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt"]
        if os.geteuid() == 0:
            user = str(SESSION_USER)
            return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        return []

    def inside(self, *command: str) -> str:
        """Run a command where the daemon runs and return its output."""
        return subprocess.run(
            [*self.enter, *command], check=True, capture_output=True, text=True
        ).stdout

    def small_file_system(self, size: int) -> Path:
        """Mount a tmpfs of `size` bytes; only the daemon's side sees it. Needs a privileged one."""
        path = f"/run/small-{next(self._serial)}"
        self.inside("mkdir", path)
        self.inside("mount", "-t", "tmpfs", "-o", f"size={size}", "lab", path)
        return Path(path)

    def grow_file_system(self, path: Path, size: int) -> None:
        """Give a `small_file_system` `size` bytes."""
        self.inside("mount", "-o", f"remount,size={size}", str(path))

    def unused_name(self, prefix: str) -> str:
        """A name nobody else on this host uses, short enough for a network device."""
        return f"{prefix}{self.root.name[4:]}{next(self._serial)}"
