"""The disks of a domain, and the throttle groups whose limits they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.devices import Listed
from libvirt_exporter.hypervisor.domains.disk_source import disk_source
from libvirt_exporter.hypervisor.domains.elements import NOTHING, by_tag, first, text_of
from libvirt_exporter.hypervisor.domains.metadata.reading import fact
from libvirt_exporter.hypervisor.domains.xml_values import integer
from libvirt_exporter.model import Device, Disk, ThrottleGroup


def read_disks(
    listed: Iterable[Listed], described: Mapping[str, Mapping[str, Any]]
) -> tuple[Disk, ...]:
    """Read the disks; one without a target, or with another's, has no statistics to go with.

    `described` holds oVirt's values of disks by target.
    """
    return tuple(
        _disk(device, element, described.get(device.target, {}))
        for device, element in listed
        if device.target and device.name == device.target
    )


def _disk(device: Device, element: Element, values: Mapping[str, Any]) -> Disk:
    child = by_tag(element)
    driver = child.get("driver", NOTHING)
    mirror = child.get("mirror")
    iotune = child.get("iotune", NOTHING)
    source_type = element.get("type", "")
    source = disk_source(source_type, child.get("source"))
    return Disk(
        device=device.name,
        kind=device.type,
        bus=child.get("target", NOTHING).get("bus", ""),
        source_type=source_type,
        source=source,
        format=driver.get("type", ""),
        cache=driver.get("cache", ""),
        io=driver.get("io", ""),
        discard=driver.get("discard", ""),
        error_policy=driver.get("error_policy", ""),
        serial=text_of(child, "serial"),
        alias=device.alias,
        iothread=_iothreads(driver),
        readonly="readonly" in child,
        shareable="shareable" in child,
        mirror_job="" if mirror is None else mirror.get("job", "copy"),
        chain_depth=_chain_depth(child.get("backingStore")) if source else None,
        image_indexes=tuple(_image_indexes(child)),
        iotune=_limits(iotune),
        throttle_groups=_throttle_groups(iotune, child.get("throttlefilters", NOTHING)),
        image_id=fact(values.get("imageID")),
        lun_guid=fact(values.get("GUID")),
    )


def _limits(iotune: Element) -> Mapping[str, int]:
    return {limit.tag: value for limit in iotune if (value := integer(limit.text)) is not None}


def _throttle_groups(iotune: Element, filters: Element) -> tuple[str, ...]:
    names = (
        iotune.findtext("group_name", ""),
        *(one.get("group", "") for one in filters.iterfind("throttlefilter")),
    )
    return tuple(dict.fromkeys(filter(None, names)))


def read_throttle_groups(groups: Element) -> tuple[ThrottleGroup, ...]:
    """Read `<throttlegroups>`, the first of each name."""
    named = {
        name: ThrottleGroup(name=name, limits=_limits(group))
        for group in reversed(groups.findall("throttlegroup"))
        if (name := group.findtext("group_name", ""))
    }
    return tuple(reversed(named.values()))


def _iothreads(driver: Element) -> str:
    """Return the id of the disk's iothread; several (libvirt 10.0) joined by commas."""
    several = first(driver, "iothreads").iterfind("iothread")
    return driver.get("iothread") or ",".join(thread.get("id", "") for thread in several)


def _chain_depth(backing: Element | None) -> int | None:
    """Count the images; live XML ends a chain with an empty `<backingStore/>`."""
    if backing is None:
        return None
    depth = 1
    while backing is not None and len(backing):
        depth += 1
        backing = backing.find("backingStore")
    return depth


def _image_indexes(disk: Mapping[str, Element]) -> Iterator[int]:
    """Read the index of each image; the mirror of a job is none of the chain."""
    image: Element | None = disk.get("source", NOTHING)
    backing = disk.get("backingStore")
    while image is not None:
        if (index := integer(image.get("index"))) is not None:
            yield index
        image, backing = backing, None if backing is None else backing.find("backingStore")
