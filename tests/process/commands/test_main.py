"""The command, run as its users run it: libvirt's test driver behind it, sockets in front."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import bcrypt
import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from libvirt_exporter import __version__
from libvirt_exporter.catalogue import METRICS
from libvirt_exporter.commands import main as cli
from libvirt_exporter.config import FLAGS
from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[3]
DEMO = f"test://{quote(str(ROOT))}/tests/support/test_driver_host.xml"
AWAY = "qemu+unix:///system?socket=/nonexistent/socket"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}

COMMAND = [sys.executable, "-m", "libvirt_exporter"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "exporter")}


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command's outcome."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@dataclass
class Server:
    """A running exporter."""

    process: subprocess.Popen[bytes]
    log: Path
    address: str = ""

    def lines(self) -> list[dict[str, str]]:
        """What has been logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def logged(self, text: str, *, after: int = 0) -> str:
        """Wait for a message that holds the text, beyond the first `after` lines."""

        def found() -> str:
            return next((line["msg"] for line in self.lines()[after:] if text in line["msg"]), "")

        return wait_until(found, f"the message {text!r}")

    def get(self, path: str, **headers: str) -> httpx.Response:
        """The answer to a request."""
        return httpx.get(self.address + path, headers=headers, timeout=30)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Exit status after a signal, and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(10), time.monotonic() - started


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts exporters on free ports; what still runs afterwards is killed."""
    servers: list[Server] = []

    def start(*arguments: str | Path, started: Callable[[int], object] = int) -> Server:
        log = tmp_path / f"log-{len(servers)}"
        flags = ("--web.listen-address=127.0.0.1:0", "--log.format=json")
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*COMMAND, *flags, *arguments], env=ENVIRONMENT, stderr=stderr
            )
        server = Server(process, log)
        servers.append(server)
        started(process.pid)
        message = server.logged(" on http")
        server.address = message.rpartition(" ")[2].rstrip("/")
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


# serve


@pytest.mark.parametrize("uri", ["test:///default", DEMO], ids=["default", "demo"])
def test_metrics_are_read_by_prometheus_parsers_in_both_formats(
    start: Callable[..., Server], uri: str
) -> None:
    """Either format parses, says that libvirt is up, and has the series of every running VM."""
    server = start(f"--libvirt.uri={uri}")

    text = server.get("/metrics")
    openmetrics = server.get("/metrics", **OPENMETRICS)

    for families in (
        {family.name: family for family in parse_text(text.text)},
        {
            family.name: family
            for family in parse_openmetrics(openmetrics.text)  # type: ignore[no-untyped-call]
        },
    ):
        assert [sample.value for sample in families["libvirt_up"].samples] == [1.0]
        running = {
            sample.labels["domain"]
            for sample in families["libvirt_domain_state"].samples
            if sample.labels["state"] == "running" and sample.value == 1
        }
        cpu = {sample.labels["domain"] for sample in families["libvirt_domain_cpu_seconds"].samples}
        assert running
        assert running <= cpu
        assert "libvirt_domain_info" in families
        assert "process_cpu_seconds" in families


def test_ready_after_the_first_sample_without_a_scrape(start: Callable[..., Server]) -> None:
    """The exporter samples once by itself; then it is ready."""
    server = start(f"--libvirt.uri={DEMO}")

    wait_until(lambda: server.get("/-/ready").status_code == 200, "it is ready")


def test_page_lists_the_vms(start: Callable[..., Server]) -> None:
    """A person who opens the address finds the VMs."""
    page = start(f"--libvirt.uri={DEMO}").get("/")

    assert page.status_code == 200
    assert "db-primary" in page.text


def test_bad_request_is_told_what_is_wrong(start: Callable[..., Server]) -> None:
    """An unknown group and a contradiction are the client's mistake: 400, in words."""
    server = start(f"--libvirt.uri={DEMO}")

    unknown = server.get("/metrics?collect[]=blok")
    both = server.get("/metrics?collect[]=block&exclude[]=vcpu")

    assert (unknown.status_code, both.status_code) == (400, 400)
    assert "blok" in unknown.text
    assert "did you mean block?" in unknown.text
    assert "collect[] and exclude[] cannot be combined" in both.text


def test_start_is_logged_with_version_uri_and_address(start: Callable[..., Server]) -> None:
    """The first line says what runs, what it shows, and where."""
    server = start(f"--libvirt.uri={DEMO}")

    assert server.lines()[0]["msg"] == (
        f"libvirt-exporter {__version__} shows {DEMO} on {server.address}/"
    )


def test_flags_override_the_configuration_file(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """What the file says holds, unless a flag says otherwise."""
    file = tmp_path / "exporter.yml"
    file.write_text("libvirt: {uri: 'test:///absent'}\nweb: {telemetry_path: /other}\n")

    server = start("--config.file", file, "--libvirt.uri=test:///default")

    assert "libvirt_up 1.0" in server.get("/other").text


def test_options_of_the_server_come_from_the_file(tmp_path: Path) -> None:
    """Address, path, web configuration, number of scrapes, level and format of the log."""
    (tmp_path / "web.yml").write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    silent, file, log = tmp_path / "silent", tmp_path / "exporter.yml", tmp_path / "log"
    with socket.socket() as free:
        # An address of its own, so that nobody else takes the port meanwhile.
        free.bind(("127.0.0.77", 0))
        host, port = free.getsockname()
    file.write_text(
        f"libvirt: {{uri: 'qemu+unix:///system?socket={silent}'}}\n"
        f"web: {{listen: ['{host}:{port}'], telemetry_path: /m, max_requests: 1,"
        " config_file: web.yml}\n"
        "log: {level: error, format: json}\n"
    )
    with socket.socket(socket.AF_UNIX) as libvirt, log.open("wb") as stderr:
        libvirt.bind(str(silent))
        libvirt.listen()
        process = subprocess.Popen(
            [*COMMAND, "--config.file", file], env=ENVIRONMENT, stderr=stderr
        )
        server = Server(process, log, f"http://{host}:{port}")
        try:
            wait_until(lambda: answers(host, port), "it listens")
            assert server.get("/-/healthy").headers["X-Frame-Options"] == "deny"
            assert first_answer_of_two((host, port), "/m").startswith(b"HTTP/1.1 503 ")
            file.write_text("no option: 1\n")
            process.send_signal(signal.SIGHUP)
            server.logged("configuration not reloaded")
        finally:
            process.kill()
            process.wait()
    assert {line["level"] for line in server.lines()} == {"error"}


def test_health_needs_no_password_where_the_file_says_so(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """Everything else is asked for one as before."""
    stored = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{anna: '{stored}'}}\n")
    file = tmp_path / "exporter.yml"
    file.write_text("web: {config_file: web.yml, health_without_login: true}\n")

    server = start("--config.file", file, "--libvirt.uri=test:///default")

    assert server.get("/-/healthy").status_code == 200
    assert server.get("/metrics").status_code == 401


def test_who_may_reload_and_by_which_name_the_file_says(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """Nobody over HTTP, and by these names only."""
    file = tmp_path / "exporter.yml"
    file.write_text("web: {reload: false, allowed_hosts: [127.0.0.1]}\n")

    server = start("--config.file", file, "--libvirt.uri=test:///default")

    assert httpx.post(f"{server.address}/-/reload", trust_env=False).status_code == 403
    assert server.get("/-/healthy").status_code == 200
    evil = {"Host": "evil.example"}
    url = f"{server.address}/-/healthy"
    assert httpx.get(url, headers=evil, trust_env=False).status_code == 421


def test_requests_are_logged_where_the_file_says_so(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """With the address of the client, at level info; and who may ask is said at the start."""
    file = tmp_path / "exporter.yml"
    file.write_text("web: {access_log: true}\n")

    server = start("--config.file", file, "--libvirt.uri=test:///default")

    server.get("/-/healthy")
    assert re.search(r"127\.0\.0\.1:\d+ - .*GET /-/healthy", server.logged("GET /-/healthy"))


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


def first_answer_of_two(address: tuple[str, int], path: str) -> bytes:
    """How the answer begins that comes first to two different scrapes at once."""
    with socket.create_connection(address) as one, socket.create_connection(address) as other:
        for name, client in (("a", one), ("b", other)):
            client.sendall(f"GET {path}?domain[]={name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answered, _, _ = select.select([one, other], [], [], PATIENCE)
        first: socket.socket = answered[0]
        return first.recv(64)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_success_at_once(
    start: Callable[..., Server], number: signal.Signals
) -> None:
    """A service manager sees status 0 within two seconds."""
    server = start(f"--libvirt.uri={DEMO}")

    status, seconds = server.stop(number)

    assert status == 0
    assert seconds < 2
    assert server.lines()[-1]["msg"] == "stopped"


def signals(process: int, which: str) -> set[signal.Signals]:
    """Signals that the kernel lists for a process: `SigBlk` held back, `SigCgt` handled."""
    text = Path(f"/proc/{process}/status").read_text()
    (mask,) = re.findall(rf"^{which}:\t([0-9a-f]+)", text, re.MULTILINE)
    return {number for number in signal.Signals if int(mask, 16) >> (number - 1) & 1}


def begun(process: int) -> bool:
    """Whether the exporter's own code runs, though it may not have got far."""
    return signal.SIGHUP in signals(process, "SigBlk") | signals(process, "SigCgt")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_it_is_ready_ends_it_with_success(number: signal.Signals) -> None:
    """A service manager that changes its mind at once sees status 0, too."""
    process = subprocess.Popen(
        [*COMMAND, "--web.listen-address=127.0.0.1:0", f"--libvirt.uri={DEMO}"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: begun(process.pid), "it has begun to start")

    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 0
    assert errors.splitlines()[-1].endswith(b"msg=stopped")


def test_reload_before_it_is_ready_ends_nothing(start: Callable[..., Server]) -> None:
    """A SIGHUP during the start waits until it is understood; later ones are not held back."""

    def hang_up(process: int) -> None:
        wait_until(lambda: begun(process), "it has begun to start")
        os.kill(process, signal.SIGHUP)

    server = start(f"--libvirt.uri={DEMO}", started=hang_up)

    server.logged("configuration reloaded")
    assert not signals(server.process.pid, "SigBlk")


def test_signal_ends_it_while_libvirt_hangs(start: Callable[..., Server], tmp_path: Path) -> None:
    """A daemon that never answers delays neither a scrape beyond its time nor the end."""
    path = tmp_path / "frozen"
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(path))
        frozen.listen()
        server = start(f"--libvirt.uri=qemu+unix:///system?socket={path}")
        answer = server.get("/metrics", **{"X-Prometheus-Scrape-Timeout-Seconds": "2"})
        status, seconds = server.stop()

    assert "libvirt_up 0.0" in answer.text
    assert status == 0
    assert seconds < 2


def test_signal_ends_it_while_a_request_waits(start: Callable[..., Server], tmp_path: Path) -> None:
    """A scrape in flight does not keep the process."""
    path = tmp_path / "frozen"
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(path))
        frozen.listen()
        server = start(f"--libvirt.uri=qemu+unix:///system?socket={path}")
        host, _, port = server.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not select.select([client], [], [], 0.3)[0]
            status, seconds = server.stop()

    assert status == 0
    assert seconds < 2


def test_reload_takes_over_a_good_file_and_keeps_out_a_bad_one(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """SIGHUP reads the file again; a file with mistakes is logged, and the old one stays."""
    file = tmp_path / "exporter.yml"
    file.write_text("domains: {include: [web-1]}\n")
    server = start("--config.file", file, f"--libvirt.uri={DEMO}")
    successful = "libvirt_exporter_config_last_reload_successful"

    def domains() -> set[str]:
        return set(
            re.findall(r'libvirt_domain_state{domain="([^"]*)"', server.get("/metrics").text)
        )

    assert domains() == {"web-1"}

    file.write_text("domains: {include: [web-2]}\n")
    server.process.send_signal(signal.SIGHUP)
    server.logged("configuration reloaded")
    assert domains() == {"web-2"}

    file.write_text("domains: {inclode: [web-1]}\n")
    server.process.send_signal(signal.SIGHUP)
    assert "inclode" in server.logged("not reloaded")
    assert domains() == {"web-2"}
    assert f"{successful} 0.0" in server.get("/metrics").text

    file.write_text("domains: {include: [web-1]}\nlog: {level: error}\n")
    assert httpx.post(f"{server.address}/-/reload").status_code == 200
    assert domains() == {"web-1"}
    assert f"{successful} 1.0" in server.get("/metrics").text


def test_groups_that_replace_the_default_are_logged(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """At the start and after a reload: else whoever meant to add one would miss the others."""
    file = tmp_path / "exporter.yml"
    file.write_text("groups: {include: [job]}\n")
    server = start("--config.file", file, f"--libvirt.uri={DEMO}")
    assert "write include: [default, job]" in server.logged("groups.include shows job instead of")

    file.write_text("groups: {include: [kvm]}\n")
    server.process.send_signal(signal.SIGHUP)
    server.logged("groups.include shows kvm instead of")


def test_reload_changes_the_log_level(start: Callable[..., Server], tmp_path: Path) -> None:
    """What is logged follows the configuration, too."""
    file = tmp_path / "exporter.yml"
    file.write_text("log: {level: info}\n")
    server = start("--config.file", file, f"--libvirt.uri={DEMO}")

    def accesses() -> bool:
        return any(line["logger"] == "uvicorn.access" for line in server.lines())

    server.get("/-/healthy")
    file.write_text("log: {level: debug}\n")
    server.process.send_signal(signal.SIGHUP)
    server.logged("configuration reloaded")
    # Lines come in order: an access line of the request before the reload would be here by now.
    assert not accesses()
    server.get("/-/healthy")

    wait_until(accesses, "the accesses are logged")


def test_libvirt_away_is_served_as_down(start: Callable[..., Server]) -> None:
    """An unreachable libvirt is no failure of the exporter: it logs why, and says 0."""
    server = start(f"--libvirt.uri={AWAY}")

    answer = server.get("/metrics")

    assert answer.status_code == 200
    assert "\nlibvirt_up 0.0\n" in answer.text
    assert "/nonexistent/socket" in server.logged("does not answer")
    assert server.get("/-/healthy").status_code == 200


def test_port_in_use_is_a_failure_before_anything_starts() -> None:
    """One line says which address, why, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        outcome = run("--web.listen-address", address, "--libvirt.uri", DEMO)

    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"libvirt-exporter: cannot listen on {address}: in use")
    assert outcome.stderr.count("\n") == 1


def test_every_mistake_of_the_configuration_is_one_line(tmp_path: Path) -> None:
    """serve refuses a file with mistakes, and names all of them with their lines."""
    file = tmp_path / "exporter.yml"
    file.write_text("groups:\n  include: [blok]\nweb: {listen: 7}\n")

    outcome = run("--config.file", file)

    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert [line.split(": ")[1] for line in outcome.stderr.splitlines()] == [
        f"{file}:2",
        f"{file}:3",
    ]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--config.file", "/nonexistent/exporter.yml"),
        ("--web.config.file", "/nonexistent/web.yml"),
    ],
)
def test_file_that_cannot_be_read_is_named(flag: str, value: str) -> None:
    """A flag whose value makes sense, and whose file is not there, is a failure in one line."""
    outcome = run(flag, value)

    assert outcome.returncode == 1
    assert f"{value}: cannot be read: No such file or directory\n" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_as_many_files_may_be_open_as_the_hard_limit_allows(start: Callable[..., Server]) -> None:
    """The soft limit, which is for programs that use select(), is raised to 65536 at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        server = start(f"--libvirt.uri={DEMO}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    raised, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert raised == (65536 if hard == resource.RLIM_INFINITY else min(hard, 65536))


def test_counts_of_events_outlive_the_exporter(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """SIGTERM saves them, at once; a reload may name another directory."""
    file = tmp_path / "exporter.yml"
    first, second = tmp_path / "first", tmp_path / "second"
    file.write_text(f"events: {{state_directory: {first}}}")
    server = start("--config.file", file, "--libvirt.uri", DEMO)
    wait_until(lambda: 'action="pause"' in server.get("/metrics").text, "the event is counted")
    file.write_text(f"events: {{state_directory: {second}}}")
    server.process.send_signal(signal.SIGHUP)
    server.logged("configuration reloaded")
    wait_until(lambda: first.is_dir() and any(first.glob("*.json")), "the counts are saved")
    wait_until(lambda: 'action="pause"' in server.get("/metrics").text, "the event is counted")
    status, seconds = server.stop()

    assert (status, seconds < 2) == (0, True)
    (saved,) = second.glob("*.json")
    assert len(json.loads(saved.read_bytes())["domains"]) == 8
    assert saved.stat().st_mode & 0o777 == 0o600


# scrape


def test_scrape_writes_one_exposition_with_the_xml_facts() -> None:
    """What node_exporter's textfile collector would read: no process_*, infos included."""
    outcome = run("scrape", "--libvirt.uri", DEMO)

    families = {family.name: family for family in parse_text(outcome.stdout)}
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert len(families["libvirt_domain_info"].samples) == 8
    assert not any(name.startswith("process_") for name in families)


def test_scrape_counts_no_events() -> None:
    """It listens for a moment only: a 0 would say that nothing has ever happened."""
    families = {family.name for family in parse_text(run("scrape", "--libvirt.uri", DEMO).stdout)}

    assert "libvirt_domain_state" in families
    assert not {name for name in families if name.startswith("libvirt_domain_watchdog_events")}
    assert "libvirt_domain_last_event_timestamp_seconds" not in families


def test_commands_that_end_leave_the_state_of_events_alone(tmp_path: Path) -> None:
    """It is the running exporter's, which may be another user."""
    state = tmp_path / "state"
    file = tmp_path / "exporter.yml"
    file.write_text(f"events: {{state_directory: {state}}}")

    for command in ("scrape", "vms", "doctor"):
        assert run(command, "--config.file", file, "--libvirt.uri", DEMO).stdout

    assert not state.exists()


def test_scrape_replaces_the_file_in_one_step(tmp_path: Path) -> None:
    """The file is readable by others, whole, and nothing is left beside it."""
    file = tmp_path / "libvirt.prom"
    file.write_text("old")
    before = file.stat().st_ino

    outcome = run("scrape", f"--output={file}", "--libvirt.uri", DEMO)

    assert (outcome.returncode, outcome.stdout) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]
    assert any(family.name == "libvirt_up" for family in parse_text(file.read_text()))


def test_scrape_replaces_the_file_that_a_link_names(tmp_path: Path) -> None:
    """And not the link."""
    link, file = tmp_path / "link", tmp_path / "x.prom"
    file.write_text("old")
    link.symlink_to(file)

    assert run("scrape", "--output", link, "--libvirt.uri", DEMO).returncode == 0

    assert link.is_symlink()
    assert "\nlibvirt_up 1.0\n" in file.read_text()


def test_scrape_into_a_pipe_writes_to_it(tmp_path: Path) -> None:
    """Replacing it, or a device such as /dev/null, would break the host."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    # Less than the pipe holds.
    outcome = run("scrape", "--output", pipe, "--libvirt.uri", "test:///default")

    assert outcome.returncode == 0
    assert pipe.is_fifo()
    assert b"\nlibvirt_up 1.0\n" in os.read(reader, 2**16)
    os.close(reader)


def test_scrape_into_a_directory_that_is_not_there_fails(tmp_path: Path) -> None:
    """The file is named, and the reason."""
    outcome = run("scrape", "--output", tmp_path / "absent" / "x.prom", "--libvirt.uri", DEMO)

    assert outcome.returncode == 1
    assert outcome.stderr == (
        f"libvirt-exporter: {tmp_path}/absent/x.prom: cannot be written: "
        "No such file or directory\n"
    )


def test_scrape_of_a_libvirt_away_says_so_in_the_output_too(tmp_path: Path) -> None:
    """The textfile collector gets libvirt_up 0 instead of yesterday's figures."""
    file = tmp_path / "libvirt.prom"

    outcome = run("scrape", "--output", file, "--libvirt.uri", AWAY)

    assert outcome.returncode == 1
    assert "cannot connect to libvirt" in outcome.stderr
    assert outcome.stderr.count("\n") == 1
    assert "\nlibvirt_up 0.0\n" in file.read_text()


# vms, doctor, metrics, check-config


def test_vms_shows_each_vm_with_its_rates() -> None:
    """Every VM of the host is a line; running ones have CPU and throughput."""
    outcome = run("vms", "--libvirt.uri", DEMO)

    header, *lines = outcome.stdout.splitlines()
    assert outcome.returncode == 0
    assert header.split()[:2] == ["NAME", "STATE"]
    assert len(lines) == 8
    busy = next(line for line in lines if line.startswith("db-primary"))
    assert re.search(r"running +unknown +4 +\d+\.\d% ", busy)


def test_vms_of_a_libvirt_away_fails() -> None:
    """The reason is on stderr, stdout stays empty."""
    outcome = run("vms", "--libvirt.uri", AWAY)

    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "cannot connect to libvirt" in outcome.stderr


def test_vms_as_json_are_those_of_the_api() -> None:
    """One answer with the fields that are named, on one line of ASCII."""
    outcome = run("vms", "--json", "--fields=state,vmName", "--libvirt.uri", DEMO)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    (line,) = outcome.stdout.splitlines()
    assert line.isascii()
    answer = json.loads(line)
    assert answer["full"]
    assert len(answer["dataList"]) > 1
    assert all(row.keys() == {"vmId", "state", "vmName"} for row in answer["dataList"])


def test_vms_as_json_watched_tell_what_changed() -> None:
    """After the first answer only what is new: of the test driver, its ever moving counters."""
    watching = subprocess.Popen(
        [*COMMAND, "vms", "--json", "--fields=status,disks", "--watch=0.2", "--libvirt.uri", DEMO],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    first, second = (json.loads(watching.stdout.readline()) for _ in range(2))
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert first["full"]
    assert not second["full"]
    assert "status" in first["dataList"][0]
    assert all(row.keys() == {"vmId", "disks"} for row in second["dataList"])


def test_vms_as_json_refuse_an_unknown_field() -> None:
    """With the nearest name, and nothing on stdout."""
    outcome = run("vms", "--json", "--fields=statu", "--libvirt.uri", DEMO)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "unknown field statu; did you mean status?" in outcome.stderr


def test_vms_as_json_of_a_libvirt_away_fail() -> None:
    """With the reason, and nothing on stdout."""
    outcome = run("vms", "--json", "--libvirt.uri", AWAY)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "/nonexistent/socket" in outcome.stderr


def test_vms_watched_are_shown_again_until_interrupted() -> None:
    """--watch goes on; Ctrl-C ends it without a traceback."""
    process = subprocess.Popen(
        [*COMMAND, "vms", "--watch", "0.1", "--libvirt.uri", DEMO],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    headers = (line for line in process.stdout if line.startswith("NAME"))
    shown = list(itertools.islice(headers, 3))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert len(shown) == 3
    assert process.returncode == 130
    assert errors == ""


def test_output_fits_the_encoding_of_the_terminal() -> None:
    """Where stdout is ASCII, what does not fit is replaced, and nothing fails."""
    outcome = run("metrics", "--format=markdown", PYTHONIOENCODING="ascii", LC_ALL="C")

    assert outcome.returncode == 0
    assert outcome.stdout.isascii()


def test_doctor_of_the_demo_host_has_hints_only() -> None:
    """The test driver lacks groups, which is no failure."""
    outcome = run("doctor", "--libvirt.uri", DEMO)

    assert outcome.returncode == 0
    assert "hint: no VM has statistics of memory, perf" in outcome.stdout


def test_doctor_of_a_libvirt_away_fails_and_explains() -> None:
    """What cannot be reached is a problem, with what to do about it."""
    outcome = run("doctor", "--libvirt.uri", AWAY)

    assert outcome.returncode == 1
    assert "problem: cannot connect to libvirt" in outcome.stdout


def test_doctor_looks_at_the_configuration_too(tmp_path: Path) -> None:
    """Groups that hide the others, and a state directory that is none."""
    file = tmp_path / "exporter.yml"
    file.write_text(f"groups: {{include: [job]}}\nevents: {{state_directory: {file}}}\n")

    outcome = run("doctor", "--config.file", file, "--libvirt.uri", DEMO)

    assert outcome.returncode == 1
    assert f"problem: the counts of events cannot be saved in {file} " in outcome.stdout
    assert "hint: groups.include shows job instead of" in outcome.stdout
    assert "\n    vcpu: LibvirtDomainStealHigh\n" in outcome.stdout


@pytest.mark.parametrize("width", [100, 120])
def test_metrics_fit_the_terminal(width: int) -> None:
    """The list is as wide as the terminal says."""
    outcome = run("metrics", COLUMNS=str(width))

    assert max(map(len, outcome.stdout.splitlines())) in range(width - 9, width + 1)


def test_metrics_are_whole_where_there_is_no_terminal() -> None:
    """In a pipe grep finds every word of what a metric means."""
    outcome = run("metrics", COLUMNS="")

    lines = {line[2:].split(maxsplit=1)[0]: line for line in outcome.stdout.splitlines() if line}
    assert all(lines[metric.name].endswith(metric.text) for metric in METRICS)


def test_metrics_as_json_lists_the_catalogue() -> None:
    """A program reads every metric."""
    outcome = run("metrics", "--format", "json")

    assert [row["name"] for row in json.loads(outcome.stdout)] == [row.name for row in METRICS]


def test_output_to_a_full_disk_fails_in_one_line() -> None:
    """What could not be written is no success, and no traceback either."""
    with Path("/dev/full").open("w") as full:
        outcome = subprocess.run(
            [*COMMAND, "metrics"],
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert outcome.returncode == 1
    assert outcome.stderr == (
        "libvirt-exporter: stdout: cannot be written: No space left on device\n"
    )


@pytest.mark.parametrize("command", [["metrics"], ["scrape", "--libvirt.uri", DEMO]])
def test_output_to_a_closed_pipe_ends_quietly(command: list[str]) -> None:
    """`| head` has seen enough; nothing is said about the rest."""
    reader, writer = os.pipe()
    os.close(reader)
    outcome = subprocess.run(
        [*COMMAND, *command],
        env=ENVIRONMENT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)

    assert (outcome.returncode, outcome.stderr) == (1, "")


def test_check_config_accepts_the_shipped_file() -> None:
    """The documented configuration has no mistakes."""
    outcome = run("check-config", ROOT / "config" / "exporter.yml")

    assert outcome.returncode == 0
    assert outcome.stdout.endswith("config/exporter.yml: no mistakes\n")


def test_config_prints_the_documented_file() -> None:
    """What `config` prints is the file that documents every option."""
    outcome = run("config")

    assert outcome.returncode == 0
    assert outcome.stdout == (ROOT / "config" / "exporter.yml").read_text()


def test_files_names_paths_that_exist() -> None:
    """Each line of `files` has a path that is there, and a name that gives that path alone."""
    lines = [line.split(maxsplit=2) for line in run("files").stdout.splitlines()]

    assert len(lines) > 5
    for _, path, _ in lines:
        assert Path(path).exists()
    assert run("files", "rules").stdout.splitlines() == [
        path for name, path, _ in lines if name == "rules"
    ]


def test_files_refuses_a_name_that_it_does_not_know() -> None:
    """A name that means nothing is an error of the command line."""
    outcome = run("files", "dashboard")

    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert "dashboards" in outcome.stderr


def test_check_config_reports_every_mistake_with_its_line() -> None:
    """All mistakes of a file in one run."""
    file = ROOT / "tests/unit/fixtures/config/mistakes.yml"

    outcome = run("check-config", file)

    assert outcome.returncode == 1
    assert len(outcome.stderr.splitlines()) > 30
    assert all(f"{file}:" in line for line in outcome.stderr.splitlines())


def test_check_config_notes_what_is_no_mistake_but_easily_unmeant(tmp_path: Path) -> None:
    """Groups that take the place of the default: said with the line, and no failure."""
    file = tmp_path / "exporter.yml"
    file.write_text("groups:\n  include: [job]\n")

    outcome = run("check-config", file)

    assert outcome.returncode == 0
    note, *_, verdict = outcome.stdout.splitlines()
    assert note.startswith(f"{file}:2: note: groups.include shows job instead of ")
    assert "[default, job]" in note
    assert verdict == f"{file}: no mistakes"


def test_check_config_explains_the_names_of_vm_fields(tmp_path: Path) -> None:
    """Which metrics they stand for; one that no metric shows is a mistake, with the reason."""
    file = tmp_path / "exporter.yml"
    file.write_text("fields:\n  include: [pauseCode, timeOffset]\n")

    outcome = run("check-config", file)

    assert outcome.returncode == 0
    pause, offset, _ = outcome.stdout.splitlines()
    assert pause.startswith(f"{file}:2: note: pauseCode stands for libvirt_domain_pause_code")
    assert "libvirt_domain_clock_offset_seconds" in offset
    file.write_text("fields: {exclude: [custom]}")
    refused = run("check-config", file)
    assert refused.returncode == 1
    assert f"{file}:1: no metric shows the field custom; Free-form" in refused.stderr


def test_check_config_tells_a_state_directory_from_a_file(tmp_path: Path) -> None:
    """In one run with the web configuration's mistakes; one that is not there may still come."""
    file = tmp_path / "exporter.yml"
    file.write_text(f"web: {{config_file: none}}\nevents:\n  state_directory: {file}\n")

    outcome = run("check-config", file)

    assert outcome.returncode == 1
    web, state = outcome.stderr.splitlines()
    assert ":1: web.config_file: " in web
    assert state == f"libvirt-exporter: {file}:3: {file} is not a directory"

    file.write_text(f"events: {{state_directory: {tmp_path / 'new'}}}\n")
    assert run("check-config", file).returncode == 0
    assert not (tmp_path / "new").exists()


def test_check_config_looks_into_the_web_configuration(tmp_path: Path) -> None:
    """A mistake in the file that web.config_file names is found, and where it is named."""
    web = tmp_path / "web.yml"
    web.write_text("basic_auth_user: {}\n")
    file = tmp_path / "exporter.yml"
    file.write_text(f"web:\n  config_file: {web}\n")

    outcome = run("check-config", file)

    assert outcome.returncode == 1
    assert outcome.stderr.startswith(
        f"libvirt-exporter: {file}:2: web.config_file: {web}:1: unknown key 'basic_auth_user'; "
    )


@pytest.mark.parametrize("command", [["check-config"], ["--config.file"]], ids=" ".join)
def test_web_configuration_that_is_not_there_is_told_by_who_names_it(command: list[str]) -> None:
    """The shipped example names a file to be made: its line, the file, and what is wrong."""
    file = ROOT / "config" / "examples" / "behind-tls.yml"
    number = file.read_text().partition("config_file: /")[0].count("\n") + 1

    outcome = run(*command, file)

    assert outcome.returncode == 1
    assert outcome.stderr == (
        f"libvirt-exporter: {file}:{number}: web.config_file: "
        "/etc/libvirt-exporter/web-config.yml: cannot be read: No such file or directory\n"
    )


# The command line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--libvirt.uri", DEMO, "doctor"),
        ("doctor", "--libvirt.uri", DEMO),
        ("--libvirt.uri=test:///absent", "doctor", f"--libvirt.uri={DEMO}"),
    ],
    ids=["before", "after", "both"],
)
def test_flags_stand_before_or_after_the_command(arguments: tuple[str, ...]) -> None:
    """Either place will do; the later one wins."""
    assert run(*arguments).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--libvirt.url", "x"], "unknown flag --libvirt.url, did you mean --libvirt.uri?"),
        (["vms", "--wach=3"], "unknown flag --wach, did you mean --watch?"),
        (["-config.file", "x"], "unknown flag -config.file, did you mean --config.file?"),
        (["--zzz"], "unknown flag --zzz;"),
        (["vms", "--web.listen-address", ":1"], "vms has no flag --web.listen-address"),
        (["--web.listen-address", ":1", "vms"], "vms has no flag --web.listen-address"),
        (["--config.file", "x", "metrics"], "metrics has no flag --config.file"),
        (["metrics", "--watch", "1"], "metrics has no flag --watch"),
        (["vms", "--fields", "state"], "--fields needs --json"),
        (["scrape", "--json"], "scrape has no flag --json"),
        (["--json", "vms"], "write --json after vms"),
        (["--sort=cpu", "--libvirt.uri", DEMO, "vms"], "write --sort after vms"),
        (["--output", "x", "scrape"], "write --output after scrape"),
        (["vms", "--watch", "0"], "'0' is not a number of seconds"),
        (["vms", "--watch", "-1"], "'-1' is not a number of seconds"),
        (["vms", "--watch", "nan"], "'nan' is not a number of seconds"),
        (["metrics", "--format", "xml"], "invalid choice: 'xml'"),
        (["check-config"], "FILE"),
        (["sreve"], "unknown command sreve, did you mean serve?"),
        (["--libvirt.uri", "test:///default", "doctr"], "doctr, did you mean doctor?"),
        (["--log.level=info", "qqq"], "unknown command qqq;"),
        (["--libvirt.uri"], "expected one argument"),
        (["--log.level", "inf"], "--log.level: log.level must be one of debug, info, warn, error"),
        (["vms", "--log.level", "inf"], "not 'inf'; did you mean info?"),
        (["--web.max-requests", "many"], "--web.max-requests: web.max_requests must be a whole"),
        (["--scrape.timeout-offset", "soon"], "must be a duration"),
        (["--web.listen-address", "9177"], "'9177' is not an address to listen on"),
        (["--libvirt.uri", "libvirt"], "'libvirt' is not a libvirt URI"),
    ],
)
def test_command_line_that_makes_no_sense_has_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is wrong, what was probably meant, and where there is help."""
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)

    output = capsys.readouterr()
    assert end.value.code == 2
    assert output.out == ""
    assert message in output.err
    assert output.err.endswith("--help\n")
    assert output.err.count("\n") == 1


def test_every_flag_that_makes_no_sense_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """All mistakes of a command line in one run."""
    with pytest.raises(SystemExit) as end:
        cli.main(["--log.level=loud", "--web.max-requests=0"])

    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert sorted(line.split(": ")[1] for line in lines) == ["--log.level", "--web.max-requests"]


def test_environment_chooses_nothing() -> None:
    """Not even libvirt's own variable for the URI."""
    outcome = run("doctor", LIBVIRT_DEFAULT_URI="test:///default", VIRSH_DEFAULT_CONNECT_URI=DEMO)

    assert "qemu:///system" in outcome.stdout


def test_version_is_that_of_the_package() -> None:
    """--version names the exporter's version, and those it runs with."""
    outcome = run("--version")

    assert outcome.returncode == 0
    assert outcome.stdout.startswith(f"libvirt-exporter {__version__} (Python 3.")
    assert run("scrape", "--version").stdout == outcome.stdout


def test_version_is_told_without_loading_any_library() -> None:
    """Packages, tests and people ask for it and do not want to wait."""
    program = (
        "import sys; from libvirt_exporter.__main__ import main; sys.argv[1:] = ['--version'];"
        "main(); print(sorted({'asyncio', 'libvirt', 'msgspec', 'yaml'} & sys.modules.keys()))"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )

    assert outcome.stdout.splitlines()[1:] == ["[]"]


@pytest.mark.parametrize("command", [[], ["vms"]], ids=" ".join)
def test_help_is_a_command_too(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It prints what --help prints."""
    printed = []
    for words in (["help", *command], [*command, "--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_a_hint_names_flags_of_that_command_only(capsys: pytest.CaptureFixture[str]) -> None:
    """What another command takes would be refused next."""
    for words, hint in (
        (["serve", "--web.listen"], ", did you mean"),
        (["vms", "--web.listen"], ";"),
    ):
        with pytest.raises(SystemExit):
            cli.main(words)
        assert f"unknown flag --web.listen{hint}" in capsys.readouterr().err


def test_vms_as_json_refuse_names() -> None:
    """They would be ignored."""
    outcome = run("vms", "--json", "web-*", "--libvirt.uri", DEMO)

    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "remove the names" in outcome.stderr


@pytest.mark.parametrize(
    "command",
    ["", "serve", "scrape", "metrics", "vms", "check-config", "config", "files", "doctor"],
)
def test_each_help_says_what_the_command_does(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--help works everywhere; where serve's flags are taken, all of them are explained."""
    with pytest.raises(SystemExit) as end:
        cli.main([*filter(None, [command]), "--help"])

    output = capsys.readouterr()
    assert end.value.code == 0
    assert output.err == ""
    assert output.out.startswith(f"usage: libvirt-exporter {command}".rstrip())
    if command in ("", "serve"):
        for flag in (*FLAGS.values(), "--config.file", "--version"):
            assert re.search(rf"\n  {flag}\s", output.out), flag
