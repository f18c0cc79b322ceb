"""What one rendering shows, leaves out and does not know: the numbers about the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from libvirt_exporter.catalogue import LIMIT_ORDER
from libvirt_exporter.render import keys, labels
from libvirt_exporter.render.labels import Labels
from libvirt_exporter.render.selection import Selection

_UNMAPPED_SHOWN = 100
_KEY_LENGTH = 128


class Tally:
    """Counts series as domains are added, and decides what a limit leaves out."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.counts = [0] * len(selection.families)
        """Series of the domains that were added, per family; for whoever adds them to fill."""
        self._identities: set[Labels] = set()
        self._unmapped: Counter[str] = Counter()
        self._duplicates = 0

    def add(self, identity: Labels, series: int, duplicates: int, unmapped: Iterable[str]) -> bool:
        """Take note of a domain with so many series; whether they are to be shown.

        They are not, and count as duplicates, when another domain has the same identity.
        """
        self._duplicates += duplicates
        if identity in self._identities:
            self._duplicates += series
            return False
        self._identities.add(identity)
        self._unmapped.update(labels.clean(key, _KEY_LENGTH) for key in keys.generalise(unmapped))
        return True

    def kept(self, limit: int) -> list[int]:
        """Indexes of the families with series that fit below a limit of series (0: none).

        Whole families go, in the order of LIMIT_ORDER and within a group the last one first.
        """
        families = self._selection.families
        kept = [family for family, count in enumerate(self.counts) if count]
        optional = [family for family in kept if families[family].group in LIMIT_ORDER]
        optional.sort(key=lambda family: (-LIMIT_ORDER.index(families[family].group), family))
        total = sum(self.counts)
        while limit and total > limit and optional:
            left_out = optional.pop()
            kept.remove(left_out)
            total -= self.counts[left_out]
        return kept

    def series(self, limit: int) -> dict[str, int]:
        """Series shown per field group; chosen groups without series are there with 0."""
        shown = dict.fromkeys(sorted(self._selection.groups), 0)
        for family in self.kept(limit):
            shown[self._selection.families[family].group] += self.counts[family]
        return shown

    def dropped(self, limit: int) -> dict[str, int]:
        """Series left out, per reason."""
        shown = sum(self.counts[family] for family in self.kept(limit))
        return {"limit": sum(self.counts) - shown, "duplicate": self._duplicates}

    def unmapped(self) -> dict[str, int]:
        """Unmapped stats keys, numbers in them as `<n>`, and how many domains have them.

        Keys past the hundredth are summed up as `other`.
        """
        shown = dict(sorted(self._unmapped.items())[:_UNMAPPED_SHOWN])
        if rest := sum(self._unmapped.values()) - sum(shown.values()):
            shown["other"] = rest
        return shown
