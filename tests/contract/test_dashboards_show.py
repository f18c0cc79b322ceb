"""What panels show of known series, asked of Prometheus' own engine by `promtool test rules`.

The cases are files beside this one, in dashboards/. They name a panel where promtool has an
expression.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from libvirt_exporter.render.exposition import expose
from libvirt_exporter.render.series import Identity
from libvirt_exporter.render.text import TextRenderer
from tests.contract.cases import cases
from tests.contract.golden import PROFILES
from tests.contract.promtool import promtool, read, write
from tests.grafana import interpolated, other_queries, panel_queries
from tests.promql import RULES

CASES: Final = Path(__file__).parent / "dashboards"
FILES: Final = sorted(CASES.glob("*.yml"))

IDENTITIES: Final = {
    "both": ("domain", "uuid"),
    "uuid-alone": ("uuid",),
    "domain-alone": ("domain",),
}
"""Values of `labels.identity`, by the job whose hosts have them."""


def query_of(panel: str, chosen: Mapping[str, str]) -> str:
    """The query of a panel that has one only, by its dashboard and title."""
    [found] = [
        query.expression
        for query in panel_queries()
        if f"{query.dashboard}: {query.panel['title']}" == panel
    ]
    return interpolated(found, time_range="30m", values=chosen)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_show_what_the_cases_say(file: Path, tmp_path: Path) -> None:
    """The very series and figures."""
    found = read(file)
    for case in found["tests"]:
        for step in case["promql_expr_test"]:
            step["expr"] = query_of(step.pop("panel"), step.pop("chosen", {}))
            for sample in step["exp_samples"]:
                sample["value"] = float(sample["value"])

    verdict = promtool(write(tmp_path / file.name, found))
    assert verdict.returncode == 0, verdict.stdout


# Whatever tells VMs apart


def exposed(job: str) -> Iterator[dict[str, str]]:
    """The series of all recorded hosts, as the job's `labels.identity` has them, in promtool's
    notation; and an alert of each VM."""
    for instance, sample in cases().items():
        # Only an invented host has two VMs of one name.
        domains = tuple({domain.name: domain for domain in sample.domains}.values())
        sample = replace(sample, domains=domains)
        renderer = TextRenderer(PROFILES["all"], Identity(IDENTITIES[job]))
        body = expose(sample, renderer.render(sample.domains, sample.stats)).body.decode()
        target = {"job": job, "instance": instance}
        for family in text_string_to_metric_families(body):
            for each in family.samples:
                if math.isfinite(each.value):
                    grows = "+60" if family.type == "counter" else ""
                    values = f"{each.value:.6f}{grows}x40"
                    yield {"series": series(each.name, each.labels | target), "values": values}
                if each.name == "libvirt_domain_state" and each.labels["state"] == "running":
                    alert = {
                        **{name: each.labels[name] for name in IDENTITIES[job]},
                        "alertname": "LibvirtDomainCrashed",
                        "alertstate": "firing",
                        "severity": "critical",
                    }
                    yield {"series": series("ALERTS", alert | target), "values": "1x40"}


def series(name: str, labels: Mapping[str, str]) -> str:
    """A series as PromQL writes it."""
    texts = {
        label: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for label, value in labels.items()
    }
    return name + "{" + ",".join(f'{label}="{text}"' for label, text in texts.items()) + "}"


def asked(expression: str, **chosen: str) -> str:
    """The query, with a `$top` that leaves nothing out."""
    return interpolated(expression, top=100_000, time_range="30m", values=chosen)


def step(what: str, holds: str) -> dict[str, Any]:
    """A step of promtool's that `holds` passes if it is 1; `what` is in its complaint."""
    return {
        "expr": f'label_replace({holds}, "query", "{what}", "", "")',
        "eval_time": "35m",
        "exp_samples": [{"labels": f'{{query="{what}"}}', "value": 1}],
    }


def same(one: str, other: str, figure: str) -> str:
    """An expression that is 1 if both have the same `count` or `sum`, of no series too."""
    left, right = (f"({figure}({each}) or vector(0))" for each in (one, other))
    # A sum depends on the order of its series in the last digits.
    return f"abs({left} - {right}) <= bool 1e-9 * abs({left})"


def test_panels_show_the_same_whatever_labels_identify_a_vm(tmp_path: Path) -> None:
    """As many series and the same sum with `uuid` or `domain` alone as with both.

    The page of a VM selects by UUID: without it, it shows nothing, and not all VMs together.
    """
    steps = []
    for query in (*panel_queries(), *other_queries()):
        what = f"{query.dashboard}: {query.place}"
        expression = query.expression
        whole = asked(expression, job="both")
        for job in ("uuid-alone", "domain-alone"):
            if "$uuid" in expression and job == "domain-alone":
                nothing = asked(expression, job=job, uuid="")
                steps.append(step(f"{what}, {job}", same(nothing, "vector(0) < 0", "count")))
            else:
                part = asked(expression, job=job)
                steps += [
                    step(f"{what}, {job}, {figure}", same(whole, part, figure))
                    for figure in ("count", "sum")
                ]

    found = {
        "rule_files": [str(RULES / "libvirt-recording.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [each for job in IDENTITIES for each in exposed(job)],
                "promql_expr_test": steps,
            }
        ],
    }
    verdict = promtool(write(tmp_path / "identity.yml", found))
    assert not re.findall(r'exp: {query="(.*)"}', verdict.stdout)
    assert verdict.returncode == 0, verdict.stdout
