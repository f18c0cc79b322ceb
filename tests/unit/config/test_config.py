"""The configuration: what is read from a file, and how every mistake in it is reported."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Struct, structs

from libvirt_exporter.catalogue import ALIASES, GROUPS
from libvirt_exporter.config import (
    FLAGS,
    Config,
    ConfigError,
    Place,
    Problem,
    changed_keys,
    chosen_by_vm_fields,
    load,
    metrics_of,
    notes,
    override,
    place_of,
    read_document,
)
from libvirt_exporter.config.document import Value
from libvirt_exporter.config.durations import format_duration, parse_duration
from libvirt_exporter.config.problem import MAXIMUM_SEARCHES
from libvirt_exporter.config.schema import (
    DURATION_PATTERN,
    Api,
    Applications,
    CustomLabel,
    Domains,
    Events,
    Fields,
    Groups,
    GuestAgent,
    Labels,
    Libvirt,
    Limits,
    Log,
    Scrape,
    Web,
)
from libvirt_exporter.query.fields.table import BY_NAME, FIELDS
from libvirt_exporter.reference.configuration import configuration_markdown, configuration_schema
from libvirt_exporter.render.selection import groups_named

FIXTURES = Path(__file__).parents[1] / "fixtures" / "config"
SHIPPED = Path(__file__).parents[3] / "config"
EXAMPLES = sorted((SHIPPED / "examples").glob("*.yml"))


def problems(source: str | Path) -> tuple[Problem, ...]:
    """Load what must be refused, and return why."""
    with pytest.raises(ConfigError) as caught:
        load(source)
    return caught.value.problems


def messages(source: str | Path) -> list[str]:
    """Load what must be refused, and return the messages alone."""
    return [problem.message for problem in problems(source)]


def option_paths(kind: type[Struct], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every option of the schema."""
    for field in structs.fields(kind):
        path = (*prefix, field.name)
        if isinstance(field.default, Struct):
            yield from option_paths(type(field.default), path)
        else:
            yield path


def at(data: object, path: tuple[str, ...]) -> object:
    """Return what stands at a path of nested mappings."""
    for key in path:
        assert isinstance(data, dict)
        data = data[key]
    return data


# Reading


@pytest.mark.parametrize(
    "text", ["", "\n# only a comment\n", "---\n", "web:\nlabels:\n  custom:\n"]
)
def test_an_empty_file_section_or_list_has_its_defaults(text: str) -> None:
    """What is only commented out changes nothing."""
    assert load(text) == Config()


def test_every_option_is_read() -> None:
    """Each option of a file that sets them all arrives in the configuration."""
    namespaces = {"acme": "https://acme.example/vm"}
    assert load(FIXTURES / "every-key.yml") == Config(
        libvirt=Libvirt(
            uri="qemu+tls://node7/system",
            name="node7",
            timeout=90.0,
            parallel_calls=2,
            stuck_calls=6,
        ),
        groups=Groups(include=("default", "dirtyrate"), exclude=("vcpu",)),
        fields=Fields(include=("block.<num>.rd.times",), exclude=("libvirt_domain_*",)),
        domains=Domains(
            include=("web-[0-9]+", "state:running"),
            exclude=("label:tenant=test-.*", "uuid:4DEA22B3-1d52-d8f3-2516-782e98ab3fa0"),
        ),
        labels=Labels(
            identity=("uuid", "tenant"),
            custom=(
                CustomLabel(name="tenant", xpath="metadata/acme:vm/@tenant", namespaces=namespaces),
                CustomLabel(name="rack", xpath="metadata/acme:rack", namespaces=namespaces),
            ),
        ),
        events=Events(state_directory="/srv/events", all_counters=True),
        guest_agent=GuestAgent(
            enabled=True,
            response_timeout=3.0,
            parallel_calls=4,
            interval=30.0,
            slow_interval=3600.0,
            entries=20,
            exclude_filesystems=("nfs4?",),
            exclude_mountpoints=("/mnt/.*",),
        ),
        applications=Applications(
            enabled=True,
            state_directory="/srv/applications",
            interval=300.0,
            quiet=120.0,
            longest_wait=3600.0,
        ),
        limits=Limits(series=50000, label_value_length=64),
        api=Api(max_age=2.0, tombstones=3600.0, longest_wait=30.0, sensitive_fields=("serial",)),
        scrape=Scrape(timeout_offset=0.25, info_refresh=600.0),
        web=Web(
            listen=("127.0.0.1:9177", "[::1]:0", "unix:/run/web.sock"),
            socket_mode="0600",
            systemd_socket=True,
            telemetry_path="/libvirt/metrics",
            config_file=str(FIXTURES / "web.yml"),
            max_requests=7,
        ),
        log=Log(level="debug", format="json"),
    )


def test_merge_keys_and_anchors_are_followed() -> None:
    """A mapping's own keys win over merged ones, and earlier merged ones over later ones."""
    text = """
web: &web {max_requests: 5}
log: {<<: [{level: debug}, {level: error, format: json}], format: logfmt}
limits: {<<: {series: 9}, series: 8}
"""
    config = load(text)
    assert (config.web.max_requests, config.log, config.limits.series) == (
        5,
        Log(level="debug", format="logfmt"),
        8,
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("9s", 9),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("0.25s", 0.25),
        ("1s500ms", 1.5),
        ("9", 9),
        ("0.5", 0.5),
    ],
)
def test_durations_are_read_as_seconds(text: str, seconds: float) -> None:
    """All units, their combinations, and plain numbers of seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "9 s", "9S", "-1s", "1s1m", "1.5m", "1e3", "9s\n", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Also spellings that a lenient reader would let pass."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**7), st.sampled_from([0.001, 0.5, 1, 60, 3600]))
def test_a_formatted_duration_reads_back(count: int, unit: float) -> None:
    """What documentation shows is what a file may say."""
    seconds = round(count * unit, 3)
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


# Mistakes


def test_every_mistake_is_reported_in_one_run_with_its_line() -> None:
    """Exactly the mistakes that the fixture marks, each on its line, with its hint."""
    file = FIXTURES / "mistakes.yml"
    expected = [
        f"{file}:{number}: {line.partition('#! ')[2]}"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "#! " in line
    ]
    assert [str(problem) for problem in problems(file)] == expected


def test_a_problem_without_line_or_hint_says_neither() -> None:
    """The text of a problem has no empty parts."""
    assert str(Problem("a.yml", 0, "is bad")) == "a.yml: is bad"
    assert str(Problem("a.yml", 3, "is bad", "fix it")) == "a.yml:3: is bad; fix it"


def test_a_problem_is_one_printable_line() -> None:
    """Names from the file that end up in a hint cannot break or forge lines of a log."""
    text = 'labels: {identity: [uuid, tenan], custom: [{name: "tenant\\n\\e", xpath: a}]}'
    with pytest.raises(ConfigError) as caught:
        load(text)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems) == 2
    assert all(line.isprintable() for line in lines)
    assert lines[1].endswith(r"did you mean tenant\n\x1b?")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[web]", 1, "the file must be a mapping of options, not a list"),
        ("web", 1, "the file must be a mapping of options, not 'web'"),
        ("web: {}\n---\nlog: {}\n", 2, "a second document starts here"),
        ("web:\n\tlisten: []\n", 2, "not valid YAML: while scanning for the next token"),
        ("web:\n  listen: [a\n", 3, "not valid YAML: while parsing a flow sequence"),
        ("web: *nothing\n", 1, "not valid YAML: found undefined alias 'nothing'"),
        ("web: \x07\n", 1, "the character U+0007 is not allowed in YAML"),
        ('libvirt:\n  name: "\\uD800"\n', 2, "'\\ud800' contains NUL or half a surrogate pair"),
        ('libvirt: {name: "\\UFFFFFFFF"}\n', 1, "not valid YAML: "),
        ("web: !!python/object:os.system {}\n", 1, "the YAML tag "),
        ("log: {level: !!bool maybe}\n", 1, "log.level must be one of debug, info, warn, error"),
        ("log: {level: !mine debug}\n", 1, "the YAML tag '!mine' is not supported"),
        ('domains: {include: ["a\\0"]}\n', 1, "'a\\x00' contains NUL or half a surrogate pair"),
        ('log: {"a\\0": 1}\n', 1, "'a\\x00' contains NUL or half a surrogate pair"),
        ("log: {<<: !mine {}}\n", 1, "the YAML tag '!mine' is not supported"),
        ("{[a, b]: 1}\n", 1, "a key must be plain text"),
        ("log: {<<: debug}\n", 1, "<< must be followed by a mapping"),
        ("web: &web {x: *web}\n", 1, "nested deeper than 50 levels, or in itself"),
        ("[" * 1000, 1, "nested too deeply"),
        ("web: {listen: []}", 1, "web.listen must be a list of texts that is not empty"),
        ("groups: {include: []}", 1, "no group is selected"),
        ("groups: {include: [vcpu], exclude: [default]}", 1, "no group is selected"),
        ("labels: {identity: []}", 1, "domain or uuid must be an identity label"),
        ("web: {listen: ['[127.0.0.1]:1']}", 1, "'[127.0.0.1]:1' is not an address to listen on"),
        ("web: {telemetry_path: /-/metrics}", 1, "/-/metrics is used by the exporter itself"),
        ("domains: {include: ['']}", 1, "an empty pattern matches no name"),
        (f"libvirt: {{stuck_calls: {'9' * 5000}}}", 1, "libvirt.stuck_calls must be a whole"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_where_it_does_not(
    text: str, line: int, message: str
) -> None:
    """Broken YAML, foreign YAML and settings that contradict each other give one problem each."""
    (problem,) = problems(text)
    assert problem.line == line
    assert problem.message.startswith(message)


def test_a_custom_label_may_not_take_the_place_of_a_metrics_own_label() -> None:
    """On every series it would collide; on libvirt_domain_labels alone it does not."""
    rendered = {
        name
        for golden in Path("tests/contract/goldens").glob("*.prom")
        for labels in re.findall(
            r"^libvirt_domain_(?!labels{)\w+{(.*)} ", golden.read_text(), re.MULTILINE
        )
        for name in re.findall(r'(?:^|,)(\w+)="', labels)
    }
    reserved = {"domain", "uuid", "le", "job", "instance"}
    assert {"device", "code", "reason", "state"} < rendered
    for name in sorted(rendered - reserved):
        custom = f"labels: {{custom: [{{name: {name}, xpath: title}}]"
        assert load(f"{custom}}}").labels.custom[0].name == name
        assert messages(f"{custom}, identity: [domain, {name}]}}") == [
            f"'{name}' is already a label of some domain metrics"
        ]


def test_an_expression_that_cannot_be_used_is_reported_at_its_line() -> None:
    """The mistakes of label_path arrive with the position of the xpath."""
    (problem,) = problems("labels:\n  custom:\n  - name: a\n    xpath: metadata/x:y\n")
    assert problem.line == 4
    assert "x:y" in problem.message or "prefix" in problem.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("listen: []", "did you mean listen inside web?"),
        ("log.level: debug", "did you mean level inside log?"),
        ("scrape: {timeout: 1s}", "did you mean timeout inside libvirt?"),
        ("log: {include: []}", "known: level, format"),
        ("targets: {a: {uri: 'x:', urii: b}}", "did you mean uri?"),
        ("Web: {}", "did you mean web?"),
    ],
)
def test_a_key_in_the_wrong_place_is_told_its_place(text: str, hint: str) -> None:
    """A key that one section knows is sent there; else the nearest key, or all there are."""
    (problem,) = problems(text)
    assert problem.hint == hint


def test_one_mistake_is_reported_once() -> None:
    """A label without xpath is still known to the identity labels and to domain patterns."""
    text = """
labels: {identity: [domain, tenant], custom: [{name: tenant}]}
domains: {include: ["label:tenant=a"]}
"""
    assert messages(text) == ["the label tenant has no value"]


@pytest.mark.parametrize(
    ("label", "message", "hint"),
    [
        ("name: a", "the label a has no value", "set xpath or metadata"),
        (
            "name: a, xpath: title, metadata: openstack.project",
            "xpath and metadata are both set",
            "set one of them",
        ),
        (
            "name: a, metadata: openstack.projectid",
            "unknown metadata key 'openstack.projectid'",
            "did you mean openstack.project_id?",
        ),
    ],
)
def test_a_label_has_one_value(label: str, message: str, hint: str) -> None:
    """An expression, or a key that exists."""
    (problem,) = problems(f"labels: {{custom: [{{{label}}}]}}")
    assert (problem.message, problem.hint) == (message, hint)


def test_a_fact_of_the_xml_is_no_field() -> None:
    """Where a metric on the domain XML comes from is told in words, which no pattern means."""
    (problem,) = problems("fields: {include: [domain XML*]}")
    assert problem.message == "'domain XML*' matches no metric and no stats key"


CHOOSABLE = [field.name for field in FIELDS if field.metrics]


@pytest.mark.parametrize("name", CHOOSABLE)
def test_a_field_of_the_api_chooses_its_metrics(name: str) -> None:
    """Each that has some, for what is shown and what is not, and whatever it has in common with
    the name of a group."""
    config = load(f"fields: {{include: [{name}], exclude: ['block.*', {name}]}}")
    assert metrics_of(config.fields.include) == BY_NAME[name].metrics
    assert metrics_of(config.fields.exclude) == ("block.*", *BY_NAME[name].metrics)


@pytest.mark.parametrize("name", sorted({*BY_NAME} - {*CHOOSABLE}))
def test_a_field_of_the_api_without_a_metric_is_refused_with_its_reason(name: str) -> None:
    """Which docs/metrics.md has, too."""
    (problem,) = problems(f"fields: {{include: [{name}]}}")
    assert (problem.message, problem.hint) == (
        f"no metric shows the field {name}",
        BY_NAME[name].no_metric,
    )


def test_a_misspelt_field_of_the_api_is_corrected() -> None:
    """As any other name."""
    assert [one.hint for one in problems("fields: {include: [memUsge]}")] == [
        "did you mean memUsage?"
    ]


def test_what_a_field_of_the_api_stands_for_is_told() -> None:
    """For `check-config`."""
    config = load("fields: {include: [pauseCode, block.*], exclude: [pid]}")
    assert [*chosen_by_vm_fields(config)] == [
        (
            "fields.include",
            "pauseCode stands for libvirt_domain_pause_code, libvirt_domain_disk_error",
        ),
        ("fields.exclude", "pid stands for libvirt_domain_process_id"),
    ]


def test_suggestions_are_searched_for_the_first_problems_only() -> None:
    """Thousands of mistakes are all reported; only the first are compared with all names."""
    hints = [problem.hint for problem in problems("\n".join(f"web{n}: 1" for n in range(5000)))]
    assert hints[:MAXIMUM_SEARCHES] == ["did you mean web?"] * MAXIMUM_SEARCHES
    assert set(hints[MAXIMUM_SEARCHES:]) == {""}
    assert len(hints) == 5000


def test_a_yaml_bomb_is_refused_quickly() -> None:
    """Aliases that would expand to billions of values stop at the limit."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = problems("\n".join(lines))
    assert problem.message == "more than 100000 values, with aliases expanded"


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"web:\n  \xe9"), "not UTF-8 text"),
        (
            lambda path: path.write_bytes(b"#" * 2**20 + b"#"),
            "cannot be read: larger than 1048576 bytes",
        ),
        (os.mkfifo, "cannot be read: not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: not a regular file"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem_of_that_file(
    tmp_path: Path, prepare: Callable[[Path], object], message: str
) -> None:
    """Missing, a directory, in another encoding, too large: the message names file and reason."""
    path = tmp_path / "exporter.yml"
    prepare(path)
    (problem,) = problems(path)
    assert (problem.file, problem.message) == (str(path), message)


def test_a_path_that_cannot_exist_is_a_problem_too() -> None:
    """NUL in a path is reported, not raised as ValueError."""
    (message,) = messages(Path("a\0b"))
    assert message.startswith("cannot be read")


def test_groups_that_take_the_place_of_the_default_are_told() -> None:
    """With how to keep it."""
    assert [*notes(load("groups: {include: [dirtyrate]}"))] == [
        (
            "groups.include",
            "groups.include shows dirtyrate instead of the groups that are on by default",
            "to add to those, write include: [default, dirtyrate]",
        )
    ]


def test_what_guest_agents_take_is_told() -> None:
    """The read-write connection can do more than it is used for."""
    (found,) = notes(load("guest_agent: {enabled: true}"))

    assert found[0] == "guest_agent.enabled"
    assert "read-write connection" in found[1]
    assert not [*notes(load("guest_agent: {enabled: false}"))]


def test_what_lists_of_applications_take_is_told() -> None:
    """Programs run in the guests."""
    _, found = notes(load("{guest_agent: {enabled: true}, applications: {enabled: true}}"))

    assert found[0] == "applications.enabled"
    assert "programs" in found[1]


def test_a_group_that_goes_with_an_excluded_one_is_told() -> None:
    """Where it is included by name; whoever includes all does not miss it."""
    found = [*notes(load("groups: {include: [default, block-limits, kvm], exclude: [block]}"))]
    assert found == [
        (
            "groups.exclude",
            "groups.exclude also excludes block-limits: libvirt returns it with block only",
            "remove block from groups.exclude, or block-limits from groups.include",
        )
    ]
    assert not [*notes(load("groups: {include: [all], exclude: [block]}"))]
    assert not [*notes(load("groups: {include: [all], exclude: [block, block-limits]}"))]


@pytest.mark.parametrize("words", [("block", "block"), ("disk", "block"), ("block", "disk")])
def test_a_group_that_is_included_and_excluded_by_name_is_reported(words: tuple[str, str]) -> None:
    """Whichever of its names is used."""
    text = "groups: {{include: [default, {}], exclude: [{}]}}"
    assert [*notes(load(text.format(*words)))] == [
        (
            "groups.exclude",
            "groups.exclude excludes block, which groups.include selects",
            "remove it from one of them",
        )
    ]


@pytest.mark.parametrize(("alias", "groups"), ALIASES.items())
def test_an_alias_stands_for_its_groups(alias: str, groups: tuple[str, ...]) -> None:
    """Each group exists, and what an alias excludes is excluded."""
    assert {*groups} <= {group.name for group in GROUPS}
    assert groups_named([alias]) == groups_named(groups)
    assert groups_named(["all"], [alias]) == groups_named(["all"], groups)
    assert "no group is selected" in str(
        problems(f"groups: {{include: [{alias}], exclude: [{', '.join(groups)}]}}")
    )


@pytest.mark.parametrize(
    ("word", "hint"),
    [("nic", "interface"), ("disks", "block"), ("RAM", "balloon"), ("networks", "network")],
)
def test_an_unknown_group_is_answered_by_what_is_meant(word: str, hint: str) -> None:
    """Words that resemble another group's name more lead to the group with that meaning."""
    (problem,) = problems(f"groups: {{include: [{word}]}}")
    assert problem.hint == f"did you mean {hint}?"


@pytest.mark.parametrize(
    ("include", "hints"),
    [
        ("[default, memory]", []),
        ("[state, memory]", ["the memory figures of VMs are in balloon"]),
        ("[state, memory, mem]", []),
        ("[cpu, network]", ["the figures of VMs' NICs are in interface"]),
        ("[default, network]", []),
    ],
)
def test_a_group_whose_name_may_be_misread_is_explained(include: str, hints: list[str]) -> None:
    """Unless the group that may be meant is shown as well."""
    found = [*notes(load(f"groups: {{include: {include}}}"))]
    assert [hint for _, what, hint in found if what.startswith("the group ")] == hints


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("warning", "warn"),
        ("WARN", "warn"),
        ("Warning", "warn"),
        ("INFO", "info"),
        ("debug", "debug"),
    ],
)
def test_a_log_level_may_be_spelled_as_elsewhere(text: str, level: str) -> None:
    """In the file and as a flag."""
    assert load(f"log: {{level: {text}}}").log.level == level
    assert override(Config(), {"log.level": text}).log.level == level


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("web: {listen: 9177}", "web: {listen: [':9177']}"),
        ("web: {listen: ':9177'}", "web: {listen: [':9177']}"),
        ("domains: {include: 42}", "domains: {include: ['42']}"),
    ],
)
def test_the_list_that_is_suggested_for_a_single_value_is_accepted(text: str, written: str) -> None:
    """A port alone becomes an address to listen on."""
    (problem,) = problems(text)
    assert problem.hint == f"write {written.partition(': ')[2].partition(': ')[2].rstrip('}')}"
    load(written)


def test_a_list_of_groups_is_sent_to_the_option_that_holds_it() -> None:
    """It is what most other exporters' configurations would have."""
    (problem,) = problems("groups: [cpu, disk]")
    assert problem.hint == "write the list as groups.include"


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("qemu+shh://node7/system", "did you mean ssh?"),
        ("qemu+foo://node7/system", "known: unix, ssh, tls, tcp, libssh, libssh2, ext"),
        ("qemmu:///system", "did you mean qemu?"),
        ("qemu:///sytem", "did you mean /system?"),
        ("qemu+tls://node7/sesion?no_verify=1", "did you mean /session?"),
        ("qemu:///", "known: /session, /system"),
        ("qemu:///system/", "did you mean /system?"),
        ("qemu://system", "write qemu:///system"),
        ("qemu://node7", "write qemu://node7/system"),
        ("qemu:", "write qemu:///system"),
        ("lxc:///session", "known: /, /system"),
        ("/var/run/libvirt/libvirt-sock", "for example qemu:///system"),
    ],
)
def test_a_uri_that_libvirt_cannot_open_is_refused(uri: str, hint: str) -> None:
    """Drivers, transports and paths are known without a host."""
    (problem,) = problems(f"libvirt: {{uri: '{uri}'}}")
    assert problem.hint == hint
    if hint.startswith(("write ", "for example ")):
        load(f"libvirt: {{uri: '{hint.split()[-1]}'}}")


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:/system",
        "qemu+unix:///session?socket=/run/user/1/libvirt/libvirt-sock",
        "qemu+ssh://root@[::1]:22/system?keyfile=/root/id",
        "qemu:///embed?root=/x",
        "test:///default",
        "test:///any/file.xml",
        "lxc:///",
        "xen:///system",
        "ch:///session",
        "esx://host.example/?no_verify=1",
        "vpx://vcenter.example/dc/cluster/host",
        "novel:///system",
    ],
)
def test_a_uri_that_libvirt_may_open_is_accepted(uri: str) -> None:
    """A driver that resembles no known one may belong to a newer libvirt."""
    assert load(f"libvirt: {{uri: '{uri}'}}").libvirt.uri == uri


def test_nothing_is_left_of_what_goes_with_an_excluded_group() -> None:
    """It is as if it were excluded itself."""
    assert "no group is selected" in str(
        problems("groups: {include: [block-timed], exclude: [block]}")
    )


ON_BY_DEFAULT = ", ".join(group.name for group in GROUPS if group.default)


@pytest.mark.parametrize(
    "include", ["[default, dirtyrate]", "[all]", f"[dirtyrate, {ON_BY_DEFAULT}]"]
)
def test_groups_that_lose_nothing_of_the_default_are_not_told(include: str) -> None:
    """Nor what is excluded besides: whoever did that knows of it."""
    config = load(f"groups: {{include: {include}, exclude: [kvm]}}")
    assert not [*notes(config)]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Editors on other systems write one."""
    path = tmp_path / "exporter.yml"
    path.write_bytes(b"\xef\xbb\xbflog: {level: debug}\n")
    assert load(path).log.level == "debug"


YAML_TEXT = st.text() | st.text(alphabet="{}[]:,-&*!|>'\"%@#?<~ \n\tab01")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.sampled_from([name for path in option_paths(Config) for name in path]) | st.text()
YAML_DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=30
)

LEAVES = SCALARS | st.lists(
    SCALARS | st.fixed_dictionaries({"name": SCALARS, "xpath": SCALARS, "namespaces": YAML_DATA})
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        section.name: st.fixed_dictionaries(
            {}, optional=dict.fromkeys(structs.asdict(section.default), LEAVES)
        )
        for section in structs.fields(Config)
        if isinstance(section.default, Struct)
    },
)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@settings(deadline=None)
@given(YAML_TEXT | (YAML_DATA | OPTIONS).map(yaml.safe_dump))
@example("? |\n")
@example("%YAML 1.1\n%TAG ! tag:x,2000:\n--- !a\n")
@example("domains: {include: ['a{99999999999999999999}']}")
def test_whatever_the_text_only_config_errors_are_raised(text: str) -> None:
    """Arbitrary text and arbitrary documents give a configuration or problems with positions."""
    try:
        load(text)
    except ConfigError as error:
        refused = error
    else:
        return
    assert refused.problems
    assert str(refused).encode().count(b"\n") == len(refused.problems) - 1


# Places and changes


@pytest.mark.parametrize(
    ("written", "read"),
    [("web.yml", "{directory}/web.yml"), ("/etc/web.yml", "/etc/web.yml"), ('""', "")],
)
def test_a_web_configuration_is_found_beside_the_file_that_names_it(
    written: str, read: str, tmp_path: Path
) -> None:
    """A relative name in the file does not depend on the working directory."""
    file = tmp_path / "exporter.yml"
    file.write_text(f"web: {{config_file: {written}}}\n")
    config = load(file)
    assert config.web.config_file == read.format(directory=tmp_path)


def test_a_web_configuration_of_the_command_line_is_not_moved() -> None:
    """A relative name there is one of the working directory."""
    assert override(Config(), {"web.config_file": "web.yml"}).web.config_file == "web.yml"


@pytest.mark.parametrize("option", ["listen", "telemetry_path", "config_file", "max_requests"])
def test_what_takes_a_restart_says_so(option: str) -> None:
    """Whoever reads about an option that no reload changes is told."""
    assert "restart" in configuration_schema()["$defs"]["Web"]["properties"][option]["description"]


@pytest.mark.parametrize(
    ("option", "line"),
    [("web.config_file", 3), ("log.level", 5), ("log", 5), ("web.listen", 0), ("web.a.b", 0)],
)
def test_a_place_is_that_of_the_key(tmp_path: Path, option: str, line: int) -> None:
    """The line of an option in a file, of one that is merged in too; 0 when it is not set."""
    file = tmp_path / "exporter.yml"
    file.write_text("\nweb:\n  config_file: x\n  a: [b]\nlog: {<<: {level: debug}}\n")
    assert place_of(option, file) == Place(str(file), line)


def test_changed_keys_are_those_that_differ() -> None:
    """Single options of sections, and whole mappings of names."""
    before = load("web: {listen: [':1']}\nlog: {level: warn}\n")
    after = structs.replace(load("log: {level: error}\n"), targets={"a": 1})
    assert changed_keys(before, before) == []
    assert changed_keys(before, after) == ["targets", "web.listen", "log.level"]


# Command line


def test_flags_replace_options_and_leave_the_rest() -> None:
    """Values come as texts, and the file's other options stay."""
    config = load(FIXTURES / "every-key.yml")
    changes = {
        "libvirt.uri": "test:///default",
        "web.listen": [":1", ":2"],
        "web.systemd_socket": True,
        "web.telemetry_path": "/m",
        "web.config_file": "",
        "web.max_requests": "3",
        "scrape.timeout_offset": "1s",
        "log.level": "error",
        "log.format": "logfmt",
    }
    assert changes.keys() == FLAGS.keys()
    assert override(config, changes) == structs.replace(
        config,
        libvirt=structs.replace(config.libvirt, uri="test:///default"),
        web=Web(
            listen=(":1", ":2"),
            socket_mode="0600",
            systemd_socket=True,
            telemetry_path="/m",
            max_requests=3,
        ),
        scrape=structs.replace(config.scrape, timeout_offset=1.0),
        log=Log(level="error", format="logfmt"),
    )


def test_a_bad_flag_is_reported_under_its_own_name() -> None:
    """The operator reads the flag that was given, not a file."""
    with pytest.raises(ConfigError) as caught:
        override(Config(), {"web.listen": ["9177"], "log.level": "inf", "libvirt.bad": None})
    assert sorted(map(str, caught.value.problems)) == [
        (
            "--libvirt.bad: unknown key 'bad' in libvirt; "
            "known: uri, name, timeout, parallel_calls, stuck_calls"
        ),
        (
            "--log.level: log.level must be one of debug, info, warn, error, not 'inf'; "
            "did you mean info?"
        ),
        "--web.listen-address: '9177' is not an address to listen on; write ':9177'",
    ]


def test_overridden_groups_are_checked_as_those_of_a_file() -> None:
    """The names count as they do in a file."""
    changes = {"groups.include": ["nonsense"]}
    with pytest.raises(ConfigError, match=r"--groups\.include: unknown group 'nonsense'"):
        override(Config(), changes)
    assert override(Config(), {"groups.include": ["block"]}).groups.include == ("block",)


# Other YAML files


def test_no_message_repeats_secrets_of_the_uri() -> None:
    """A reload's answer goes to whoever asked for it."""
    with pytest.raises(ConfigError) as raised:
        load("libvirt: {uri: 'qemu+ssh//anna:hunter2@node7/system?keyfile=/root/id'}")
    assert "'qemu+ssh//***@node7/system?keyfile=***' is not a libvirt URI" in str(raised.value)


def plain(value: Value) -> object:
    """The value as plain Python data."""
    if isinstance(value.content, Mapping):
        return {key: plain(child) for key, child in value.content.items()}
    if isinstance(value.content, tuple):
        return [plain(child) for child in value.content]
    return value.content


def test_read_document_gives_plain_data(tmp_path: Path) -> None:
    """Lists, numbers and texts as Python has them; keys and dates stay texts."""
    path = tmp_path / "web.yml"
    path.write_text("users: {1: a, on: b}\nhttp: [true, 2, 2026-01-01, null]\n")
    assert plain(read_document(path)) == {
        "users": {"1": "a", "on": "b"},
        "http": [True, 2, "2026-01-01", None],
    }
    path.write_text("")
    assert plain(read_document(path)) is None


def test_read_document_refuses_duplicate_keys_with_their_line(tmp_path: Path) -> None:
    """A second user of the same name never silently replaces the first."""
    path = tmp_path / "web.yml"
    path.write_text("users:\n  a: 1\n  a: 2\n")
    with pytest.raises(ConfigError) as caught:
        plain(read_document(path))
    assert str(caught.value) == (
        f"{path}:3: the key 'a' is given twice; the first one is in line 2"
    )


# What is shipped


def test_the_shipped_file_holds_every_option_with_its_default() -> None:
    """It loads cleanly, equals the defaults, and leaves no option out."""
    file = SHIPPED / "exporter.yml"
    assert load(file) == Config()
    data = plain(read_document(file))
    for path in option_paths(Config):
        at(data, path)


@pytest.mark.parametrize(
    ("section", "option", "example"),
    [
        (section, option, example)
        for section, definition in configuration_schema()["$defs"].items()
        for option, schema in definition["properties"].items()
        for example in schema.get("examples", ())
    ],
)
def test_an_example_of_an_option_loads_and_is_no_default(
    section: str, option: str, example: object
) -> None:
    """What the shipped file shows above an option can be written in its place."""
    tenant = configuration_schema()["$defs"]["Labels"]["properties"]["custom"]["examples"][0]
    changed: dict[str, Any] = {section.lower(): {option: example}}
    changed["labels"] = {"custom": tenant, **changed.get("labels", {})}
    path = [section.lower(), option]
    if section == "Config":
        changed, path = {option: example}, [option]
    elif section == "Target":
        transport = "tls" if option == "pki_directory" else "libssh"
        entry = {"uri": f"qemu+{transport}://node7/system", option: example}
        changed, path = {"targets": {"node7": entry}}, ["targets"]
    look = attrgetter(".".join(path))
    assert look(load(json.dumps(changed))) != look(Config())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_loads_with_the_catalogue_and_changes_something(file: Path) -> None:
    """Every example is a working configuration."""
    assert load(file) != Config()


def test_the_schema_is_valid_and_accepts_what_the_reader_accepts() -> None:
    """The shipped files and one that sets every option pass."""
    Draft202012Validator.check_schema(configuration_schema())
    validator = Draft202012Validator(configuration_schema())
    for file in (SHIPPED / "exporter.yml", FIXTURES / "every-key.yml", *EXAMPLES):
        validator.validate(plain(read_document(file)))


@pytest.mark.parametrize(
    "data",
    [
        {"wbe": {}},
        {"web": {"listen": "x"}},
        {"scrape": {"info_refresh": "5 m"}},
        {"log": {"level": "warning"}},
        {"labels": {"custom": [{"xpath": "a"}]}},
    ],
)
def test_the_schema_refuses_what_has_the_wrong_form(data: object) -> None:
    """Editors show these mistakes while they are made."""
    assert not Draft202012Validator(configuration_schema()).is_valid(data)


@settings(deadline=None)
@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_the_schema_and_the_reader_agree_on_durations(text: str) -> None:
    """Whatever matches the pattern of the schema is a duration."""
    assert parse_duration(text.removesuffix("\n")) >= 0


def test_the_reference_names_every_option_and_flag() -> None:
    """The generated document leaves nothing out and ends in one newline."""
    text = configuration_markdown()
    for path in option_paths(Config):
        assert f"`{'.'.join(path)}`" in text or f"## {path[0]}\n" in text
    for flag in FLAGS.values():
        assert f"`{flag}`" in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("web-*", "web-.*"),
        ("a.b*", r"a\.b.*"),
        ("metadata:openstack.project=prod*", "metadata:openstack.project=prod.*"),
    ],
)
def test_a_shell_pattern_is_told_from_the_expression_that_it_is(pattern: str, meant: str) -> None:
    """It is valid, and matches other names than the ones that begin so."""
    (found,) = notes(load(f"domains: {{exclude: ['{pattern}']}}"))
    assert found[2] == f"to match any characters, write {meant!r}"
    load(f"domains: {{exclude: ['{meant}']}}")


def test_a_shell_pattern_that_is_no_expression_is_answered_by_one() -> None:
    """`*.example.com` cannot be compiled."""
    (problem,) = problems("domains: {include: ['*.example.com']}")
    assert problem.hint == r"write '.*\\.example\\.com'"


@pytest.mark.parametrize("pattern", ["web.*", "web-[0-9]*", "(a|b)*", "web", "w.*-*", "a+b*c+"])
def test_an_expression_is_not_taken_for_a_shell_pattern(pattern: str) -> None:
    """Anything that only an expression can mean."""
    assert not [*notes(load(f"domains: {{include: ['{pattern}']}}"))]
