"""What management systems wrote, as fields."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_exporter.model import Disk, DomainInfo
from libvirt_exporter.query.fields.table import BY_NAME, values
from tests.support.samples import UUID
from tests.support.vm_views import described, value_of, view


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"ovirt": {"custom": {"hugepages": "2048"}}}, {"hugepages": "2048"}),
        ({"ovirt": {}}, None),
        (
            {
                "nova": {
                    "image": {"properties": {"os_distro": "ubuntu"}},
                    "flavor": {"name": "m1", "extraSpecs": {"hw_rng:allowed": "true"}},
                }
            },
            {"os_distro": "ubuntu", "hw_rng:allowed": "true"},
        ),
        ({"nova": {"flavor": {"name": "m1"}}}, None),
        ({"libosinfo": {"os": {"id": "x"}}}, None),
    ],
)
def test_custom_properties_are_ovirts_or_novas(metadata: Any, expected: object) -> None:
    """Flat, and absent where no system wrote any."""
    assert value_of(described(metadata=metadata), "custom") == expected


def test_metadata_is_shown_by_system() -> None:
    """Each system's field holds what it wrote and nothing else."""
    metadata = {"nova": {"name": "web"}, "kubevirt": {"uid": "u"}}

    assert values(described(metadata=metadata), ["nova", "kubevirt", "ovirt"]) == metadata


def test_guids_of_luns_have_a_field_of_their_own() -> None:
    """They are sensitive, which statistics are not."""
    info = DomainInfo(
        uuid=UUID,
        name="web",
        disks=(Disk(device="vda"), Disk(device="sda", lun_guid="lun")),
    )

    assert value_of(view(info=info), "lunGUIDs") == {"sda": "lun"}
    assert BY_NAME["lunGUIDs"].sensitive
