"""docs/api.md: the fields as a document."""

from __future__ import annotations

import itertools

from libvirt_exporter.query.fields.table import FIELDS
from libvirt_exporter.reference import fields as field_docs


def test_document_names_every_field_and_every_part() -> None:
    """A part has a row below the heading of its field."""
    text = field_docs.markdown()
    headings = text.split("\n### ")

    for field in FIELDS:
        assert f"\n| `{field.name}`" in text
    disks = next(part for part in headings if part.startswith("disks\n"))
    assert "| `readLatency` | integer | ns per operation" in disks


def test_tables_of_the_document_have_as_many_cells_as_their_heads() -> None:
    """No text of the table of fields breaks the document's."""
    rows = [
        line.replace(r"\|", "").count("|") if line.startswith("|") else 0
        for line in field_docs.markdown().splitlines()
    ]
    tables = [list(group) for is_table, group in itertools.groupby(rows, bool) if is_table]

    assert tables
    assert all(len({*table}) == 1 for table in tables)
