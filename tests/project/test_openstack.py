"""What replaces the libvirt exporter of kolla-ansible and of OpenStack-Helm, against their facts.

Neither is run here. What is held of them was read from openstack/kolla, openstack/kolla-ansible and
openstack/openstack-helm in November 2026.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import jinja2
import jsonschema
import yaml

from libvirt_exporter import __version__
from libvirt_exporter.commands.arguments import options, parse
from libvirt_exporter.config import Config

ROOT: Final = Path(__file__).parents[2]
KOLLA: Final = ROOT / "deploy" / "kolla-ansible"
VALUES: Final = ROOT / "deploy" / "openstack-helm" / "libvirt-exporter.yaml"

PORT: Final = 9177
"""`prometheus_libvirt_exporter_port` of kolla-ansible's group_vars/all/prometheus.yml."""
COMMAND: Final = f"/opt/libvirt-exporter --web.listen-address=192.0.2.1:{PORT}"
"""kolla-ansible's templates/prometheus-libvirt-exporter.json.j2."""
VARIABLES: Final = {"enable_prometheus_libvirt_exporter", "prometheus_libvirt_exporter_image"}
"""Those of kolla-ansible's role prometheus and group_vars."""
PARENT: Final = """FROM prometheus-base
INSTALL {{ prometheus_libvirt_exporter_packages_append | join(" ") }}
{% block prometheus_libvirt_exporter_install %}
RUN cp /prometheus-libvirt-exporter/prometheus-libvirt-exporter /opt/libvirt-exporter
{% endblock %}
USER root
"""
"""The blocks of kolla's docker/prometheus/prometheus-libvirt-exporter/Dockerfile.j2 in short."""


def strict(**properties: Any) -> dict[str, Any]:
    """The schema of an object that has these properties and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


TEXT: Final = {"type": "string"}
QUANTITIES: Final = strict(memory=TEXT, cpu=TEXT)
SCHEMA: Final = strict(
    images=strict(tags=strict(libvirt_exporter=TEXT)),
    endpoints=strict(
        libvirt_exporter=strict(port=strict(metrics=strict(default={"type": "integer"})))
    ),
    pod=strict(
        sidecars=strict(
            libvirt_exporter=strict(
                enabled={"type": "boolean"}, args={"type": "array", "items": TEXT}
            )
        ),
        security_context=strict(
            libvirt=strict(container=strict(libvirt_exporter={"type": "object"}))
        ),
        resources=strict(libvirt_exporter=strict(requests=QUANTITIES, limits=QUANTITIES)),
    ),
    manifests=strict(podmonitor={"type": "boolean"}),
)
"""Where OpenStack-Helm's chart libvirt looks for what concerns the sidecar."""


def test_kolla_s_image_has_the_exporter_where_kolla_ansible_starts_it() -> None:
    """The block of kolla's file is replaced, its packages added, the command's program is there."""
    loader = jinja2.DictLoader(
        {"parent": PARENT, "override": (KOLLA / "template-overrides.j2").read_text()}
    )
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined)
    parent = environment.get_template("parent")
    made = environment.get_template("override").render(parent_template=parent).lstrip()

    assert made.startswith("FROM prometheus-base\nINSTALL python3-libvirt python3-venv\n")
    assert "RUN cp" not in made
    assert re.search(rf"ln -s \S+/bin/libvirt-exporter {COMMAND.split()[0]}$", made, re.M)


def test_the_exporter_takes_kolla_ansible_s_command() -> None:
    """Its flags as they are, on the port that this exporter has, too."""
    given = options(parse(COMMAND.split()[1:]))
    assert given["web.listen"] == [f"192.0.2.1:{PORT}"]
    assert Config().web.listen == (f":{PORT}",)


def test_globals_set_variables_of_kolla_ansible() -> None:
    """And no others: ansible would not say that one means nothing."""
    given = yaml.safe_load((KOLLA / "globals.yml").read_text())
    assert given.keys() == VARIABLES
    image = given["prometheus_libvirt_exporter_image"]
    assert ":" not in image.rpartition("/")[2], "the tag is a variable of its own"


def test_values_are_where_openstack_helm_looks_for_them() -> None:
    """Helm would not say that one means nothing."""
    jsonschema.validate(yaml.safe_load(VALUES.read_text()), SCHEMA)


def test_the_sidecar_listens_on_the_port_that_is_scraped() -> None:
    """With flags of the exporter, in its version, as the image's user."""
    values = yaml.safe_load(VALUES.read_text())
    sidecar = values["pod"]["sidecars"]["libvirt_exporter"]
    port = values["endpoints"]["libvirt_exporter"]["port"]["metrics"]["default"]
    assert options(parse(sidecar["args"]))["web.listen"] == [f":{port}"]
    assert values["images"]["tags"]["libvirt_exporter"].endswith(f":{__version__}")
    user = values["pod"]["security_context"]["libvirt"]["container"]["libvirt_exporter"]
    image = (ROOT / "deploy" / "container" / "Containerfile").read_text()
    assert f"\nUSER {user['runAsUser']}:{user['runAsGroup']}\n" in image
    assert not user["privileged"]
