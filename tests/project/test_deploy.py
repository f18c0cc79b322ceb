"""What is shipped to run the exporter: judged by the tools of those who will run it."""

from __future__ import annotations

import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "libvirt-exporter.service"
SOCKET = UNIT.with_suffix(".socket")
SCRAPE = ROOT / "deploy" / "prometheus" / "scrape.yml"
DEMO = ROOT / "deploy" / "demo"

EXERCISED = {
    "ansible/*": "deploy/role.py",
    "alertmanager/alertmanager.yml": "lab/test_alerts.py",
    "container/*": "deploy/image.py lab/test_bare_system.py",
    "demo/*": "project/test_deploy.py",
    "helm/*": "project/test_kubernetes.py",
    "kolla-ansible/*": "project/test_openstack.py",
    "kubernetes/*": "project/test_kubernetes.py",
    "needs.py": "project/test_generated.py",
    "openstack-helm/*": "project/test_openstack.py",
    "packages/deb*.sh": "deploy/bare_roots.py",
    "packages/debian/*": "project/test_packages.py deploy/bare_roots.py",
    "packages/generate.sh": "process/test_packaged_help.py",
    "packages/launcher.py": "deploy/bare_roots.py deploy/rpm.py",
    "packages/root.sh": "deploy/bare_roots.py lab/test_bare_system.py",
    "packages/rpm*": "deploy/rpm.py",
    "packages/suite.py": "project/test_packages.py deploy/bare_roots.py",
    "packages/tools.lock": "project/test_locked.py",
    "packages/version.sh": "deploy/bare_roots.py deploy/rpm.py",
    "polkit/*.rules": "project/test_polkit.py",
    "prometheus/*.py": "project/test_rules.py",
    "prometheus/compatibility/*.yml": "lab/test_compatibility.py",
    "prometheus/prometheus-rule.yml": "project/test_rules.py",
    "prometheus/rules/*.yml": "contract/test_rules_fire.py",
    "prometheus/scrape*.yml": "project/test_deploy.py",
    "prometheus/source/*.yml": "project/test_rules.py",
    "release.sh": "project/test_deploy.py",
    "setup.sh": "process/test_run.py lab/test_bare_system.py",
    "systemd/*": "project/test_deploy.py deploy/bare_roots.py",
}
"""Files below deploy/ → the tests that build, run, validate or lint them, below tests/."""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The command's outcome, its errors among its output."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def shell_scripts() -> list[Path]:
    """Every shell script of the tree, known by its first line."""
    skipped = {".git", ".venv", "__pycache__", "node_modules"}
    scripts = []
    for directory, directories, files in os.walk(ROOT):
        directories[:] = [name for name in directories if name not in skipped]
        for path in (Path(directory, name) for name in files):
            with path.open("rb") as file:
                if re.match(rb"#!.*\b(sh|bash)\b|# shellcheck shell=", file.readline(80)):
                    scripts.append(path)
    return sorted(scripts)


def verify(directory: Path, text: str) -> str:
    """What `systemd-analyze verify` says of a unit, its program taken to be installed."""
    unit = directory / UNIT.name
    unit.write_text(text.replace("ExecStart=/usr/bin/libvirt-exporter", "ExecStart=/bin/true"))
    return run("systemd-analyze", "verify", unit).stdout


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """systemd has no word to say against the unit."""
    assert verify(tmp_path, UNIT.read_text()) == ""


def test_systemd_accepts_the_socket_unit(tmp_path: Path) -> None:
    """The socket has the port of the exporter, a name, and the service that goes by its name."""
    verify(tmp_path, UNIT.read_text())
    unit = tmp_path / SOCKET.name
    unit.write_text(SOCKET.read_text())

    assert run("systemd-analyze", "verify", unit).stdout == ""
    assert "\nListenStream=9177\n" in SOCKET.read_text()
    assert SOCKET.stem == UNIT.stem


def test_systemd_hears_from_the_exporter() -> None:
    """The exporter tells when it is ready; older versions of systemd know no notify-reload."""
    settings = UNIT.read_text().splitlines()

    assert "Type=notify" in settings
    assert "NotifyAccess=main" in settings
    assert "ExecReload=/bin/kill -HUP $MAINPID" in settings


def test_systemd_names_a_setting_it_does_not_know(tmp_path: Path) -> None:
    """The check above sees a slip in the unit."""
    assert "ProtectHoem" in verify(tmp_path, UNIT.read_text().replace("ProtectHome", "ProtectHoem"))


def test_systemd_takes_the_credential_of_the_key(tmp_path: Path) -> None:
    """The line that the unit has as a comment, which docs/deployment.md shows, too."""
    line = "LoadCredential=tls.key:/etc/ssl/private/libvirt-exporter.key"
    with_key = UNIT.read_text().replace(f"#{line}", line)

    assert with_key != UNIT.read_text()
    assert verify(tmp_path, with_key) == ""
    assert line in (ROOT / "docs" / "deployment.md").read_text()
    web = "key_file: /run/credentials/libvirt-exporter.service/tls.key"
    assert web in (ROOT / "docs" / "deployment.md").read_text()


def test_unit_is_confined() -> None:
    """systemd rates the unit's exposure 1.5 or less, of 10."""
    verdict = run("systemd-analyze", "security", "--offline=true", "--threshold=15", UNIT)

    assert verdict.returncode == 0, verdict.stdout


def test_unit_leaves_visible_what_the_exporter_reads() -> None:
    """QEMU's /proc entries and libvirt's read-only socket stay in reach, without any group."""
    settings = dict(
        line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"\w+=", line)
    )

    assert settings["ProtectProc"] == "default"
    assert "PrivatePIDs" not in settings
    assert "AF_UNIX" in settings["RestrictAddressFamilies"].split()
    assert settings["DynamicUser"] == "yes"
    assert not {"User", "Group", "SupplementaryGroups"} & settings.keys()


def test_unit_has_the_directory_that_the_configuration_recommends() -> None:
    """What is written there outlives the exporter and is nobody else's to read."""
    settings = dict(
        line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"\w+=", line)
    )
    options = (ROOT / "config" / "exporter.yml").read_text()

    assert f"The systemd unit creates /var/lib/{settings['StateDirectory']}." in options
    assert settings["StateDirectoryMode"] == "0700"


@pytest.mark.parametrize(
    "file", [SCRAPE, SCRAPE.with_name("scrape-fleet.yml"), DEMO / "prometheus.yml"]
)
def test_promtool_accepts_the_scrape_configuration(file: Path) -> None:
    """Prometheus' own checker takes the file as it is."""
    verdict = run("promtool", "check", "config", file)

    assert verdict.returncode == 0, verdict.stdout


def test_scrape_configuration_fits_the_exporter() -> None:
    """It asks the default port under the job name that the dashboards expect."""
    configuration = yaml.safe_load(SCRAPE.read_text())
    [job] = configuration["scrape_configs"]

    assert job["job_name"] == "libvirt"
    assert job["static_configs"] == [{"targets": ["localhost:9177"]}]


def test_containers_of_the_demo_show_what_the_examples_do() -> None:
    """Prometheus has the rules and the job of the shipped example; every file mounted is there."""
    shipped, own = (yaml.safe_load(path.read_text()) for path in (SCRAPE, DEMO / "prometheus.yml"))
    compose = yaml.safe_load((DEMO / "compose.yml").read_text())
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
    ]

    assert shipped.keys() == own.keys()
    assert own["scrape_configs"][0]["job_name"] == "libvirt"
    assert {"exporter", "prometheus", "alertmanager", "grafana"} == compose["services"].keys()
    assert all((DEMO / path).exists() for path in mounted), mounted
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_containers_of_the_demo_find_each_other() -> None:
    """Every address is a service's with its port, every directory that is named is mounted."""
    services = yaml.safe_load((DEMO / "compose.yml").read_text())["services"]
    served = {
        f"{name}:{port.rpartition(':')[2]}"
        for name, service in services.items()
        for port in service["ports"]
    }
    own = yaml.safe_load((DEMO / "prometheus.yml").read_text())
    groups = [
        group
        for part in (*own["scrape_configs"], *own["alerting"]["alertmanagers"])
        for group in part["static_configs"]
    ]
    [source] = yaml.safe_load((DEMO / "grafana/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    url = services["grafana"]["environment"][source["url"].strip("${}")]
    [provider] = yaml.safe_load((DEMO / "grafana/dashboards/libvirt.yml").read_text())["providers"]
    mounted = {
        volume.split(":")[1]
        for service in services.values()
        for volume in service.get("volumes", ())
    }

    assert {target for group in groups for target in group["targets"]} <= served
    assert url.removeprefix("http://") in served
    assert source["isDefault"]
    assert provider["options"]["path"] in mounted
    assert {str(Path(path).parent) for path in own["rule_files"]} <= mounted


@pytest.mark.parametrize("path", shell_scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_script_is_clean(path: Path) -> None:
    """shellcheck finds nothing in any shell script."""
    verdict = run("shellcheck", "--external-sources", "--source-path", ROOT, path)

    assert verdict.returncode == 0, verdict.stdout


def test_shell_scripts_of_the_house_are_found() -> None:
    """The search by first line sees the scripts that have no suffix, too."""
    found = {str(path.relative_to(ROOT)) for path in shell_scripts()}

    assert found >= {"run", "test", "deploy/setup.sh", ".ci/run"}


def memory_limits() -> dict[str, str]:
    """The limit of memory in each file that has one."""
    patterns = {
        "deploy/systemd/libvirt-exporter.service": r"^MemoryMax=(\w+)$",
        "docs/deployment.md": r"--memory=(\w+)",
        "deploy/kubernetes/daemonset.yaml": r"memory: (\d+G)i",
    }
    found = {}
    for file, pattern in patterns.items():
        [found[file]] = re.findall(pattern, (ROOT / file).read_text(), re.M)
    return found


def test_memory_is_limited_everywhere_alike() -> None:
    """What was measured holds for every way of running it."""
    assert {limit.upper() for limit in memory_limits().values()} == {"1G"}


def test_every_file_is_exercised() -> None:
    """Whatever lies in deploy/ is built, run, validated or linted, by the test that is named."""
    deploy = ROOT / "deploy"
    files = {
        str(path.relative_to(deploy))
        for path in deploy.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    unnamed = {file for file in files if not any(fnmatch(file, each) for each in EXERCISED)}

    assert unnamed == set(), "write a test that runs or checks it, and name that in EXERCISED"
    assert {each for each in EXERCISED if not any(fnmatch(file, each) for file in files)} == set()
    for tests in EXERCISED.values():
        for test in tests.split():
            assert (ROOT / "tests" / test).is_file(), test
