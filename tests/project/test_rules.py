"""The alerting rules, their runbooks and the Alertmanager example are whole and fit together.

What the alerts do over time is tests/contract/test_rules_fire.py's.
"""

from __future__ import annotations

import functools
import itertools
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.prometheus import build
from deploy.prometheus.compatibility import PEERS
from libvirt_exporter.catalogue import DOMAIN_METRICS
from libvirt_exporter.catalogue.metric import StatEnum
from libvirt_exporter.model import JOB_OPERATIONS, REASONS, STATES
from tests.promql import (
    IDENTITY,
    SCRAPED,
    SERIES,
    recorded_rules,
    result_labels,
    selected_labels,
    selectors,
)

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
COMPATIBILITY: Final = sorted((build.DIRECTORY / "compatibility").glob("*.yml"))
ALERTMANAGER: Final = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
QUESTIONS: Final = ROOT / "docs" / "promql.md"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
GOLDENS: Final = ROOT / "tests" / "contract" / "goldens"

POOL_TYPES: Final = {
    *("dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "scsi", "mpath"),
    *("rbd", "sheepdog", "gluster", "zfs", "vstorage"),
}
"""Types of storage pools by libvirt's schema (storagepool.rng)."""

Rule = dict[str, Any]

RULES: Final[tuple[Rule, ...]] = tuple(
    rule
    for file in FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
)
SETTINGS: Final = build.settings()
LEVELS: Final = {
    "device": {"job", "instance", "domain", "uuid", "device"},
    "domain": {"job", "instance", "domain", "uuid"},
    "instance": {"job", "instance"},
    "project": {"job", "project_id", "project_name"},
}
"""Labels of recorded metrics by their level."""
NAMING: Final = {
    "libvirt_display_name": {"display_name"},
    "libvirt_project": {"project_id", "project_name"},
}
"""What metrics that name things say besides."""
NAMES: Final = sorted({rule["alert"] for rule in RULES})
EACH = pytest.mark.parametrize(
    "rule", RULES, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}"
)
EACH_RUNBOOK = pytest.mark.parametrize("name", NAMES)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The command's outcome."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def known_values() -> dict[tuple[str, str], set[str]]:
    """The values that labels with words for values take, by metric and label.

    Those that libvirt's numbers stand for, and those that recorded hosts show.
    """
    values = {
        (row.name, row.label): set(row.values.values())
        for row in DOMAIN_METRICS
        if isinstance(row, StatEnum)
    }
    for golden in GOLDENS.glob("*.all.prom"):
        for family in text_string_to_metric_families(golden.read_text()):
            for sample in family.samples:
                for label, value in sample.labels.items():
                    values.setdefault((sample.name, label), set()).add(value)
    return values | {
        ("libvirt_storage_pool_info", "pool_type"): POOL_TYPES,
        ("libvirt_domain_job_info", "operation"): set(JOB_OPERATIONS),
        ("libvirt_domain_last_job_success", "operation"): set(JOB_OPERATIONS),
        ("libvirt_domain_last_job_completed_timestamp_seconds", "operation"): set(JOB_OPERATIONS),
        ("libvirt_domain_state_reason", "state"): set(STATES),
        ("libvirt_domain_state_reason", "reason"): {
            reason for reasons in REASONS.values() for reason in reasons.values()
        },
    }


VALUES: Final = known_values()


def labels_of_alert(rule: Rule) -> set[str]:
    """The labels that an alert of the rule has."""
    return {*(result_labels(promql_parser.parse(rule["expr"])) or ()), *rule["labels"]}


def queries_in(rule: Rule) -> list[promql_parser.Expr]:
    """The queries of a rule's annotations."""
    text = "".join(rule["annotations"].values())
    return [
        promql_parser.parse(query.replace("%q", '"x"'))
        for query in re.findall(r'printf "(.+?)" ', text)
    ]


def runbook(name: str) -> str:
    """The text of a runbook; raises AssertionError where there is none."""
    path = RUNBOOKS / f"{name}.md"
    assert path.is_file(), (
        f"write docs/runbooks/{name}.md with the parts of its neighbours, then `make docs`"
    )
    return path.read_text()


def code_blocks(name: str, language: str) -> list[str]:
    """The code of this language in a runbook."""
    return re.findall(rf"```{language}\n(.*?)```", runbook(name), re.DOTALL)


@functools.cache
def virsh_help(command: str) -> str:
    """What virsh says of one of its commands; '' where it has no such command."""
    return run("virsh", "help", command).stdout.strip()


def assert_selects_what_exists(expression: promql_parser.Expr) -> None:
    """Every metric and label is the catalogue's, and every value is one that the label takes."""
    for selector in selectors(expression):
        name = selector.name or ""
        for matcher in selector.matchers.matchers:
            assert matcher.name in selected_labels(name), (
                f"{name} has no label {matcher.name}: docs/metrics.md lists them"
            )
            if name in SERIES and matcher.name not in SCRAPED | IDENTITY and matcher.value:
                known = VALUES.get((name, matcher.name), set())
                unknown = set(matcher.value.split("|")) - known
                assert not unknown, (
                    f"{matcher.name} of {name} is never seen to be {sorted(unknown)}, but "
                    f"{sorted(known)}: correct it, or let a host of tests/contract say it and "
                    "`make golden`"
                )


def test_files_are_as_their_source_says() -> None:
    """The directory holds what the generator writes, and no other rules."""
    wanted = build.files(SETTINGS)
    found = {
        str(path.relative_to(build.DIRECTORY)): path.read_text("utf-8")
        for path in (*FILES, *COMPATIBILITY, build.DIRECTORY / "prometheus-rule.yml")
    }
    assert found.keys() == wanted.keys()
    differing = sorted(name for name, text in wanted.items() if found[name] != text)
    assert not differing, f"{differing} are not as generated: run `make rules`"


def test_operator_gets_the_same_rules() -> None:
    """The resource for the Prometheus operator holds every group, unchanged."""
    resource = yaml.safe_load((build.DIRECTORY / "prometheus-rule.yml").read_text())
    groups = [group for file in FILES for group in yaml.safe_load(file.read_text())["groups"]]

    assert (resource["apiVersion"], resource["kind"]) == (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
    )
    assert resource["spec"] == {"groups": groups}


def test_every_setting_is_used_and_can_be_set(tmp_path: Path) -> None:
    """Another job name, base and threshold reach the rules, and promtool takes them."""
    source = "".join(path.read_text() for path in build.SOURCE.glob("libvirt-*.yml"))
    assert {*re.findall(r"@{(\w+)}", source), "runbook_base"} == SETTINGS.keys()

    arguments = ["--output", str(tmp_path), "--runbook-base", "https://wiki.example.org/kvm/"]
    assert build.main([*arguments, "--set", "job=kvm", "--set", "guest_severity=critical"]) == 0

    written = sorted(tmp_path.glob("rules/*.yml"))
    text = "".join(path.read_text() for path in written)
    assert 'up{job="kvm"}' in text
    assert 'job="libvirt"' not in text
    assert "runbook_url: https://wiki.example.org/kvm/docs/runbooks/LibvirtDown.md" in text
    assert run("promtool", "check", "rules", *written).returncode == 0


def test_unknown_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a name is named, and nothing is written."""
    with pytest.raises(SystemExit):
        build.main(["--set", "jobs=kvm"])

    assert "no setting is called 'jobs'" in capsys.readouterr().err


def test_check_tells_a_file_that_differs(tmp_path: Path) -> None:
    """`--check` is 1 and writes nothing until the files are written, then 0."""
    assert build.main(["--check", "--output", str(tmp_path)]) == 1
    assert not list(tmp_path.iterdir())

    assert build.main(["--output", str(tmp_path)]) == 0
    assert build.main(["--check", "--output", str(tmp_path)]) == 0


@pytest.mark.parametrize(("name", "expression"), recorded_rules().items())
def test_recorded_metric_is_named_by_level_metric_and_operation(name: str, expression: str) -> None:
    """The level is what its labels tell apart, and all it selects exists."""
    parsed = promql_parser.parse(expression)
    level, metric, operation = name.split(":")
    assert re.fullmatch(r"libvirt_[a-z_]+", metric)
    assert re.fullmatch(
        r"info|bytes|sum|count|ratio|rate5m|(ratio|seconds)_rate5m|bytes_sum", operation
    )
    assert_selects_what_exists(parsed)
    assert result_labels(parsed) == LEVELS[level] | NAMING.get(metric, set())


def test_few_alerts_page() -> None:
    """Critical is what takes VMs away or will soon, and nothing that a guest does to itself."""
    paging = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"}

    assert paging == {
        "LibvirtDomainCrashed",
        "LibvirtDomainDuplicateActive",
        "LibvirtDomainPausedIOError",
        "LibvirtDomainPausedNoSpace",
        "LibvirtDomainPostcopyFailed",
        "LibvirtDomainThinDiskNearFull",
        "LibvirtDown",
        "LibvirtExporterDown",
        "LibvirtMonitorsUnresponsive",
        "LibvirtStoragePoolFillingUp",
    }


def test_promtool_has_nothing_to_say_of_the_rules() -> None:
    """Prometheus' own checker takes all files, and its linter finds nothing."""
    files = (*FILES, *COMPATIBILITY)
    verdict = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *files)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    assert verdict.stdout.count("SUCCESS") == len(files) > len(FILES) > 0


@EACH
def test_alert_says_what_it_has_to(rule: Rule) -> None:
    """It has a telling name, one of three severities, and the usual annotations, in sentences."""
    assert re.fullmatch(r"Libvirt([A-Z][a-z]+|IO)+", rule["alert"])
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"].keys() == {"summary", "description", "runbook", "runbook_url"}
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
    assert rule["annotations"]["runbook_url"] == (
        f"{SETTINGS['runbook_base']}/docs/runbooks/{rule['alert']}.md"
    )
    assert not rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")


def test_alert_name_stands_for_one_thing() -> None:
    """Rules of one name differ in severity and are told apart by nothing else."""
    keys = [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]

    assert len(set(keys)) == len(keys)
    for _, rules in itertools.groupby(RULES, lambda rule: rule["alert"]):
        assert len({frozenset(labels_of_alert(rule)) for rule in rules}) == 1


@EACH
def test_expression_names_only_what_the_catalogue_has(rule: Rule) -> None:
    """Metrics, labels, and values of labels that say what happened."""
    assert_selects_what_exists(promql_parser.parse(rule["expr"]))


@EACH
def test_annotations_use_labels_that_the_alert_has(rule: Rule) -> None:
    """A template that names another label would show nothing in its place."""
    text = "".join(rule["annotations"].values())

    assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels_of_alert(rule)
    for query in queries_in(rule):
        assert_selects_what_exists(query)


@EACH
def test_query_of_an_annotation_finds_no_other_vm(rule: Rule) -> None:
    """By all labels of the VM: `labels.identity` may leave out `domain` or `uuid`."""
    told = labels_of_alert(rule) & (SCRAPED | IDENTITY)
    for query in queries_in(rule):
        for selector in selectors(query):
            selected = {matcher.name for matcher in selector.matchers.matchers}
            assert selected >= told & selected_labels(selector.name or ""), selector.name


@EACH
def test_alert_of_a_domain_names_it(rule: Rule) -> None:
    """Whoever reads the alert knows VM and host; other labels come and go only with the trouble."""
    labels = labels_of_alert(rule)

    if "domain" in labels:
        assert labels >= {"job", "instance", "domain", "uuid"}
        assert {"domain", "uuid", "instance"} <= set(
            re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"])
        )
    assert labels <= {
        *("job", "instance", "domain", "uuid", "severity"),
        *("device", "group", "job_type", "mountpoint", "operation", "pool", "reason"),
    }


# Other exporters' names


@pytest.mark.parametrize(
    ("peer", "name"),
    [(peer, name) for peer, found in PEERS.items() for name in found.rows],
)
def test_other_name_is_recorded_with_its_labels(peer: str, name: str) -> None:
    """It is no name of ours, selects what exists, and has labels of its kind."""
    expression = promql_parser.parse(PEERS[peer].rows[name].expression)
    identity = {"job", "instance", "domain", *(["uuid"] if peer == "kumina" else [])}
    kinds = {
        "libvirt_domain_block_stats_": {"target_device"},
        "libvirt_domain_interface_stats_": {"target_device"},
        "libvirt_domain_vcpu_time": {"vcpu"},
        "libvirt_domain_info_state": {"state_desc"},
    }
    own = {label for start, labels in kinds.items() if name.startswith(start) for label in labels}
    if peer == "kumina" and own:
        own.add("source_file" if "block" in name else "source_bridge")
    if name == "libvirt_domains_number" or name.startswith("libvirt_storage_pool"):
        identity = {"job", "instance", *(["pool"] if "pool" in name else [])}

    assert name not in SERIES
    assert_selects_what_exists(expression)
    assert PEERS[peer].rows[name].source in {s.name for s in selectors(expression)}
    assert result_labels(expression) == identity | own


@pytest.mark.parametrize("peer", PEERS)
def test_what_cannot_be_had_is_not_recorded(peer: str) -> None:
    """What has the same name as one of ours would mix with it; the reason names what exists."""
    for name, why in PEERS[peer].missing.items():
        assert name not in PEERS[peer].rows
        assert ("has the same name" in why) == (name in SERIES), name
        for named in re.findall(r"`(libvirt_\w+)`", why):
            assert named in SERIES, named


# Questions


def test_twenty_questions_have_a_query_and_a_pitfall() -> None:
    """Each has one query, which selects what exists and whose sides match, and its pitfall."""
    _introduction, names, *questions = QUESTIONS.read_text().split("\n## ")
    assert len(questions) == 20
    for number, question in enumerate(questions, 1):
        assert re.match(rf"{number}\. .+\?\n", question)
        assert question.count("```promql") == 1, question
        assert question.count("\n\nPitfall: ") == 1, question
    for text in (names, *questions):
        for query in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
            parsed = promql_parser.parse(query)
            assert_selects_what_exists(parsed)
            assert result_labels(parsed), query
        for name in re.findall(r"\b(?:\w+:)?libvirt_\w+(?::\w+)?", text):
            selected_labels(name)


# Runbooks


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """No alert leads nowhere, and no runbook is left behind."""
    found = {path.stem for path in RUNBOOKS.glob("*.md") if path.name != "README.md"}
    missing, left_over = sorted({*NAMES} - found), sorted(found - {*NAMES})
    assert not missing, f"write runbooks of {missing} in docs/runbooks"
    assert not left_over, f"no alert has the runbooks {left_over} in docs/runbooks: remove them"


def test_index_lists_every_alert_with_its_severity() -> None:
    """The table of runbooks is whole and agrees with the rules."""
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| ([\w, ]+) \|", (RUNBOOKS / "README.md").read_text(), re.M
    )
    severities = {
        name: ", ".join(rule["labels"]["severity"] for rule in RULES if rule["alert"] == name)
        for name in NAMES
    }

    assert all(name == file for name, file, _ in rows)
    assert sorted((name, severity) for name, _, severity in rows) == sorted(severities.items()), (
        "`make docs` writes the tables of docs/runbooks/README.md"
    )


@EACH_RUNBOOK
def test_runbook_has_its_four_parts(name: str) -> None:
    """A line in short, then meaning, impact, diagnosis and mitigation, in this order."""
    title, *parts = re.split(r"^## (.+)\n", runbook(name), flags=re.M)

    assert re.fullmatch(rf"# {name}\n\nIn short: \S.*\.\n\n", title)
    assert parts[::2] == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert all(part.strip() for part in parts[1::2])


@EACH_RUNBOOK
def test_runbook_links_lead_somewhere(name: str) -> None:
    """Every link is to a document that is there, and to a heading that it has."""
    broken = []
    for link in re.findall(r"\]\((.+?)\)", runbook(name)):
        file, _, anchor = link.partition("#")
        target = RUNBOOKS / file
        if not target.is_file() or anchor not in {"", *anchors(target)}:
            broken.append(link)
    assert not broken, f"docs/runbooks/{name}.md links to {broken}, which are not there"


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_runbooks_of_alerts_that_guests_cause_begin_with_that() -> None:
    """The reader learns first that the host is probably not the cause."""
    caused = {
        rule["alert"]
        for text in build.files(build.settings({"guest_severity": "guest"})).values()
        for group in yaml.safe_load(text).get("groups", ())
        for rule in group["rules"]
        if rule.get("labels", {}).get("severity") == "guest"
    }
    assert len(caused) > 3
    for name in sorted(caused):
        meaning = runbook(name).partition("## Meaning\n\n")[2]
        assert meaning.startswith("The cause is usually inside the guest, not on the host"), name


@EACH_RUNBOOK
def test_runbook_names_only_metrics_that_exist(name: str) -> None:
    """In the text and in queries, which parse and select what the catalogue has."""
    text = runbook(name)
    named = set(re.findall(r"\blibvirt_(?:domain|scrape|exporter|storage|up|info)\w*", text))
    queries = "".join(code_blocks(name, "promql")).splitlines()

    unknown = sorted(named - SERIES.keys())
    assert not unknown, f"docs/runbooks/{name}.md names {unknown}, which are no metrics"
    for query in (*queries, *re.findall(r"`(libvirt_\w+\{\w+=[^`]+)`", text)):
        assert_selects_what_exists(promql_parser.parse(query))


@EACH_RUNBOOK
def test_runbook_commands_can_be_pasted(name: str) -> None:
    """The shell takes them, and virsh knows its commands and their options."""
    text = runbook(name)
    for block in code_blocks(name, "sh"):
        checked = subprocess.run(["sh", "-n"], input=block, text=True, check=False)
        assert checked.returncode == 0, block
    for line in re.findall(r"(?:^ *|`)virsh ([^#`\n]+)", text, re.M):
        command, *words = re.sub(r"^(-r |-c \S+ )*", "", line).split()
        known = virsh_help(command)
        assert known, line
        assert all(word in known for word in words if word.startswith("--")), line


def test_command_that_virsh_does_not_know_is_seen() -> None:
    """The check above sees a slip in a command or an option."""
    assert not virsh_help("domstat")
    assert "--reasons" not in virsh_help("domstate")


# Alertmanager


def test_amtool_accepts_the_example() -> None:
    """Alertmanager's own checker takes the file as it is."""
    verdict = run("amtool", "check-config", ALERTMANAGER)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    ("severity", "receiver"),
    [("critical", "pager"), ("warning", "tickets"), ("info", "nobody"), ("unheard-of", "tickets")],
)
def test_severity_decides_who_is_told(severity: str, receiver: str) -> None:
    """Only what is critical reaches the pager, and nothing is lost for its severity."""
    routed = run(
        *("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}"),
        *("--verify.receivers", receiver, f"severity={severity}", "alertname=LibvirtDown"),
    )

    assert routed.returncode == 0, routed.stdout + routed.stderr


def matching(matchers: list[str]) -> list[Rule]:
    """The rules whose alerts match all of these."""

    def matches(rule: Rule) -> bool:
        labels = {"alertname": rule["alert"], **rule["labels"]}
        for matcher in matchers:
            parts = re.fullmatch(r'(\w+) (=|!=|=~) "?([^"]+)"?', matcher)
            assert parts, matcher
            value = labels[parts[1]]
            same = re.fullmatch(parts[3], value) if parts[2] == "=~" else value == parts[3]
            if bool(same) == (parts[2] == "!="):
                return False
        return True

    return [rule for rule in RULES if matches(rule)]


@pytest.mark.parametrize("inhibition", yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"])
def test_inhibition_names_alerts_that_exist(inhibition: Rule) -> None:
    """Each alternative names an alert; sources have all labels that have to be equal."""
    sources = matching(inhibition["source_matchers"])
    targets = matching(inhibition["target_matchers"])

    assert sources
    assert targets
    assert not [rule for rule in sources if rule in targets]
    assert all(labels_of_alert(rule) >= set(inhibition["equal"]) for rule in sources)
    for matcher in (*inhibition["source_matchers"], *inhibition["target_matchers"]):
        for name in re.findall(r"Libvirt\w+", matcher):
            assert any(re.match(name, known) for known in NAMES), (
                f"no alert is called {name}: correct deploy/alertmanager/alertmanager.yml"
            )
