"""What the documents tell people to type: it runs, or libvirt has it, or there is a reason."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml

from libvirt_exporter.config import load
from libvirt_exporter.config.loading import read_document
from libvirt_exporter.web.security.web_config import parse_web_config

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGET = "demo:///"

ELSEWHERE: Final[Mapping[str, str]] = {
    "./run": "tests/process/test_run.py and commands/test_demo.py: without a command it serves",
    "./test": "it is what runs this test",
    "ansible-playbook": "it needs hosts: make ansible-test",
    "apt-get": "it installs packages on the machine: make packages-test",
    "cd": "it changes the directory for the command after it",
    "curl --silent --fail --cacert": "tests/lab/test_tls.py executes it",
    "deploy/container/build.sh": "it builds an image: make image",
    "helm": "it needs a cluster: tests/project/test_kubernetes.py renders the chart",
    "install": "it changes the machine: make packages-test",
    "kubectl": "it needs a cluster: tests/project/test_kubernetes.py checks the manifests",
    "ln": "it changes the machine",
    "make": "its targets are in the Makefile, which is checked below",
    "openssl": "tests/lab/test_tls.py executes every command of the section",
    "pip": "it installs packages",
    "podman": "it needs the image: make image",
    "python -m tests.bench --only one-prometheus": "it takes minutes of a real Prometheus",
    "python -m tests.bench --only several-hosts": "it takes minutes of several libvirtds",
    "python3": "it makes a virtual environment outside the checkout",
    "/opt/libvirt-exporter/bin/libvirt-exporter": "it is installed by the command above it",
    "/opt/libvirt-exporter/bin/pip": "it installs packages outside the checkout",
    "systemctl": "it needs systemd as the first process",
}
"""Beginnings of commands that are not run here → why, and what tries them instead."""

SYSTEM: Final = frozenset(
    {
        *("awk", "cat", "df", "echo", "findmnt", "free", "grep", "head", "iostat", "ip", "ls"),
        *("journalctl", "lvs", "ps", "qemu-img", "sort", "tail", "uniq", "vgs", "xmllint"),
    }
)
"""Programs of the system that are only shown."""


class Command(NamedTuple):
    """A command in a document."""

    page: str
    text: str
    """One logical line, without its comment."""


def blocks(page: Path, language: str) -> Iterator[str]:
    """The code blocks of a page in a language, without their indentation."""
    for indent, block in re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL
    ):
        yield re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)


def commands() -> Iterator[Command]:
    """Every command of every shell block."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if text := re.sub(r"(^|\s+)#.*$", "", line).strip():
                    yield Command(str(page.relative_to(ROOT)), " ".join(text.split()))


def programs(text: str) -> Iterator[list[str]]:
    """The simple commands of a line, as words."""
    text = re.sub(r"\$\(([^)]*)\)", r"; \1 ;", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if re.fullmatch(r"[;|&()]+", word):
            while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] in ("time", "sudo")):
                del words[0]
            if words and words[0] not in ("for", "done", "do"):
                yield words
            elif words[:1] == ["do"]:
                yield words[1:]
            words = []
        else:
            words.append(word)


ALL = sorted({*commands()})
OURS = [
    command
    for command in ALL
    if (
        command.text.startswith(("curl ", "libvirt-exporter ", "python "))
        and not command.text.startswith(tuple(ELSEWHERE))
    )
    or (command.text.startswith("./run ") and command.text != "./run demo")
]
LIBVIRT = sorted(
    {
        (words[0], words[1], *sorted({word for word in words if re.match(r"--\w", word)}))
        for command in ALL
        for words in programs(command.text)
        if words[0] in ("virsh", "virt-admin") and len(words) > 1 and not words[1].startswith("-")
    }
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of an exporter of the invented host."""
    command = [sys.executable, "-m", "libvirt_exporter", "--libvirt.uri", TARGET]
    with subprocess.Popen(
        [*command, "--web.listen-address", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp("served"),
    ) as process:
        assert process.stderr is not None
        log = iter(process.stderr.readline, "")
        try:
            yield next(
                found[1] for line in log if (found := re.search(r"(127\.0\.0\.1:\d+)", line))
            )
        finally:
            process.terminate()
            process.communicate()


def runnable(text: str, address: str, directory: Path) -> str:
    """The command as it is tried here: another port, another directory, the invented host."""
    text = text.replace("localhost:9177", address).replace("wait=30", "wait=1")
    text = text.replace("DIRECTORY", str(directory)).replace("/tmp/", f"{directory}/")
    text = text.replace("/etc/libvirt-exporter/exporter.yml", str(ROOT / "config/exporter.yml"))
    ours = f"{shlex.quote(sys.executable)} -m libvirt_exporter"
    text = re.sub(r"^(\./run|libvirt-exporter)(?= )", ours, text)
    text = re.sub(r"^python(?= )", shlex.quote(sys.executable), text)
    return re.sub(r"( (?:vms|doctor)\b)", rf"\1 --libvirt.uri {TARGET}", text)


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.page}: {command.text}")
def test_a_documented_command_of_the_exporter_runs(
    command: Command, served: str, tmp_path: Path
) -> None:
    """As it is written, but for address, directory and host; the commands before it have run."""
    with urllib.request.urlopen(f"http://{served}/api/v1/vms?fields=status,memUsage") as answer:
        stamp = re.search(r'"queryStamp":\s*"([^"]+)"', answer.read().decode())
    assert stamp
    (tmp_path / "exporter.yml").write_text((ROOT / "config/exporter.yml").read_text())
    outcome = subprocess.run(
        ["sh", "-c", runnable(command.text, served, tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "exporter:.", "STAMP": stamp[1]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert outcome.stdout or any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=str(page.relative_to(ROOT)))
        for page in PAGES
        for text in blocks(page, "python")
    ],
)
def test_a_documented_loop_follows_changes(text: str, served: str) -> None:
    """It prints a line for each answer, the second without what has not changed."""
    text = text.replace("localhost:9177", served).replace('"wait": 30', '"wait": 1')
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
        _, errors = process.communicate()
    assert errors == ""
    counts = [[int(number) for number in re.findall(r"\d+", line)] for line in lines]
    (vms, changed), (vms_later, changed_later) = counts
    assert vms == changed == vms_later
    assert changed_later < changed


@functools.cache
def help_of(program: str, name: str) -> str:
    """What libvirt's own program says of one of its commands; '' where it has none."""
    outcome = subprocess.run(
        [program, "help", name], capture_output=True, text=True, timeout=60, check=False
    )
    return outcome.stdout if outcome.returncode == 0 else ""


@pytest.mark.parametrize("command", LIBVIRT, ids=" ".join)
def test_a_documented_command_of_libvirt_exists(command: tuple[str, ...]) -> None:
    """With each of its flags."""
    program, name, *flags = command
    text = help_of(program, name)
    assert text, f"{program} has no command {name}"
    missing = [flag for flag in flags if not re.search(rf"{re.escape(flag)}\b", text)]
    assert not missing, f"{program} {name} has no {', '.join(missing)}"


def test_every_other_command_says_why_it_is_not_run() -> None:
    """Who documents a new one makes it run here, or names its test in ELSEWHERE."""
    tried = {"curl", "libvirt-exporter", ".venv/bin/python", "virsh", "virt-admin"}
    unknown = [
        f"{command.page}: {words[0]}"
        for command in ALL
        for words in programs(command.text)
        if words[0] not in {*tried, *ELSEWHERE, *SYSTEM}
    ]
    assert not unknown


def test_documented_targets_of_make_exist() -> None:
    """Wherever a document names one."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for words in re.findall(r"(?:`|^)make ((?:[a-z-]+ ?)+)(?:`|$| )", page.read_text(), re.M)
        for name in words.split()
    }
    assert {(page, name) for page, name in named if name not in targets} == set()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=str(page.relative_to(ROOT)))
        for page in PAGES
        for text in blocks(page, "yaml")
    ],
)
def test_a_documented_configuration_is_valid(text: str, tmp_path: Path) -> None:
    """Prometheus' own, or a part of a job, by promtool, ours by what `check-config` checks."""
    parsed = yaml.safe_load(text)
    if {"tls_server_config", "basic_auth_users"} & set(parsed):
        web_config = tmp_path / "web-config.yml"
        web_config.write_text(text)
        parse_web_config(read_document(web_config), str(web_config))
        return
    if "relabel_configs" in parsed:
        parsed = {"scrape_configs": [{"job_name": "libvirt", **parsed}]}
    if not {"scrape_configs", "remote_write"} & set(parsed):
        load(text)
        return
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(parsed))
    checked = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr + checked.stdout
