"""Which alerts and panels a configuration blinds, and that the examples say so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from libvirt_exporter.catalogue import SAMPLE_METRICS
from libvirt_exporter.commands import blind
from libvirt_exporter.config import Config, load

ROOT: Final = Path(__file__).parents[3]
EXAMPLES: Final = sorted((ROOT / "config" / "examples").glob("*.yml"))


def written(directory: Path, text: str) -> Config:
    """The configuration of a file with this text."""
    file = directory / "exporter.yml"
    file.write_text(text)
    return load(file)


def test_default_configuration_blinds_nothing() -> None:
    """What it does not show, no panel or alert is named for."""
    assert not [*blind.blinded(Config())]
    assert not [*blind.notes(Config())]


def test_more_groups_than_the_default_blind_nothing(tmp_path: Path) -> None:
    """Only what is missing counts."""
    assert not [*blind.notes(written(tmp_path, "groups: {include: [all]}"))]


def test_panel_and_alert_without_their_metric_are_named(tmp_path: Path) -> None:
    """Directly, by a recorded figure, in part where other queries of a panel are left."""
    config = written(tmp_path, "fields: {exclude: [libvirt_domain_vcpu_delay_seconds_total]}")

    found = {where: (whole, part) for where, whole, part in blind.blinded(config)}

    assert found["alerts"] == (["LibvirtDomainStealHigh"], [])
    assert found["libvirt / VM"] == (["Steal"], [])
    assert found["libvirt / Fleet"] == (["Steal"], ["Hosts", "Busiest VMs"])
    assert "libvirt / Exporter" not in found


def test_one_of_two_alternatives_is_enough(tmp_path: Path) -> None:
    """A pool's own figure stands for its file system's."""
    config = written(tmp_path, "fields: {exclude: [libvirt_storage_pool_filesystem_*]}")

    found = {where: whole + part for where, whole, part in blind.blinded(config)}

    assert "LibvirtStoragePoolFillingUp" not in found.get("alerts", ())
    assert "Storage pools in use" not in found["libvirt / Storage and jobs"]
    assert "Pools" in found["libvirt / Storage and jobs"]


def test_notes_name_the_options_that_are_to_blame(tmp_path: Path) -> None:
    """The first of them has the line of the file."""
    text = "groups: {exclude: [event]}\nfields: {exclude: [libvirt_domain_snapshots]}"

    notes = [*blind.notes(written(tmp_path, text))]

    assert {option for option, _, _ in notes} == {"groups.exclude"}
    assert all(what.startswith("groups.exclude and fields.exclude cause ") for _, what, _ in notes)
    (_, alerts, names), _ = notes
    assert alerts.endswith(" alerts without data, by required group")
    (of_events,) = (line for line in names if line.startswith("event: "))
    assert "LibvirtDomainBlockJobFailed" in of_events


def test_table_names_metrics_of_the_catalogue() -> None:
    """A metric that is renamed would blind nothing any more."""
    table = json.loads(Path(blind.__file__).with_name("needs.json").read_text())
    names = {
        name
        for by_name in table.values()
        for queries in by_name.values()
        for query in queries
        for alternative in query
        for name in alternative
    }

    assert len(names) > 50
    assert names <= {metric.name for metric in SAMPLE_METRICS}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_says_what_it_blinds(path: Path) -> None:
    """Each alert that cannot fire, and each dashboard that lacks panels, in its comments."""
    comments = " ".join(re.findall(r"^# ?(.*)", path.read_text(), re.M))
    assert comments.startswith("For "), f"{path.name}: begin with the users it is for"
    assert " Blinds " in comments, f"{path.name}: say what it blinds, or that it blinds nothing"
    for where, whole, part in blind.blinded(load(path)):
        if where == "alerts":
            missing = {*whole, *part} - set(re.findall(r"\w+", comments))
            assert not missing, f"{path.name} does not say that it blinds {sorted(missing)}"
        else:
            assert re.search(
                rf"{where.removeprefix('libvirt / ')} \({len(whole + part)}\)", comments
            )
