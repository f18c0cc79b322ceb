"""KubeVirt's metadata: every part that virt-launcher writes."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from libvirt_exporter.hypervisor.domains.metadata.kubevirt import MAX_DEPTH, read_kubevirt
from libvirt_exporter.hypervisor.domains.metadata.reading import Reading


def read(inner: str) -> tuple[object, int]:
    """What is read, and how many values were left out."""
    reading = Reading()
    found = read_kubevirt(
        fromstring(f"<kubevirt xmlns='http://kubevirt.io'>{inner}</kubevirt>"), reading
    )
    return found, reading.malformed


def test_every_part_is_read_with_its_types() -> None:
    """Those of releases to come, too."""
    assert read(
        "<uid>u</uid><graceperiod><deletionGracePeriodSeconds>30</deletionGracePeriodSeconds>"
        "<markedForGracefulShutdown>true</markedForGracefulShutdown></graceperiod>"
        "<accessCredential><succeeded>true</succeeded><message>synced</message></accessCredential>"
        "<memoryDump><fileName>vm.memory.dump</fileName><completed>true</completed>"
        "<failed>false</failed></memoryDump>"
        "<backup><name>nightly</name><startTimestamp>2026-01-02T03:04:05Z</startTimestamp>"
        "<completed>false</completed><volumes><volume><name>root</name></volume></volumes></backup>"
        "<tomorrow><new>text</new></tomorrow><migration/>"
    ) == (
        {
            "uid": "u",
            "graceperiod": {"deletionGracePeriodSeconds": 30, "markedForGracefulShutdown": True},
            "accessCredential": {"succeeded": True, "message": "synced"},
            "memoryDump": {"fileName": "vm.memory.dump", "completed": True, "failed": False},
            "backup": {
                "name": "nightly",
                "startTimestamp": "2026-01-02T03:04:05Z",
                "completed": False,
                "volumes": {"volume": {"name": "root"}},
            },
            "tomorrow": {"new": "text"},
        },
        0,
    )


def test_elements_without_a_namespace_are_read_others_are_counted() -> None:
    """virt-launcher finds them by name."""
    assert read("<uid xmlns=''>u</uid><mode xmlns='http://else.example'>m</mode>") == (
        {"uid": "u"},
        1,
    )


def test_a_value_that_is_not_of_its_type_is_counted() -> None:
    """Its neighbours stay."""
    soon = "<deletionGracePeriodSeconds>soon</deletionGracePeriodSeconds>"
    assert read(f"<uid>u</uid><graceperiod>{soon}</graceperiod>") == ({"uid": "u"}, 1)


def test_what_is_too_deep_is_cut_off() -> None:
    """Once, and counted."""
    found, malformed = read("<a>" * 1000 + "</a>" * 1000)
    assert (found, malformed) == ({}, 1)
    assert MAX_DEPTH < 1000
