"""Takes out of a recorded host what tells whose it is; numbers and structure stay.

Strings are replaced unless a table here says that they tell nothing: a field that the model gains
is replaced until somebody decides otherwise. The same string becomes the same replacement
throughout a recording, so that joins still join.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import asdict, replace

from libvirt_exporter.model import HostSample, Interface, Stats

KEPT_FIELDS: Final = frozenset(
    {
        "access",
        "action",
        "agent_channel",
        "arch",
        "balloon_model",
        "boot",
        "bus",
        "cache",
        "clock_basis",
        "clock_offset",
        "cluster_version",
        "cpu_features_disabled",
        "cpu_features_required",
        "cpu_mode",
        "cpu_model",
        "cpu_policy",
        "cpus",
        "device",
        "discard",
        "driver",
        "error_policy",
        "firmware",
        "format",
        "group",
        "guest_address",
        "guest_node",
        "hypervisor_version",
        "io",
        "iothread",
        "keymap",
        "kind",
        "libvirt_version",
        "link_state",
        "machine",
        "mirror_job",
        "missing_groups",
        "model",
        "os_id",
        "os_type",
        "package_version",
        "resume_behavior",
        "root_type",
        "source_type",
        "type",
    }
)
"""Fields whose strings are words of libvirt, QEMU or the management software."""

KEPT_KEYS: Final = re.compile(
    r"(event\.disk|block)\.\d+\.name|.*\.vcpus|dirtyrate\.calc_mode|pool\.\d+\.type|network\.\d+\.forward"
)
"""Stats keys with strings that tell nothing: disk targets, CPU lists, a method, types."""

StructType = TypeVar("StructType", bound=Struct)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7](/\d+)?", re.IGNORECASE)
_TELLING_NOTHING = frozenset({"", "127.0.0.1", "::1", "0.0.0.0", "::"})


def anonymised(sample: HostSample) -> HostSample:
    """The sample with every telling string replaced."""
    return _Pseudonyms().struct(sample)


class _Pseudonyms:
    """Numbers strings by kind, in the order in which they are met."""

    def __init__(self) -> None:
        self._known: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def struct(self, item: StructType) -> StructType:
        """A struct with the strings of its own and of what it holds replaced."""
        kept = KEPT_FIELDS - {"device"} if isinstance(item, Interface) else KEPT_FIELDS
        return replace(
            item,
            **{
                field: self._value(field, value)
                for field, value in asdict(item).items()
                if field not in kept
            },
        )

    def _value(self, field: str, value: Any) -> Any:
        match value:
            case str():
                return self._text(field, value)
            case Struct():
                return self.struct(value)
            case tuple() if field == "custom_labels":
                return tuple((name, self._text(name, text)) for name, text in value)
            case tuple():
                return tuple(self._value(field, item) for item in value)
            case Mapping() if field == "stats":
                return self._stats(value)
            case Mapping() if field == "metadata":
                return {}
        return value

    def _stats(self, stats: Stats) -> Stats:
        return {
            key: self._text("device" if key.startswith("net.") else key.split(".")[-1], value)
            if isinstance(value, str) and not KEPT_KEYS.fullmatch(key)
            else value
            for key, value in stats.items()
        }

    def _text(self, kind: str, text: str) -> str:
        if text in _TELLING_NOTHING or _PCI.fullmatch(text):
            return text
        if _UUID.fullmatch(text):
            return f"00000000-0000-4000-8000-{self._number('uuid', text.lower()):012x}"
        if _MAC.fullmatch(text):
            return "52:54:00:" + self._number("mac", text.lower()).to_bytes(3).hex(":")
        if kind == "listen":
            return f"192.0.2.{self._number(kind, text)}"
        if text.startswith("/"):
            return f"/path-{self._number('path', text)}"
        return f"{kind}-{self._number(kind, text)}"

    def _number(self, kind: str, text: str) -> int:
        known = self._known[kind]
        return known.setdefault(text, len(known) + 1)
