"""What a configuration must satisfy beyond types: names that exist, syntax inside texts."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from ipaddress import AddressValueError, IPv6Address
from pathlib import PurePath

from libvirt_exporter.catalogue import ALIASES, canonical, riders
from libvirt_exporter.config.meant import meant_item
from libvirt_exporter.config.problem import Finding, Path, quoted, suggestion
from libvirt_exporter.config.schema import Config, CustomLabel, GuestAgent, Labels
from libvirt_exporter.config.targets import target_mistakes
from libvirt_exporter.config.uris import uri_mistake
from libvirt_exporter.config.vocabulary import (
    ALWAYS_SHOWN,
    FIELDS,
    GROUPS,
    HOMONYMS,
    MEANT_GROUPS,
    MEANT_IDENTITY,
    METRICS_OF_VM_FIELDS,
    SERIES_LABELS,
    VM_FIELDS,
    WITHOUT_METRIC,
)
from libvirt_exporter.nearest import nearest
from libvirt_exporter.patterns.domains import DomainFilter
from libvirt_exporter.patterns.expressions import compile_expression, meant_by_shell_pattern
from libvirt_exporter.patterns.fields import FieldPattern
from libvirt_exporter.patterns.labels import compile_label
from libvirt_exporter.patterns.metadata import METADATA

_RESERVED_LABELS = ("le", "job", "instance")
_IDENTITY = ("domain", "uuid")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?")
"""A host as clients name it: a name, an IPv4 address or an IPv6 address in brackets."""


def check(config: Config) -> Iterator[Finding]:
    yield from _libvirt(config)
    yield from target_mistakes(config)
    yield from _directories(config)
    yield from _guest_agent(config)
    yield from _applications(config)
    yield from _groups(config)
    yield from _fields(config)
    yield from _sensitive_fields(config)
    yield from _domains(config)
    yield from _custom_labels(config.labels)
    yield from _identity(config)
    yield from _web(config)


def _entries(config: Config, *options: str) -> Iterator[tuple[Path, str]]:
    """Yield each text of the lists `section.option`, and where it stands."""
    for option in options:
        section, _, name = option.partition(".")
        for position, text in enumerate(getattr(getattr(config, section), name)):
            yield (section, name, position), text


def _libvirt(config: Config) -> Iterator[Finding]:
    if not config.libvirt.uri:
        if not config.targets:
            message = "libvirt.uri is empty and there are no targets: no host is configured"
            yield ("libvirt", "uri"), message, "for example qemu:///system"
    elif found := uri_mistake(config.libvirt.uri):
        yield ("libvirt", "uri"), *found


def _directories(config: Config) -> Iterator[Finding]:
    for section, directory in (
        ("events", config.events.state_directory),
        ("applications", config.applications.state_directory),
    ):
        # No directory at all is a choice for events only.
        if not PurePath(directory).is_absolute() and (directory or section == "applications"):
            message = f"{quoted(directory)} is not an absolute path"
            yield (section, "state_directory"), message, "for example /var/lib/libvirt-exporter"


def _applications(config: Config) -> Iterator[Finding]:
    if config.applications.enabled and not config.guest_agent.enabled:
        message = "applications.enabled requires guest agents, which are off"
        yield ("applications", "enabled"), message, "set guest_agent.enabled: true"


def _guest_agent(config: Config) -> Iterator[Finding]:
    if config.guest_agent == GuestAgent():
        return  # The defaults are correct; compiling them would load RE2.
    options = ("guest_agent.exclude_filesystems", "guest_agent.exclude_mountpoints")
    for path, pattern in _entries(config, *options):
        try:
            compile_expression(pattern)
        except ValueError as error:
            yield path, str(error), ""


def _groups(config: Config) -> Iterator[Finding]:
    known = ("default", "all", *GROUPS, *ALIASES)
    for path, name in _entries(config, "groups.include", "groups.exclude"):
        if name not in known:
            meant = MEANT_GROUPS.get(name.lower())
            found = f"did you mean {meant}?" if meant else nearest(name.lower(), known)
            hint = found or "`libvirt-exporter metrics` lists the groups"
            yield path, f"unknown group {quoted(name)}", hint
    excluded = canonical(config.groups.exclude)
    left_out = _expanded(excluded).union(*map(riders, excluded))
    if _expanded(config.groups.include) <= left_out:
        yield ("groups",), "no group is selected", "name one, or `default`, in groups.include"


def notes(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield what is no mistake and may still not be meant: option, what it does, what to do."""
    yield from _narrowing(config)
    yield from _another_meaning(config)
    yield from _cancelled(config)
    for pattern in config.domains.include:
        if pattern in config.domains.exclude:
            message = f"domains.exclude hides what domains.include shows by {quoted(pattern)}"
            yield "domains.exclude", message, "remove it from one of them"
    yield from _shell_patterns(config)
    yield from _read_write(config)


def _shell_patterns(config: Config) -> Iterator[tuple[str, str, str]]:
    """Say which patterns on domains are regular expressions against their looks."""
    for (_, option, _), pattern in _entries(config, "domains.include", "domains.exclude"):
        if meant := _meant_by_shell_pattern(pattern):
            yield (
                f"domains.{option}",
                f"{quoted(pattern)} is a regular expression: * repeats the character before it",
                f"to match any characters, write {quoted(meant)}",
            )


def _read_write(config: Config) -> Iterator[tuple[str, str, str]]:
    """Say what guest agents require."""
    if config.guest_agent.enabled:
        yield (
            "guest_agent.enabled",
            "guest agents require a read-write connection: it can stop VMs and run programs",
            "docs/guest-agent.md lists the calls and how to restrict the connection",
        )
    if config.applications.enabled:
        yield (
            "applications.enabled",
            "the exporter runs small programs in the guests, and libvirt marks the VMs as tainted",
            "docs/guest-agent.md lists the programs and how a guest forbids them",
        )


def _narrowing(config: Config) -> Iterator[tuple[str, str, str]]:
    """Say that groups.include shows less than the default, and how to add to it instead.

    That is easily made: who names one more group may not mean to lose the others.
    """
    named = config.groups.include
    if not _expanded(["default"]) <= _expanded(named):
        names = ", ".join(named)
        yield (
            "groups.include",
            f"groups.include shows {names} instead of the groups that are on by default",
            f"to add to those, write include: [default, {names}]",
        )


def _another_meaning(config: Config) -> Iterator[tuple[str, str, str]]:
    """Say which groups show something else than a reader of their name may expect."""
    shown = _expanded(config.groups.include)
    for name, (shows, other, others) in HOMONYMS.items():
        if name in config.groups.include and other not in shown:
            yield "groups.include", f"the group {name} shows {shows}", f"{others} are in {other}"


def _cancelled(config: Config) -> Iterator[tuple[str, str, str]]:
    """Say which groups are included by name and left out by an excluded one."""
    included, left_out = canonical(config.groups.include), canonical(config.groups.exclude)
    for name in sorted({*included} & {*left_out}):
        yield (
            "groups.exclude",
            f"groups.exclude excludes {name}, which groups.include selects",
            "remove it from one of them",
        )
    for excluded in left_out:
        if lost := riders(excluded).intersection(included).difference(left_out):
            names = ", ".join(sorted(lost))
            yield (
                "groups.exclude",
                f"groups.exclude also excludes {names}: libvirt returns it with {excluded} only",
                f"remove {excluded} from groups.exclude, or {names} from groups.include",
            )


def _expanded(names: Collection[str]) -> set[str]:
    """Return the groups that the names, aliases, `default` and `all` stand for."""
    names = canonical(names)
    return {
        group
        for group, default in GROUPS.items()
        if group in names or "all" in names or (default and "default" in names)
    }


def metrics_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the entries of an option of `fields`; a field of the API as its metrics."""
    return tuple(
        metric for name in names for metric in METRICS_OF_VM_FIELDS.get(name, ()) or (name,)
    )


def chosen_by_vm_fields(config: Config) -> Iterator[tuple[str, str]]:
    """Say which metrics the fields of the API stand for, as pairs of option and sentence."""
    for (section, option, _), name in _entries(config, "fields.include", "fields.exclude"):
        if metrics := METRICS_OF_VM_FIELDS.get(name):
            yield f"{section}.{option}", f"{name} stands for {', '.join(metrics)}"


def _fields(config: Config) -> Iterator[Finding]:
    for path, text in _entries(config, "fields.include", "fields.exclude"):
        try:
            known = METRICS_OF_VM_FIELDS.get(text) or _matches(text, FIELDS)
        except ValueError as error:
            yield path, str(error), ""
            continue
        if known:
            continue
        if reason := WITHOUT_METRIC.get(text):
            yield path, f"no metric shows the field {text}", reason
            continue
        if _matches(text, ALWAYS_SHOWN):
            message = f"{quoted(text)} is always shown and cannot be chosen"
            yield path, message, "remove it"
        elif text in GROUPS or text in ALIASES:
            hint = f"name it in groups.{path[1]}"
            if _matches(f"{text}.*", FIELDS):
                hint += f", or write {text}.*"
            yield path, f"{quoted(text)} is a group, not a field", hint
        else:
            message = f"{quoted(text)} matches no metric and no stats key"
            yield path, message, partial(_nearest_pattern, text)


def _matches(text: str, fields: Collection[str]) -> bool:
    pattern = FieldPattern(text)
    # Metric names hold no dots; only a stats key may be meant without being matched.
    return any(
        pattern.matches(field) or ("." in field and pattern.may_match(field)) for field in fields
    )


def _nearest_pattern(text: str) -> str:
    """Return a hint that names a similar field, or a pattern of fields that begin alike."""
    is_metric = text.startswith("libvirt_")
    near = partial(nearest, text, resemblance=0.85 if is_metric else 0.6)
    if "*" not in text and (hint := near({*FIELDS, *METRICS_OF_VM_FIELDS})):
        return hint
    written = {*FIELDS, *(re.sub(r"<\w+>", "*", field) for field in FIELDS)}
    beginnings = {
        f"{field[: end.end()]}*" for field in written for end in re.finditer("[._]", field)
    }
    others = "docs/metrics.md lists all names, docs/migrating.md those of other exporters"
    return near(written | beginnings) or (others if is_metric else "")


def _sensitive_fields(config: Config) -> Iterator[Finding]:
    sensitive = [name for name, is_sensitive in VM_FIELDS.items() if is_sensitive]
    for path, name in _entries(config, "api.sensitive_fields"):
        if name not in VM_FIELDS:
            hint = nearest(name, sensitive) or "docs/api.md marks sensitive fields: name each"
            yield path, f"unknown field {quoted(name)}", hint
        elif name not in sensitive:
            yield path, f"the field {name} is not sensitive and always shown", "remove it"


def _domains(config: Config) -> Iterator[Finding]:
    labels = [label.name for label in config.labels.custom if label.name]
    for path, pattern in _entries(config, "domains.include", "domains.exclude"):
        try:
            DomainFilter([pattern], labels=labels)
        except ValueError as error:
            meant = _meant_by_shell_pattern(pattern)
            yield path, str(error), meant and f"write {quoted(meant)}"


def _meant_by_shell_pattern(pattern: str) -> str:
    """Return the pattern that was meant where one holds a shell's pattern; '' elsewhere."""
    begin, equals, expression = pattern.rpartition("=")
    meant = meant_by_shell_pattern(expression)
    return meant and begin + equals + meant


def _custom_labels(labels: Labels) -> Iterator[Finding]:
    seen: set[str] = set()
    for position, label in enumerate(labels.custom):
        path = ("labels", "custom", position)
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label.name) or label.name.startswith("__"):
            message = f"{quoted(label.name)} is not a label name"
            hint = "use letters, digits and _, without a leading digit or __"
            yield (*path, "name"), message, hint
        elif label.name in (*_RESERVED_LABELS, *_IDENTITY):
            yield (*path, "name"), f"the label name {label.name} is reserved", "choose another"
        elif label.name in seen:
            yield (*path, "name"), f"a second custom label {label.name}", "choose another name"
        seen.add(label.name)
        yield from _label_value(label, path)


def _label_value(label: CustomLabel, path: Path) -> Iterator[Finding]:
    if label.metadata and label.xpath:
        yield (*path, "metadata"), "xpath and metadata are both set", "set one of them"
    elif label.metadata and label.metadata not in METADATA:
        hint = partial(suggestion, label.metadata, METADATA)
        yield (*path, "metadata"), f"unknown metadata key {quoted(label.metadata)}", hint
    elif not (label.metadata or label.xpath):
        yield path, f"the label {label.name} has no value", "set xpath or metadata"
    elif not label.metadata:
        try:
            compile_label(label.name, label.xpath, label.namespaces)
        except ValueError as error:
            yield (*path, "xpath"), str(error), ""


def _identity(config: Config) -> Iterator[Finding]:
    labels = config.labels
    known = (*_IDENTITY, *(label.name for label in labels.custom))
    seen: set[str] = set()
    for path, name in _entries(config, "labels.identity"):
        if name in _RESERVED_LABELS:
            yield path, f"{name} is reserved and cannot be an identity label", "remove it"
        elif name not in known:
            meant = MEANT_IDENTITY.get(name.lower())
            hint = f"did you mean {meant}?" if meant else partial(suggestion, name, known)
            yield path, f"{quoted(name)} is neither domain, uuid nor a custom label", hint
        elif name in seen:
            yield path, f"{quoted(name)} is named twice", "remove one"
        elif name in SERIES_LABELS:
            message = f"{quoted(name)} is already a label of some domain metrics"
            yield path, message, "give the custom label another name"
        seen.add(name)
    if not set(_IDENTITY).intersection(labels.identity):
        yield ("labels", "identity"), "domain or uuid must be an identity label", "add uuid"


def _web(config: Config) -> Iterator[Finding]:
    for path, address in _entries(config, "web.listen"):
        if not _is_listen_address(address):
            message = f"{quoted(address)} is not an address to listen on"
            meant = meant_item(address, "address")
            right = meant if _is_listen_address(meant) else ""
            forms = ":9177, 127.0.0.1:9177, [::1]:9177 or unix:/path"
            yield path, message, f"write {quoted(right) if right else forms}"
    for path, host in _entries(config, "web.allowed_hosts"):
        if not _HOST.fullmatch(host):
            yield path, f"{quoted(host)} is not a host name", _host_hint(host)
    metrics = config.web.telemetry_path
    if not re.fullmatch(r"/[A-Za-z0-9._~-][A-Za-z0-9._~/-]*", metrics):
        message = f"{quoted(metrics)} is not a path for metrics"
        yield ("web", "telemetry_path"), message, "for example /metrics"
    elif metrics.startswith(("/-/", "/api/")) or metrics == "/probe":
        message = f"{metrics} is used by the exporter itself"
        yield ("web", "telemetry_path"), message, "for example /metrics"


def _host_hint(host: str) -> str:
    name = (host.partition("://")[2] or host).partition("/")[0]
    if "*" in host:
        return "write each name; there are no wildcards"
    if _is_ipv6(name):
        name = f"[{name}]"
    return f"write {name if _HOST.fullmatch(name) else 'kvm1.example.com'}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _is_listen_address(text: str) -> bool:
    if text.startswith("unix:"):
        # The kernel takes no longer path.
        return text.startswith("unix:/") and len(os.fsencode(text)) <= len("unix:") + 107
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or ":" not in text:
        return False
    if host.startswith("[") and host.endswith("]"):
        return _is_ipv6(host[1:-1])
    return re.fullmatch(r"[A-Za-z0-9._-]*", host) is not None
