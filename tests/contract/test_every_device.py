"""Whatever devices a domain has, each of them is read, shown and answered for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.model import DomainInfo, DomainSample
from libvirt_exporter.query.fields.table import values
from libvirt_exporter.render.selection import Selection
from libvirt_exporter.render.series import Identity, domain_series
from tests.contract.golden import PROFILES
from tests.support import domain_schema
from tests.support.vm_views import view

FIXTURES = Path(__file__).parents[1] / "unit" / "fixtures" / "xml"
DICE = st.integers(0, 2**64 - 1).map(Random)

SHOWN = {
    "block": "disk",
    "interface": "interface",
    "watchdog": "watchdog",
    "host_device": "hostdev",
    "filesystem": "filesystem",
    "graphics": "graphics",
    "panic_device": "panic",
}
"""Metrics that have a series for each device of a kind."""


def in_the_xml(xml: str, *, every_disk: bool = False) -> Counter[str]:
    """How many devices of each kind there are; of disks with one target libvirt takes one only."""
    devices = [one for one in fromstring(xml).iterfind("devices/*") if one.tag != "emulator"]
    counts = Counter(device.tag for device in devices)
    if not every_disk:
        targets = [disk.find("target") for disk in devices if disk.tag == "disk"]
        counts["disk"] = len({target.get("dev") for target in targets if target is not None})
    return counts


def sample(info: DomainInfo) -> DomainSample:
    """The domain, shut off."""
    return DomainSample(
        uuid=info.uuid, name=info.name, active=False, stats={}, timestamp=0.0, info=info
    )


def check(xml: str) -> None:
    """Hold the XML, what is read of it, the series and the answers against each other."""
    info = parse_domain(xml)
    wanted = in_the_xml(xml)
    for selection in (*PROFILES.values(), Selection({"info"}, include=["*"])):
        found = domain_series(sample(info), selection, Identity())
        assert found.duplicates == 0, xml
    shown = Counter(series.name for series in found.series)
    for name, kind in SHOWN.items():
        assert shown[f"libvirt_domain_{name}_info"] == wanted[kind], (name, xml)
    listed = Counter(
        dict(series.own)["kind"]
        for series in found.series
        if series.name == "libvirt_domain_device_info"
    )
    assert listed == in_the_xml(xml, every_disk=True), xml
    answer = values(view(info=info), ["devices", "displayInfo"])
    assert len(answer["devices"]) == shown["libvirt_domain_device_info"]
    assert len(answer["displayInfo"]) == wanted["graphics"]


@settings(deadline=None, max_examples=60)
@given(DICE)
def test_every_device_of_the_schema_is_shown(dice: Random) -> None:
    """Of each kind up to three, often alike to the letter: none is lost, none a duplicate."""
    check(domain_schema.any_domain(dice))


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.xml")), ids=lambda path: path.stem)
def test_every_recorded_device_is_shown(path: Path) -> None:
    """The XML of real domains, running and not."""
    check(path.read_text(encoding="utf-8"))


def test_the_schema_is_the_whole_of_libvirts() -> None:
    """Nothing that libvirt documents as a device is missing from what is made here."""
    kinds = {domain_schema.any_device(kind, Random(0)).tag for kind in domain_schema.device_kinds()}

    assert kinds >= {
        *("disk", "controller", "lease", "filesystem", "interface", "input", "sound", "audio"),
        *("hostdev", "graphics", "video", "console", "parallel", "serial", "channel", "smartcard"),
        *("hub", "redirdev", "redirfilter", "rng", "tpm", "shmem", "memory", "watchdog"),
        *("memballoon", "nvram", "panic", "iommu", "vsock"),
    }
