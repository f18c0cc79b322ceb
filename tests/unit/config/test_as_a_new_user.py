"""Configurations as a new user writes them: a message names what was meant, and that works."""

from pathlib import Path
from typing import NamedTuple

import pytest

from libvirt_exporter.commands.check_config import judge
from libvirt_exporter.config import Config, load, notes


class Attempt(NamedTuple):
    """A file, what is wrong in which line, and a file that follows the hint."""

    text: str
    line: int
    message: str
    hint: str
    right: str


WRONG = {
    "a path of a URI misspelt": Attempt(
        "libvirt:\n  uri: qemu:///sytem\n",
        2,
        "the driver qemu has no path /sytem",
        "did you mean /system?",
        "libvirt:\n  uri: qemu:///system\n",
    ),
    "a URI without a path": Attempt(
        "libvirt:\n  uri: qemu+tcp://10.0.0.5\n",
        2,
        "'qemu+tcp://10.0.0.5' has no path",
        "write qemu+tcp://10.0.0.5/system",
        "libvirt:\n  uri: qemu+tcp://10.0.0.5/system\n",
    ),
    "several URIs": Attempt(
        "libvirt:\n  uri: [qemu:///system, qemu+ssh://b/system]\n",
        2,
        "libvirt.uri must be text, not a list",
        "further hosts go under targets",
        "targets: {b: {uri: qemu+ssh://b/system}}\n",
    ),
    "a port to listen on": Attempt(
        "web:\n  listen: 9177\n",
        2,
        "web.listen must be a list",
        "write [':9177']",
        "web:\n  listen: [':9177']\n",
    ),
    "an address without a port": Attempt(
        "web:\n  listen: 0.0.0.0\n",
        2,
        "web.listen must be a list",
        "write ['0.0.0.0:9177']",
        "web:\n  listen: ['0.0.0.0:9177']\n",
    ),
    "a URL to listen on": Attempt(
        "web:\n  listen: ['http://[::1]:9177/']\n",
        2,
        "'http://[::1]:9177/' is not an address to listen on",
        "write '[::1]:9177'",
        "web:\n  listen: ['[::1]:9177']\n",
    ),
    "a key of other servers": Attempt(
        "web:\n  port: 9177\n",
        2,
        "unknown key 'port' in web",
        "did you mean web.listen?",
        "web: {listen: [':9177']}\n",
    ),
    "a key outside its section": Attempt(
        "uri: qemu:///session\n",
        1,
        "unknown key 'uri'",
        "did you mean uri inside libvirt?",
        "libvirt: {uri: qemu:///session}\n",
    ),
    "a key in another section": Attempt(
        "scrape:\n  info_refresh: 30s\n  timeout: 5s\n",
        3,
        "unknown key 'timeout' in scrape",
        "did you mean timeout inside libvirt?",
        "scrape: {info_refresh: 30s}\nlibvirt: {timeout: 5s}\n",
    ),
    "a duration in words": Attempt(
        "libvirt:\n  timeout: 10 seconds\n",
        2,
        "libvirt.timeout must be a duration",
        "write 10s",
        "libvirt:\n  timeout: 10s\n",
    ),
    "a pattern of the shell": Attempt(
        "domains:\n  include: web-*\n",
        2,
        "domains.include must be a list",
        "write ['web-.*']",
        "domains:\n  include: ['web-.*']\n",
    ),
    "a pattern that starts with a star": Attempt(
        "domains:\n  exclude:\n    - state:shutoff\n    - '*-test'\n",
        4,
        "'*-test' is not a regular expression",
        "write '.*-test'",
        "domains: {exclude: [state:shutoff, '.*-test']}\n",
    ),
    "a state that libvirt does not have": Attempt(
        "domains: {include: [state:on]}\n",
        1,
        "unknown state 'on'",
        "running",
        "domains: {include: [state:running]}\n",
    ),
    "targets as a list": Attempt(
        "targets:\n  - uri: qemu+ssh://node7/system\n",
        1,
        "targets must be a mapping",
        "for example {node7: {uri: 'qemu+tls://node7.example.com/system'}}",
        "targets: {node7: {uri: 'qemu+tls://node7.example.com/system'}}\n",
    ),
    "custom labels as a mapping": Attempt(
        "labels:\n  custom:\n    tenant: metadata/acme:vm/@tenant\n",
        2,
        "labels.custom must be a list",
        "for example [{name: tenant, xpath: 'metadata/acme:vm/@tenant', "
        "namespaces: {acme: 'urn:acme'}}]",
        "labels: {custom: [{name: tenant, xpath: 'metadata/acme:vm/@tenant', "
        "namespaces: {acme: 'urn:acme'}}]}\n",
    ),
    "a prefix without its namespace": Attempt(
        "labels:\n  custom:\n    - name: flavor\n      xpath: metadata/nova:instance/@a\n",
        4,
        "prefix 'nova' is not among the namespaces",
        "add `namespaces: {nova: URI}`",
        "labels:\n  custom:\n    - name: flavor\n      xpath: metadata/nova:instance/@a\n"
        "      namespaces: {nova: 'http://openstack.org/xmlns/libvirt/nova/1.1'}\n",
    ),
    "a VM's name by another word": Attempt(
        "labels:\n  identity: [name, uuid]\n",
        2,
        "'name' is neither domain, uuid nor a custom label",
        "did you mean domain?",
        "labels:\n  identity: [domain, uuid]\n",
    ),
    "a section as one word": Attempt(
        "log: debug\n",
        1,
        "log must be a mapping of options, not 'debug'",
        "write log: {level: debug}",
        "log: {level: debug}\n",
    ),
    "a section switched on": Attempt(
        "guest_agent: true\n",
        1,
        "guest_agent must be a mapping of options, not 'true'",
        "write guest_agent: {enabled: true}",
        "guest_agent: {enabled: true}\n",
    ),
    "all groups in one word": Attempt(
        "groups: all\n",
        1,
        "groups must be a mapping of options, not 'all'",
        "write groups: {include: ['all']}",
        "groups: {include: ['all']}\n",
    ),
    "a list switched on": Attempt(
        "api: {sensitive_fields: true}\n",
        1,
        "api.sensitive_fields must be a list",
        "for example [guestIPs, username]",
        "api: {sensitive_fields: [guestIPs, username]}\n",
    ),
    "applications without agents": Attempt(
        "applications:\n  enabled: yes\n",
        2,
        "applications.enabled requires guest agents",
        "set guest_agent.enabled: true",
        "applications: {enabled: yes}\nguest_agent: {enabled: true}\n",
    ),
    "octal digits without quotes": Attempt(
        "web: {socket_mode: 660}\n",
        1,
        "web.socket_mode must be text of octal digits such as '0660', not '660'",
        "put it in quotes",
        "web: {socket_mode: '660'}\n",
    ),
    "the configuration of Prometheus": Attempt(
        "scrape_configs:\n  - job_name: libvirt\n",
        1,
        "unknown key 'scrape_configs'",
        "it belongs in prometheus.yml",
        "",
    ),
    "TLS beside the other options": Attempt(
        "tls_server_config:\n  cert_file: a.pem\n",
        1,
        "unknown key 'tls_server_config'",
        "it belongs in the file that web.config_file names",
        "web: {config_file: web-config.yml}\n",
    ),
    "the path of the metrics without a slash": Attempt(
        "web: {telemetry_path: metrics}\n",
        1,
        "'metrics' is not a path for metrics",
        "for example /metrics",
        "web: {telemetry_path: /metrics}\n",
    ),
    "a field misspelt": Attempt(
        "fields:\n  include: [memUsge]\n",
        2,
        "'memUsge' matches no metric and no stats key",
        "did you mean memUsage?",
        "fields:\n  include: [memUsage]\n",
    ),
    "a tab": Attempt(
        "web:\n\tlisten: [':9177']\n",
        2,
        "not valid YAML",
        "indent with spaces",
        "web:\n  listen: [':9177']\n",
    ),
    "no space after a colon": Attempt(
        "libvirt:\n  uri:qemu:///session\n",
        1,
        "libvirt must be a mapping of options",
        "write a space after uri:",
        "libvirt:\n  uri: qemu:///session\n",
    ),
    "a space after the colon of a URI": Attempt(
        "libvirt:\n  uri: qemu+tls: //kvm1/system\n",
        2,
        "mapping values are not allowed here",
        "put a text with a colon in quotes",
        "libvirt:\n  uri: 'qemu+tls://kvm1/system'\n",
    ),
    "an environment variable": Attempt(
        "libvirt:\n  uri: ${LIBVIRT_URI}\n",
        2,
        "'${LIBVIRT_URI}' is not a libvirt URI",
        "environment variables are not expanded",
        "libvirt:\n  uri: qemu:///session\n",
    ),
    "a host's name as its URI": Attempt(
        "targets:\n  kvm2: {uri: kvm2.example.com}\n",
        2,
        "'kvm2.example.com' is not a libvirt URI",
        "for example qemu+tls://kvm2.example.com/system",
        "targets:\n  kvm2: {uri: qemu+tls://kvm2.example.com/system}\n",
    ),
    "a list as one text": Attempt(
        "groups:\n  include: cpu, net\n",
        2,
        "groups.include must be a list of texts",
        "write ['cpu', 'net']",
        "groups:\n  include: ['cpu', 'net']\n",
    ),
    "addresses as one text": Attempt(
        "web:\n  listen: 127.0.0.1:9177, [::1]:9177\n",
        2,
        "web.listen must be a list of texts",
        "write ['127.0.0.1:9177', '[::1]:9177']",
        "web:\n  listen: ['127.0.0.1:9177', '[::1]:9177']\n",
    ),
    "an expression with a comma": Attempt(
        "domains:\n  exclude: tmp-[0-9]{1,3}\n",
        2,
        "domains.exclude must be a list of texts",
        "write ['tmp-[0-9]{1,3}']",
        "domains:\n  exclude: ['tmp-[0-9]{1,3}']\n",
    ),
    "collectors as switches": Attempt(
        "groups:\n  include: {cpu: true, disk: false}\n",
        2,
        "groups.include must be a list of texts, not a mapping",
        "write [cpu]",
        "groups:\n  include: [cpu]\n",
    ),
    "a list where one text belongs": Attempt(
        "web:\n  telemetry_path: [/libvirt]\n",
        2,
        "web.telemetry_path must be text, not a list",
        "write /libvirt",
        "web:\n  telemetry_path: /libvirt\n",
    ),
    "a group in capitals": Attempt(
        "groups:\n  include: [default, Dirtyrate]\n",
        2,
        "unknown group 'Dirtyrate'",
        "did you mean dirtyrate?",
        "groups:\n  include: [default, dirtyrate]\n",
    ),
    "milliseconds without a unit": Attempt(
        "libvirt:\n  timeout: 9000\n",
        2,
        "libvirt.timeout must be a duration from 0.1s to 10m",
        "a number without a unit is in seconds",
        "libvirt:\n  timeout: 9\n",
    ),
    "a number of thousands": Attempt(
        "limits:\n  series: 50k\n",
        2,
        "limits.series must be a whole number",
        "write 50000",
        "limits:\n  series: 50000\n",
    ),
    "a size in binary units": Attempt(
        "limits:\n  label_value_length: 1KiB\n",
        2,
        "limits.label_value_length must be a whole number",
        "write 1024",
        "limits:\n  label_value_length: 1024\n",
    ),
    "a truth in quotes": Attempt(
        "web:\n  access_log: 'true'\n",
        2,
        "web.access_log must be true or false",
        "leave out the quotes",
        "web:\n  access_log: true\n",
    ),
    "a truth as a number": Attempt(
        "guest_agent:\n  enabled: 1\n",
        2,
        "guest_agent.enabled must be true or false, not '1'",
        "write true",
        "guest_agent:\n  enabled: true\n",
    ),
    "a flag as an option": Attempt(
        "web.listen-address: ':9177'\n",
        1,
        "unknown key 'web.listen-address'",
        "did you mean listen inside web?",
        "web: {listen: [':9177']}\n",
    ),
    "a section twice": Attempt(
        "web:\n  max_requests: 10\nlog: {level: info}\nweb:\n  reload: false\n",
        4,
        "the key 'web' is given twice",
        "the first one is in line 1",
        "web:\n  max_requests: 10\n  reload: false\nlog: {level: info}\n",
    ),
    "an entry that is indented too far": Attempt(
        "groups:\n  include: [default]\n   exclude: [perf]\n",
        3,
        "not valid YAML",
        "check the indentation",
        "groups:\n  include: [default]\n  exclude: [perf]\n",
    ),
    "a quote that is not closed": Attempt(
        'libvirt:\n  uri: "qemu:///system\nweb: {}\n',
        2,
        "not valid YAML",
        "close the quote that begins here",
        'libvirt:\n  uri: "qemu:///system"\nweb: {}\n',
    ),
    "a list that is not closed": Attempt(
        "groups:\n  exclude: [perf, dirtyrate\nweb:\n  reload: false\n",
        3,
        "not valid YAML",
        "a comma or ] is missing",
        "groups:\n  exclude: [perf, dirtyrate]\nweb:\n  reload: false\n",
    ),
    "a metric of another exporter": Attempt(
        "fields:\n  exclude: [libvirt_domain_info_memory_usage_bytes]\n",
        2,
        "'libvirt_domain_info_memory_usage_bytes' matches no metric",
        "docs/migrating.md those of other exporters",
        "fields:\n  exclude: [libvirt_domain_balloon_current_bytes]\n",
    ),
    "a matcher of Prometheus": Attempt(
        "domains:\n  include: ['metadata:openstack.project!=demo']\n",
        2,
        "there is no !=",
        "write metadata:openstack.project=demo in the other list",
        "domains:\n  exclude: ['metadata:openstack.project=demo']\n",
    ),
    "all sensitive fields in one word": Attempt(
        "api:\n  sensitive_fields: [all]\n",
        2,
        "unknown field 'all'",
        "docs/api.md marks sensitive fields: name each",
        "api:\n  sensitive_fields: [guestIPs]\n",
    ),
    "a port in a list": Attempt(
        "web:\n  listen: [9177]\n",
        2,
        "web.listen[0] must be text, not '9177'",
        "write ':9177'",
        "web:\n  listen: [':9177']\n",
    ),
    "a pattern as a mapping": Attempt(
        "domains:\n  include:\n    - name: web-1\n",
        3,
        "domains.include[0] must be text, not a mapping",
        "write 'web-1'",
        "domains:\n  include: ['web-1']\n",
    ),
    "a space within a pattern": Attempt(
        "domains:\n  exclude:\n    - state: shutoff\n",
        3,
        "domains.exclude[0] must be text, not a mapping",
        "write 'state:shutoff'",
        "domains:\n  exclude: ['state:shutoff']\n",
    ),
    "a prefix for names": Attempt(
        "domains: {include: ['name:web-1']}\n",
        1,
        "a pattern of names has no prefix",
        "write 'web-1'",
        "domains: {include: ['web-1']}\n",
    ),
    "permissions as letters": Attempt(
        "web: {socket_mode: rw-rw----}\n",
        1,
        "web.socket_mode must be text of octal digits",
        "such as '0660', not 'rw-rw----'",
        "web: {socket_mode: '0660'}\n",
    ),
    "a group that is a metric": Attempt(
        "groups: {include: [default, uptime]}\n",
        1,
        "unknown group 'uptime'",
        "`libvirt-exporter metrics` lists the groups",
        "groups: {include: [default]}\n",
    ),
    "a URL as a host": Attempt(
        "web:\n  allowed_hosts: ['http://kvm1:9177/metrics']\n",
        2,
        "'http://kvm1:9177/metrics' is not a host name",
        "write kvm1:9177",
        "web:\n  allowed_hosts: ['kvm1:9177']\n",
    ),
    "an IPv6 address as a host": Attempt(
        "web:\n  allowed_hosts: ['::1']\n",
        2,
        "'::1' is not a host name",
        "write [::1]",
        "web:\n  allowed_hosts: ['[::1]']\n",
    ),
    "a wildcard as a host": Attempt(
        "web:\n  allowed_hosts: ['*.example.com']\n",
        2,
        "'*.example.com' is not a host name",
        "write each name; there are no wildcards",
        "web:\n  allowed_hosts: ['kvm1.example.com']\n",
    ),
}

UNUSUAL = {
    "groups by everyday words": (
        "groups: {include: [cpu, disk, net, memory]}\n",
        ["to add to those, write include: [default, cpu, disk, net, memory]", "are in balloon"],
    ),
    "a pattern of the shell in a list": (
        "domains: {include: ['web-*']}\n",
        ["write 'web-.*'"],
    ),
    "guest agents": ("guest_agent: {enabled: true}\n", ["docs/guest-agent.md lists the calls"]),
    "a pattern in both lists": (
        "domains: {include: ['web-.*'], exclude: ['web-.*']}\n",
        ["domains.exclude hides what domains.include shows by 'web-.*'"],
    ),
    "an excluded group that is included": (
        "groups: {include: [default, kvm], exclude: [vcpu]}\n",
        ["remove vcpu from groups.exclude, or kvm from groups.include"],
    ),
}


@pytest.mark.parametrize("attempt", WRONG.values(), ids=WRONG.keys())
def test_a_mistake_names_its_line_and_what_to_write_and_that_works(
    attempt: Attempt, tmp_path: Path
) -> None:
    """The one mistake of the file; a file that follows the hint has none."""
    file = tmp_path / "exporter.yml"
    file.write_text(attempt.text)

    (mistake,) = judge(file).mistakes

    assert (mistake.file, mistake.line) == (str(file), attempt.line)
    assert attempt.message in mistake.message
    # A pattern's message has its hint within.
    assert attempt.hint in f"{mistake.message}; {mistake.hint}"
    assert isinstance(load(attempt.right), Config)


@pytest.mark.parametrize(("text", "expected"), UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_may_not_be_meant_is_noted_with_what_to_write(text: str, expected: list[str]) -> None:
    """Such a configuration is used all the same."""
    found = [f"{what}; {remedy}" for _, what, remedy in notes(load(text))]

    for words in expected:
        assert any(words in note for note in found), found
