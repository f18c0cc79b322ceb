"""Chart and manifests for Kubernetes: rendered by Helm, validated by the schemas of Kubernetes.

The Prometheus operator's resources are validated by `make kubernetes-test`. No cluster runs them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from libvirt_exporter import __version__
from libvirt_exporter.commands.arguments import options, parse
from libvirt_exporter.config import load
from tests.support.helm import program

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "libvirt-exporter"
MANIFESTS: Final = ROOT / "deploy" / "kubernetes"
OPERATOR: Final = "monitoring.coreos.com/v1"
VERSIONS: Final = ("1.25", "1.37")
"""The oldest Kubernetes that the chart takes, and the newest whose schemas there are."""

EVERYTHING: Final[Mapping[str, Any]] = {
    "config": {"groups": {"exclude": ["perf"]}, "web": {"health_without_login": True}},
    "web": {"secretName": "libvirt-exporter-web", "tls": True},
    "seLinuxOptions": {"type": "spc_t"},
    "imagePullSecrets": [{"name": "registry"}],
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "system-node-critical",
    "podAnnotations": {"example.com/note": "x"},
    "podMonitor": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "tlsConfig": {"serverName": "kvm"},
        "basicAuth": {"username": {"name": "web", "key": "user"}},
    },
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True},
}
"""Values that render every line of the templates."""

Resources = dict[str, dict[str, Any]]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The outcome of a command of Helm, its errors among its output."""
    return subprocess.run(
        [program("helm"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def rendered(
    directory: Path, values: Mapping[str, Any], name: str = "libvirt-exporter"
) -> Resources:
    """What the chart renders, by kind."""
    file = directory / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    output = directory / name
    done = helm("template", name, CHART, "--values", file, "--output-dir", output)
    assert done.returncode == 0, done.stdout
    return by_kind([*output.rglob("*.yaml")])


def by_kind(files: Sequence[Path]) -> Resources:
    """The resources in these files, one of each kind."""
    resources = [yaml.safe_load(file.read_text()) for file in files]
    assert len({resource["kind"] for resource in resources}) == len(resources)
    return {resource["kind"]: resource for resource in resources}


def plain() -> Resources:
    """The manifests for those who do not use Helm."""
    return by_kind([path for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml"])


def container(resources: Resources) -> dict[str, Any]:
    """The only container of the DaemonSet."""
    [found] = resources["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    """What the chart renders with every value set."""
    return rendered(tmp_path_factory.mktemp("everything"), EVERYTHING)


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    """Its own linter, at its strictest."""
    verdict = helm("lint", "--strict", CHART)
    assert verdict.returncode == 0, verdict.stdout


def test_manifests_are_what_the_chart_renders(tmp_path: Path) -> None:
    """`deploy/kubernetes/render.sh` has nothing to change."""
    copy = tmp_path / "kubernetes"
    copy.mkdir()
    (tmp_path / "helm").symlink_to(CHART.parent)
    script = copy / "render.sh"
    script.write_text((MANIFESTS / "render.sh").read_text())
    subprocess.run(["sh", script], env={**os.environ, "HELM": program("helm")}, check=True)

    written = {path.name: path.read_text() for path in copy.glob("*.yaml")}
    kept = {path.name: path.read_text() for path in MANIFESTS.glob("*.yaml")}
    del kept["kustomization.yaml"]
    assert written == kept, "run deploy/kubernetes/render.sh"


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_resource(everything: Resources, version: str) -> None:
    """By its own schemas, which know each field: a slip in a name is a mistake."""
    for resource in (*everything.values(), *plain().values()):
        if resource["apiVersion"] != OPERATOR:
            kubernetes_validate.validate(resource, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_seen(everything: Resources) -> None:
    """The check above can fail."""
    slip = json.loads(json.dumps(everything["DaemonSet"]))
    slip["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slip, VERSIONS[-1], strict=True)


def test_kustomize_takes_the_manifests() -> None:
    """All of them, with the image where the nodes find it."""
    built = subprocess.run(
        [program("kubectl"), "kustomize", MANIFESTS], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    resources = {each["kind"]: each for each in yaml.safe_load_all(built.stdout)}
    assert resources.keys() == plain().keys()
    assert container(resources)["image"].startswith("registry.example.com/libvirt-exporter:")


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_the_exporter_takes_what_the_pod_gives_it(
    values: Mapping[str, Any], tmp_path: Path
) -> None:
    """Its flags, a configuration without mistakes, and its port."""
    resources = rendered(tmp_path, values)
    [file] = resources["ConfigMap"]["data"].values()
    (tmp_path / "exporter.yml").write_text(file)
    config = load(tmp_path / "exporter.yml")
    assert config.groups.exclude == tuple(
        values.get("config", {}).get("groups", {}).get("exclude", ())
    )

    given = options(parse(container(resources)["args"]))
    assert given["web.listen"] == [":9177"]
    [port] = container(resources)["ports"]
    assert port["containerPort"] == 9177
    mounts = {mount["mountPath"] for mount in container(resources)["volumeMounts"]}
    assert "/run/libvirt" in mounts
    if "web.config_file" in given:
        assert str(Path(str(given["web.config_file"])).parent) in mounts


def test_the_pod_has_no_privilege(everything: Resources) -> None:
    """A named user, a read-only root, no capability; its node's processes and one directory."""
    pod = everything["DaemonSet"]["spec"]["template"]["spec"]
    user = (ROOT / "deploy" / "container" / "Containerfile").read_text().partition("\nUSER ")[2]
    own = pod["securityContext"]
    assert user.startswith(f"{own['runAsUser']}:{own['runAsGroup']}\n")
    assert own["runAsNonRoot"]
    assert container(everything)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in container(everything)["volumeMounts"])
    assert pod["hostPID"]
    assert not pod["automountServiceAccountToken"]
    assert "hostNetwork" not in pod


def test_probes_and_prometheus_go_by_tls_together(everything: Resources, tmp_path: Path) -> None:
    """A probe in the wrong scheme would end a healthy pod for ever."""
    for resources, scheme in ((everything, "https"), (rendered(tmp_path, {}), "http")):
        for probe in ("livenessProbe", "readinessProbe"):
            assert container(resources)[probe]["httpGet"]["scheme"] == scheme.upper()
    [endpoint] = everything["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["port"] in {port["name"] for port in container(everything)["ports"]}


def test_rules_are_those_of_the_house(everything: Resources) -> None:
    """Every one, with its templates untouched; and they know the job by its name."""
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus-rule.yml").read_text())
    settings = yaml.safe_load((ROOT / "deploy/prometheus/source/settings.yml").read_text())
    assert everything["PrometheusRule"]["spec"] == shipped["spec"]
    [endpoint] = everything["PodMonitor"]["spec"]["podMetricsEndpoints"]
    jobs = [each["replacement"] for each in endpoint["relabelings"] if each["targetLabel"] == "job"]
    assert f"job: {jobs[0]}" in yaml.safe_dump(settings)


def test_names_fit_whatever_the_release_is_called(tmp_path: Path) -> None:
    """No longer than Kubernetes allows, and told apart."""
    name = rendered(tmp_path, {}, "kvm")["DaemonSet"]["metadata"]["name"]
    assert name == "kvm-libvirt-exporter"
    longest = rendered(tmp_path, {}, "k" * 53)["DaemonSet"]["metadata"]["name"]
    assert len(longest) <= 63


@pytest.mark.parametrize(
    "values",
    [
        {"hostPid": True},
        {"port": "9177"},
        {"podMonitor": {"interval": "often"}},
        {"image": {}, "x": 1},
    ],
)
def test_values_with_a_slip_are_refused(values: Mapping[str, Any], tmp_path: Path) -> None:
    """By the schema, before anything is rendered."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    refused = helm("template", "x", CHART, "--values", file)
    assert refused.returncode != 0
    assert "schema" in refused.stdout


def test_schema_of_the_values_knows_every_one() -> None:
    """The defaults pass, and no value is without a schema."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(defaults, schema)
    assert schema["properties"].keys() - {"global"} == defaults.keys()


def test_chart_has_the_version_of_the_program() -> None:
    """The image that it names is the one that this commit builds."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert container(plain())["image"] == f"localhost/libvirt-exporter:{__version__}"
