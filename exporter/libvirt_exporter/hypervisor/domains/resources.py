"""CPUs and memory of a domain: how much, in which order, and what limits them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from xml.etree.ElementTree import Element

from libvirt_exporter.hypervisor.domains.elements import NOTHING, by_tag, first, positive, text_of
from libvirt_exporter.hypervisor.domains.xml_values import bounded, cpu_set, integer, scaled_bytes
from libvirt_exporter.model import CpuTune, Hugepages, NumaCell, Pin


def memory(element: Element | None) -> int | None:
    """Read a size with its unit; bytes."""
    return None if element is None else scaled_bytes(element.text, element.get("unit"))


def nvdimm_memory(devices: Element) -> int:
    """Add up the NVDIMMs; bytes."""
    sizes = (
        memory(first(device, "target").find("size"))
        for device in devices.iterfind("memory[@model='nvdimm']")
    )
    return bounded(sum(filter(None, sizes))) or 0


def read_hugepages(hugepages: Element | None) -> tuple[Hugepages, ...]:
    """Read `<hugepages>`; the first page of each of the guest's nodes counts."""
    if hugepages is None:
        return ()
    found: dict[str, Hugepages] = {}
    for page in hugepages.findall("page") or (NOTHING,):
        size = scaled_bytes(page.get("size"), page.get("unit")) or 0
        nodes = cpu_set(page.get("nodeset", ""))
        for node in map(str, nodes) if nodes else ("",):
            found.setdefault(node, Hugepages(size, node))
    return tuple(found.values())


def cpu_topology(
    element: Element, os_type: str, vcpus: int | None
) -> tuple[int | None, int | None, int | None]:
    """Return sockets, cores per socket and threads per core.

    Where the XML is silent, libvirt gives a machine a socket for each vCPU. A container has no
    topology.
    """
    cores = positive(element.get("cores"))
    if cores is not None:
        for part in ("dies", "clusters"):
            cores *= positive(element.get(part)) or 1
        return positive(element.get("sockets")), bounded(cores), positive(element.get("threads"))
    return (vcpus, 1, 1) if os_type == "hvm" else (None, None, None)


def cpu_features(cpu: Element, *policies: str) -> tuple[str, ...]:
    """Return the features of these policies; without one, a feature is required."""
    return tuple(
        feature.get("name", "")
        for feature in cpu.iterfind("feature")
        if feature.get("policy", "require") in policies
    )


def numa_cells(numa: Element) -> tuple[NumaCell, ...]:
    """Read the guest's NUMA cells; one without an id has its position's."""
    cells = []
    for position, cell in enumerate(numa.iterfind("cell")):
        number = integer(cell.get("id", str(position)))
        cpus = cpu_set(cell.get("cpus", ""))
        if number is not None and cpus is not None:
            cells.append(NumaCell(number, cpus))
    return tuple(cells)


def cpu_tune(element: Element) -> CpuTune:
    """Read shares, periods and quotas."""
    tune = by_tag(element)

    def seconds(tag: str) -> float | None:
        microseconds = positive(text_of(tune, tag))
        return None if microseconds is None else microseconds / 1e6

    return CpuTune(
        shares=positive(text_of(tune, "shares")),
        period=seconds("period"),
        quota=seconds("quota"),
        global_period=seconds("global_period"),
        global_quota=seconds("global_quota"),
        emulator_period=seconds("emulator_period"),
        emulator_quota=seconds("emulator_quota"),
        iothread_period=seconds("iothread_period"),
        iothread_quota=seconds("iothread_quota"),
    )


def vcpu_pins(tune: Element, vcpu: Element) -> tuple[Pin, ...]:
    """Return the pins of single vCPUs, behind that of all others (`<vcpu cpuset=…>`)."""
    everywhere = vcpu.get("cpuset")
    others = (Pin(everywhere),) if everywhere else ()
    return (*others, *_numbered(_pins(tune, "vcpupin", "vcpu")))


def emulator_pins(tune: Element) -> tuple[Pin, ...]:
    """Return the pin of the emulator's own threads, if there is one."""
    cpus = first(tune, "emulatorpin").get("cpuset")
    return (Pin(cpus),) if cpus else ()


def iothread_pins(tune: Element) -> tuple[Pin, ...]:
    """Return the pins of I/O threads."""
    return _numbered(_pins(tune, "iothreadpin", "iothread"))


def _numbered(pins: Iterable[tuple[int, str]]) -> tuple[Pin, ...]:
    return tuple(Pin(cpus, number) for number, cpus in sorted(dict(pins).items()))


def _pins(tune: Element, tag: str, attribute: str) -> Iterator[tuple[int, str]]:
    for pin in tune.iterfind(tag):
        number, cpus = integer(pin.get(attribute)), pin.get("cpuset")
        if number is not None and number >= 0 and cpus:
            yield number, cpus


def iothreads(child: Mapping[str, Element]) -> int:
    """Return the number of I/O threads."""
    return positive(text_of(child, "iothreads")) or len(
        child.get("iothreadids", NOTHING).findall("iothread")
    )
