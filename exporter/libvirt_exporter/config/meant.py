"""What was probably meant by keys and values of other shapes than an option has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args, get_origin

from msgspec import Struct, structs

from libvirt_exporter.config.document import Value
from libvirt_exporter.config.problem import Path, dotted
from libvirt_exporter.patterns.expressions import meant_by_shell_pattern

_DEFAULT_PORT: Final = "9177"
_PROMETHEUS: Final = "it belongs in prometheus.yml, the configuration of Prometheus"
_WEB_CONFIG: Final = "it belongs in the file that web.config_file names"

MEANT_KEYS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("port", "address", "bind", "listen_address"), "did you mean web.listen?"),
    **dict.fromkeys(("collectors", "collect", "metrics"), "did you mean groups.include?"),
    **dict.fromkeys(("vms", "filter", "filters"), "did you mean domains.include?"),
    **dict.fromkeys(("hosts", "nodes"), "did you mean targets?"),
    **dict.fromkeys(("logging", "log_level", "loglevel"), "did you mean log.level?"),
    **dict.fromkeys(("connection", "libvirt_uri"), "did you mean libvirt.uri?"),
    **dict.fromkeys(("global", "scrape_configs", "rule_files", "alerting"), _PROMETHEUS),
    **dict.fromkeys(("tls_server_config", "http_server_config", "basic_auth_users"), _WEB_CONFIG),
}
"""Keys that other programs have, or that a reader may expect → what to do."""

_TRUTHS: Final = ("true", "false", "yes", "no", "on", "off")
_SWITCHES: Final = {"true": ("1", "enabled", "enable"), "false": ("0", "disabled", "disable")}


def meant_item(text: str, kind: str | None) -> str:
    """Return the entry of a list that a text was meant for: of `address`es, `pattern`s or any."""
    if kind == "pattern":
        return meant_by_shell_pattern(text) or text
    if kind != "address" or text.startswith("unix:"):
        return text
    address = text.removeprefix("http://").removeprefix("https://").rstrip("/")
    if address.isdigit():
        return f":{address}"
    if address.count(":") > 1 and not address.startswith("["):
        parts = re.fullmatch(r"(.*[^:]|::):([0-9]{4,5})", address)
        return f"[{parts[1]}]:{parts[2]}" if parts else f"[{address}]:{_DEFAULT_PORT}"
    has_port = address.rpartition("]")[2].count(":") == 1
    return address if has_port else f"{address}:{_DEFAULT_PORT}"


def meant_items(text: str, kind: str | None) -> list[str]:
    """Return the entries of a list that a text was meant for, such as `cpu, disk`."""
    is_list = kind == "address" or not re.search(r"[\[({\\]", text)
    parts = [part.strip() for part in text.split(",")] if is_list else [text]
    return [meant_item(part, kind) for part in parts if part]


def meant_pattern(value: Value) -> str:
    """Return the pattern on domains that `{name: web-1}` was meant for; '' for anything else."""
    if not isinstance(value.content, Mapping) or len(value.content) != 1:
        return ""
    [(kind, text)] = value.content.items()
    return text.source if kind == "name" or not text.source else f"{kind}:{text.source}"


def meant_number(text: str) -> str:
    """Return `write 50000` for `50k` and the like; '' for anything else."""
    found = re.fullmatch(r"([0-9]+) ?([kmKM])(i?)B?", text)
    if not found:
        return ""
    step = 1024 if found[3] else 1000
    return f"write {int(found[1]) * step ** ('km'.index(found[2].lower()) + 1)}"


def meant_truth(text: str) -> str:
    """Return what to write for an option that is true or false; '' where nothing fits."""
    if text.lower() in _TRUTHS:
        return "leave out the quotes"
    return next((f"write {truth}" for truth, words in _SWITCHES.items() if text in words), "")


def meant_section(path: Path, section: type[Struct], value: Value) -> str:
    """Return what to write for a section that was given as one value; '' where nothing fits."""
    fields = {field.name: field.type for field in structs.fields(section)}
    name = dotted(path)
    if isinstance(value.content, tuple):
        return f"write the list as {name}.include" if "include" in fields else ""
    if isinstance(value.content, bool):
        return f"write {name}: {{enabled: {value.source}}}" if "enabled" in fields else ""
    for option, kind in fields.items():
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if get_origin(bare) is Literal and value.source in get_args(bare):
            return f"write {name}: {{{option}: {value.source}}}"
    if value.source.partition(":")[0] in fields:
        return f"write a space after {value.source.partition(':')[0]}:"
    if "uri" in fields and ":" in value.source:
        return f"write {name}: {{uri: {value.source!r}}}"
    return f"write {name}: {{include: [{value.source!r}]}}" if "include" in fields else ""
