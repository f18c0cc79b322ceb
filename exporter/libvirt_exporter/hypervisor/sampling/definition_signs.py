"""What the statistics show of a domain's XML, so that a change is seen that no event tells.

An external snapshot, one more vCPU, I/O thread or perf event: libvirt (9.0) sends no event for
them, but the next statistics differ. A first I/O thread does not show, as those are asked only
where the XML has some; nor does a first perf event where the interfaces or perf are not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from libvirt_exporter.hypervisor.sampling.domain_draft import DomainDraft
from libvirt_exporter.hypervisor.sampling.draft import HostDraft
from libvirt_exporter.model import StatValue

_LISTED: Final[Mapping[str, tuple[str, ...]]] = {
    "net": ("name",),
    "block": ("name", "path", "backingIndex"),
}
"""What is looked at of each entry, by the first word of the keys."""
_COUNTS: Final = {word: f"{word}.count" for word in _LISTED}
_NUMBERS: Final = ("vcpu.current", "vcpu.maximum", "iothread.count", "balloon.maximum")

_Signs = dict[str, tuple[StatValue | None, ...]]


class DefinitionSigns:
    """What the last samples showed of each domain; lives on the host's asyncio loop."""

    def __init__(self) -> None:
        self._seen: dict[str, _Signs] = {}

    def changed(self, draft: HostDraft) -> list[str]:
        """UUIDs of the domains that show something else than before. Once for each sample.

        What a sample did not ask, or was not answered, changes nothing.
        """
        seen: dict[str, _Signs] = {}
        changed = []
        for domain in draft.active():
            before = self._seen.get(domain.uuid, {})
            found = _signs(domain, backing=draft.backing)
            if found.items() <= before.items():
                seen[domain.uuid] = before
                continue
            if any(before.get(sign, values) != values for sign, values in found.items()):
                changed.append(domain.uuid)
            seen[domain.uuid] = before | found
        if draft.up:
            self._seen = seen
        return changed


def _signs(domain: DomainDraft, *, backing: bool) -> _Signs:
    signs: _Signs = {}
    for answer in (domain.no_monitor, domain.monitor):
        for word, count_key in _COUNTS.items():
            count = answer.get(count_key)
            if isinstance(count, int):
                # With the images below the top ones the numbers are others.
                signs[f"{word} backing" if backing else word] = (
                    *map(answer.get, _keys(word, count)),
                )
        for key in _NUMBERS:
            if key in answer:
                signs[key] = (answer[key],)
    if "perf" in domain.answered:
        signs["perf"] = tuple(key for key in domain.no_monitor if key.startswith("perf."))
    return signs


@cache
def _keys(word: str, count: int) -> tuple[str, ...]:
    """What is looked at of that many entries."""
    listed = [f"{word}.{number}.{what}" for number in range(count) for what in _LISTED[word]]
    return (f"{word}.count", *listed)
