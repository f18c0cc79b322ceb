"""Domains with every device that the installed libvirt's schema knows, in any of its forms.

The schema is RELAX NG; a definition is followed with dice where it leaves a choice. What comes out
is what the schema allows, which is more than what libvirt's driver accepts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from xml.etree.ElementTree import Element, SubElement, parse, tostring

SCHEMAS = Path("/usr/share/libvirt/schemas")
"""Of Debian's libvirt0, without which libvirt-python does not load."""

_RNG = "{http://relaxng.org/ns/structure/1.0}"
_TEXTS = (
    *("0", "1", "2", "3", "7", "16", "64", "512", "1024", "-1", "0x0", "0x1", "0x3", "0x3b"),
    *("0x0001", "0xfe", "0x600", "0x123456", "0x5000c50015ea71ac", "1.5", "1.0", "0644", "0777"),
    *("a", "vda", "vdb", "sda", "hda", "fda", "vnet0", "eth0", "br0", "en-us", "KiB", "MiB", "b"),
    *("/dev/sdb", "/images/a.qcow2", "/run/socket", "0-3", "0,2", "bridge", "sync_pt", "true"),
    *("52:54:00:00:00:01", "00000000-0000-4000-8000-000000000001", "192.0.2.1", "fe80::1", "tcp"),
    *("naa.5123456789abcde0", "naa.5123456789abcde1", "0123456789abcdef0123456789abcdef", "ipv4"),
    *(
        "[store] a.vmdk",
        "NEW",
        "SYN/SYN",
        "src",
        "ALL",
        "100000000001",
        "0x00000001",
        "2026-11-29T00:00:00",
    ),
)
"""Texts of which each pattern of libvirt 9.0's schema fits some."""
_IDENTITY = {"name": "any", "uuid": "00000000-0000-4000-8000-000000000001", "devices": ""}
_DEEPEST = 24
"""Elements and definitions within each other, below which what may be left out is."""


@cache
def _definitions() -> dict[str, list[Element]]:
    """All definitions by name; those that another file adds to stand together."""
    found: dict[str, list[Element]] = defaultdict(list)
    files = ["domain.rng"]
    for file in files:
        grammar = parse(SCHEMAS / file).getroot()
        for define in grammar.iter(f"{_RNG}define"):
            found[define.get("name", "")].append(define)
        included = (include.get("href", "") for include in grammar.iter(f"{_RNG}include"))
        files += [name for name in included if name not in files]
    return found


def device_kinds() -> list[str]:
    """Names of the definitions that the schema lists as devices."""
    (devices,) = _definitions()["devices"]
    return [ref.get("name", "") for ref in devices.iter(f"{_RNG}ref")]


def any_device(kind: str, dice: Random) -> Element:
    """A device of a kind, in a form that the schema allows."""
    holder = Element("devices")
    _follow(_definitions()[kind], holder, dice, 0)
    (device,) = holder
    return device


def any_domain(dice: Random) -> str:
    """A domain with one to three devices of every kind, many of them alike."""
    holder = Element("domains")
    _follow(_definitions()["domain"], holder, dice, 0)
    (domain,) = holder
    for tag, text in _IDENTITY.items():
        for child in domain.findall(tag):
            domain.remove(child)
        SubElement(domain, tag).text = text
    devices = domain[-1]
    for kind in device_kinds():
        device = any_device(kind, dice)
        alike = dice.random() < 0.5
        for number in range(dice.randint(1, 3)):
            devices.append(device if alike or not number else any_device(kind, dice))
    return tostring(domain, encoding="unicode")


def _follow(patterns: list[Element], parent: Element, dice: Random, depth: int) -> None:
    for pattern in patterns:
        _one(pattern, parent, dice, depth + 1)


def _one(pattern: Element, parent: Element, dice: Random, depth: int) -> None:
    inner = list(pattern)
    match pattern.tag.removeprefix(_RNG):
        case "element":
            name = pattern.get("name")
            if name is not None:
                _follow(inner, SubElement(parent, name), dice, depth)
        case "attribute":
            if name := pattern.get("name"):
                parent.set(name, _text(inner, dice) if inner else "a")
        case "ref":
            _reference(pattern.get("name", ""), parent, dice, depth)
        case "optional" if depth < _DEEPEST and dice.random() < 0.6:
            _follow(inner, parent, dice, depth)
        case "zeroOrMore" if depth < _DEEPEST:
            for _ in range(dice.randint(0, 2)):
                _follow(inner, parent, dice, depth)
        case "oneOrMore" | "group" | "interleave" | "define":
            _follow(inner, parent, dice, depth)
        case "choice":
            _choose(inner, parent, dice, depth)
        case "data" | "value" | "text":
            parent.text = _text([pattern], dice)


def _reference(name: str, parent: Element, dice: Random, depth: int) -> None:
    defines = _definitions()[name]
    if any(define.get("combine") == "choice" for define in defines):
        _choose(defines, parent, dice, depth)
    else:
        _follow(defines, parent, dice, depth)


def _choose(patterns: list[Element], parent: Element, dice: Random, depth: int) -> None:
    possible = [one for one in patterns if one.find(f".//{_RNG}notAllowed") is None]
    if possible:
        _one(dice.choice(possible), parent, dice, depth)


def _text(patterns: list[Element], dice: Random) -> str:
    """A text that the first pattern allows."""
    pattern = patterns[0]
    match pattern.tag.removeprefix(_RNG):
        case "value":
            return pattern.text or ""
        case "choice":
            return _text([dice.choice(list(pattern))], dice)
        case "ref":
            defines = _definitions()[pattern.get("name", "")]
            return _text([dice.choice(list(dice.choice(defines)))], dice)
        case "data":
            limits = {(param.get("name", ""), param.text or "") for param in pattern}
            # Of a pattern that a newer libvirt brings, any text will do.
            return dice.choice(_allowed(pattern.get("type", ""), frozenset(limits)) or _TEXTS)
        case "group" | "interleave" | "optional":
            return _text(list(pattern), dice)
    return dice.choice(_TEXTS)


@cache
def _allowed(kind: str, limits: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    """The texts that a data type and its parameters allow."""
    return tuple(text for text in _TEXTS if _fits(text, kind, dict(limits)))


def _fits(text: str, kind: str, limits: Mapping[str, str]) -> bool:
    if kind not in ("string", "NCName", "dateTime"):
        if not re.fullmatch(r"-?\d+", text) or (text.startswith("-") and kind[0] in "up"):
            return False
        lowest, highest = limits.get("minInclusive", text), limits.get("maxInclusive", text)
        return int(lowest) <= int(text) <= int(highest)
    # A `$` or `^` stands for itself in a pattern of XML Schema.
    pattern = re.sub(r"^\$|(?<!\[)\^", lambda found: "\\" + found[0], limits.get("pattern", ".*"))
    return re.fullmatch(pattern, text) is not None
