"""oVirt's typed items: the two samples that came with them, and what a parser must put up with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_exporter.hypervisor.domains.domain_xml import parse_domain
from libvirt_exporter.hypervisor.domains.metadata.reading import MAX_ITEMS, Reading
from libvirt_exporter.hypervisor.domains.metadata.typed_items import (
    INSTANCE,
    MAX_DEPTH,
    typed_value,
)

FIXTURES = Path(__file__).parents[3] / "fixtures" / "xml"


def sample(name: str) -> Any:
    """Return the value in a sample's metadata, of which nothing was left out."""
    info = parse_domain((FIXTURES / name).read_text(encoding="utf-8"))
    assert info.malformed_metadata is None
    return info.metadata["instance"]


def read(inner: str) -> tuple[Any, int]:
    """Return the value of `<instance>`, and how many values were left out or odd."""
    reading = Reading()
    value = typed_value(fromstring(f"<instance>{inner}</instance>"), reading)
    return value, reading.malformed


def listed(items: str) -> tuple[Any, int]:
    """Return what items make in a list."""
    return read(f"<value type='list'>{items}</value>")


def test_the_short_sample_is_read() -> None:
    """Graphics and a disk, beside elements of oVirt's other two namespaces."""
    assert sample("ovirt_instance.xml") == {
        "devices": [
            *(
                {
                    "device": device,
                    "specParams": {"displayNetwork": "ovirtmgmt", "displayIp": "192.168.1.53"},
                    "type": "graphics",
                }
                for device in ("vnc", "spice")
            ),
            {
                "poolID": "5890a292-0390-01d2-01ed-00000000029a",
                "imageID": "66441539-f7ac-4946-8a25-75e422f939d4",
                "domainID": "c578566d-bc61-420c-8f1e-8dfa0a18efd5",
                "device": "disk",
                "path": "/rhev/data-center/5890a292-0390-01d2-01ed-00000000029a/"
                "c578566d-bc61-420c-8f1e-8dfa0a18efd5/images/"
                "66441539-f7ac-4946-8a25-75e422f939d4/5c4eeed4-f2a7-490a-ab57-a0d6f3a711cc",
                "volumeID": "5c4eeed4-f2a7-490a-ab57-a0d6f3a711cc",
            },
        ]
    }


def test_the_long_sample_is_read() -> None:
    """Every item has its value: the counts of the types are those of the XML."""
    xml = fromstring((FIXTURES / "ovirt_instance_whole.xml").read_text(encoding="utf-8"))
    tags = (f"{INSTANCE}value", f"{INSTANCE}item")
    written = Counter(item.get("type") for item in xml.iter() if item.tag in tags)
    value = sample("ovirt_instance_whole.xml")
    found: Counter[str] = Counter()

    def count(value: Any) -> None:
        found[type(value).__name__] += 1
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                count(inner)
            else:
                found[type(inner).__name__] += 1

    count(value)
    assert found == written
    cdrom, disk = value["devices"]
    assert (cdrom["device"], cdrom["path"], cdrom["specParams"]) == ("cdrom", "", {"path": ""})
    assert (disk["bootOrder"], disk["specParams"]) == ("1", {})
    assert disk["volumeChain"][0]["leaseOffset"] == 0


@pytest.mark.parametrize(
    ("item", "values", "malformed"),
    [
        ("<item index='0' type='str'/>", [""], 0),
        ("<item index='0' type='str'> a </item>", [" a "], 0),
        ("<item index='0' type='STR'>a</item>", ["a"], 0),
        ("<item index='0' type='int'>7</item>", [7], 0),
        ("<item index='0' type='int'>10L</item>", [10], 0),
        ("<item index='0' type='float'>-0.5</item>", [-0.5], 0),
        ("<item index='0' type='bool'>True</item>", [True], 0),
        ("<item index='0' type='bool'>1</item>", [False], 0),
        ("<item index='0' type='dict'/>", [{}], 0),
        ("<item index='0' type='tuple'/><item index='1' type='set'/>", [[], []], 0),
        ("<item index='1' type='int'>1</item><item index='0' type='int'>0</item>", [0, 1], 0),
        ("<item index='0' type='int'>1</item><item index='0' type='int'>0</item>", [1, 0], 0),
        ("<other index='0' type='int'>1</other>", [], 1),
        ("<item xmlns='http://else.example' index='0' type='int'>1</item>", [], 1),
        ("<item index='0' type='NoneType'>None</item>", ["None"], 1),
        ("<item index='0' type='int'/>", [], 1),
        ("<item index='0' type='float'/>", [], 1),
        ("<item index='0' type='bool'/>", [], 1),
        ("<item index='0' type='int'>seven</item>", [], 1),
        (f"<item index='0' type='int'>{'9' * 5000}</item>", [], 1),
        ("<item index='0' type='float'>nan</item>", [], 1),
        ("<item index='0' type='float'>1e400</item>", [], 1),
        ("<item index='0'>a</item>", [], 1),
        ("<item type='str'>a</item>", [], 1),
        ("<item index='first' type='str'>a</item>", [], 1),
        ("<item key='0' type='str'>a</item>", [], 1),
    ],
)
def test_an_item_is_of_its_type_or_left_out(
    item: str, values: list[object], malformed: int
) -> None:
    """What is wrong costs that item, and is counted; the neighbours stay."""
    neighbour = "<item index='9' type='str'>neighbour</item>"
    assert listed(item + neighbour) == ([*values, "neighbour"], malformed)


def test_the_last_of_a_key_stands_and_an_item_without_key_or_value_is_left_out() -> None:
    """As the reference has it, and counted where it would fail."""
    items = "".join(f"<item key='a' type='int'>{n}</item>" for n in range(3))
    other = "<item type='int'>9</item><item key='b' type='int'>x</item><c key='c' type='int'>1</c>"
    assert read(f"<value type='dict'>{items}{other}</value>") == ({"a": 2}, 3)


@pytest.mark.parametrize(
    ("inner", "value", "malformed"),
    [
        ("", None, 0),
        ("<other/>", None, 1),
        ("<value/>", None, 1),
        ("<value type='int'>5</value>", 5, 0),
        ("<other/><value type='str'/><value type='int'>5</value>", "", 2),
    ],
)
def test_the_root_holds_one_value(inner: str, value: object, malformed: int) -> None:
    """It is the first, and need not be a container."""
    assert read(inner) == (value, malformed)


def test_what_is_too_deep_is_cut_off() -> None:
    """The outer containers stay; one cut is one value left out, however deep it goes on."""
    items = MAX_DEPTH + 1000
    value, malformed = listed("<item index='0' type='list'>" * items + "</item>" * items)
    depth = 0
    while value:
        (value,) = value
        depth += 1
    assert (depth, malformed) == (MAX_DEPTH - 1, 1)


def test_what_is_too_much_is_cut_off() -> None:
    """As many items are read as a domain may have, less the value that holds them."""
    value, malformed = listed("<item index='0' type='int'>1</item>" * (2 * MAX_ITEMS))
    assert (value, malformed) == ([1] * (MAX_ITEMS - 1), 1)


def written(value: Any, **attributes: str) -> Element:
    """Write a value as the reference writes it."""
    node = Element("item", attributes, type=type(value).__name__)
    match value:
        case dict():
            node.extend(written(inner, key=key) for key, inner in value.items())
        case list():
            node.extend(written(inner, index=str(n)) for n, inner in enumerate(value))
        case _:
            node.text = str(value)
    return node


SCALARS = (
    st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    """Every JSON value survives the form."""
    instance = Element("instance")
    SubElement(instance, "value", type="list").append(written(value, index="0"))
    reading = Reading()
    assert (typed_value(instance, reading), reading.malformed) == ([value], 0)
